"""The exception tree: exit codes, what catches what, and messages with a suggestion."""

from __future__ import annotations

import ast
import inspect

import pytest

from hocket import _errors
from hocket._errors import (
    ConfigError,
    DataError,
    HocketError,
    MachineError,
    MediaError,
    MissingExtraError,
    ReaderError,
    UnknownNameError,
    did_you_mean,
)

KINDS = [
    kind
    for kind in vars(_errors).values()
    if inspect.isclass(kind) and issubclass(kind, Exception) and kind.__module__ == _errors.__name__
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_error_is_drawn_in_the_tree_and_caught_by_the_root(kind: type[HocketError]) -> None:
    assert issubclass(kind, HocketError)
    drawing = ast.get_docstring(ast.parse(inspect.getsource(_errors))) or ""
    assert f" {kind.__name__} " in drawing


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_exit_code_2_is_the_users_and_3_the_machines(kind: type[HocketError]) -> None:
    of_the_machine = issubclass(kind, MachineError | MissingExtraError)
    assert kind.exit_code == (3 if of_the_machine else 2)


@pytest.mark.parametrize(
    ("kind", "parent"),
    [(UnknownNameError, ConfigError), (ReaderError, DataError), (MediaError, DataError)],
)
def test_parents(kind: type[HocketError], parent: type[HocketError]) -> None:
    assert issubclass(kind, parent)


def test_unknown_name_lists_known_names_sorted() -> None:
    error = UnknownNameError("reader", "lava", ["sharegpt", "llava"])
    assert str(error) == (
        "no reader is called 'lava'. Did you mean 'llava'? Known: llava, sharegpt."
    )


def test_unknown_name_without_a_near_one_does_not_guess() -> None:
    error = UnknownNameError("reader", "zzz", iter(["llava"]))
    assert str(error) == "no reader is called 'zzz'. Known: llava."


def test_unknown_name_when_nothing_is_known() -> None:
    assert str(UnknownNameError("task", "pope", [])) == "no task is called 'pope'. Known: none."


def test_missing_extra_says_what_to_run() -> None:
    error = MissingExtraError("scikit-learn", "quickstart")
    assert str(error) == "scikit-learn is not installed. Run: pip install 'hocket[quickstart]'"


@pytest.mark.parametrize(
    ("name", "hint"), [("trian", " Did you mean 'train'?"), ("metric", ""), ("", "")]
)
def test_did_you_mean(name: str, hint: str) -> None:
    assert did_you_mean(name, ["train", "evaluate"]) == hint

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from hocket._errors import ConfigError, DataError
from hocket.data.chosen import ChosenRows
from hocket.data.mixture import Mixture, open_source
from hocket.data.spec import DatasetSpec
from hocket.tokens.layout import OptionValue


def rows(folder: Path, name: str, count: int) -> DatasetSpec:
    turns = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]
    made = [{"id": f"{name}{number}", "conversations": turns} for number in range(count)]
    (folder / f"{name}.json").write_text(json.dumps(made))
    return DatasetSpec(path=str(folder / f"{name}.json"))


def ids(spec: DatasetSpec) -> list[str]:
    source = open_source("x", spec)
    return [source[index].id for index in range(len(source))]


def test_rows_are_left_out_and_capped(tmp_path: Path) -> None:
    whole = rows(tmp_path, "a", 6)
    (tmp_path / "drop.json").write_text("[1, 4, 0]")
    some = DatasetSpec(path=whole.path, without_rows=str(tmp_path / "drop.json"))
    assert ids(some) == ["a2", "a3", "a5"]
    assert ids(DatasetSpec(path=whole.path, max_rows=2)) == ["a0", "a1"]
    both = DatasetSpec(path=whole.path, without_rows=some.without_rows, max_rows=2)
    assert ids(both) == ["a2", "a3"]
    assert ids(DatasetSpec(path=whole.path, max_rows=99)) == ids(whole)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (None, "no file .* with the rows to leave out"),
        ("[", "cannot be read as JSON"),
        ('{"a": 1}', "something else than a list of row numbers"),
        ("[true]", "something else than a list of row numbers"),
        ("[6]", "leaves out row 6, but the data set has the rows 0 to 5"),
        ("[-1]", "leaves out row -1"),
    ],
)
def test_a_wrong_list_is_named(tmp_path: Path, text: str | None, words: str) -> None:
    whole = rows(tmp_path, "a", 6)
    if text is not None:
        (tmp_path / "drop.json").write_text(text)
    spec = DatasetSpec(path=whole.path, without_rows=str(tmp_path / "drop.json"))
    with pytest.raises(DataError, match=words):
        open_source("x", spec)


@pytest.mark.parametrize(
    ("temperature", "counts"), [(1.0, (8, 72)), (2.0, (20, 60)), (1e9, (40, 40)), (0.5, (1, 79))]
)
def test_temperature_evens_out_sizes(
    tmp_path: Path, temperature: float, counts: tuple[int, int]
) -> None:
    small, large = rows(tmp_path, "small", 8), rows(tmp_path, "large", 72)
    parts = {"small": (open_source("s", small), 1.0), "large": (open_source("l", large), 1.0)}
    mixture = Mixture(parts, seed=0, temperature=temperature)
    seen = [mixture.ref(position).dataset for position in range(len(mixture))]
    assert (seen.count("small"), seen.count("large")) == counts


def test_a_reader_takes_options(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"never opened by a reader")
    (tmp_path / "rows.json").write_text(json.dumps([{"image": "a.png", "caption": "A cat."}]))
    options: dict[str, OptionValue | dict[str, str]] = {"prompt": "Describe it."}
    spec = DatasetSpec(path=str(tmp_path / "rows.json"), reader="caption", reader_options=options)
    assert open_source("x", spec)[0].messages[0].text.strip() == "Describe it."
    wrong = replace(spec, reader_options={"promt": "x"})
    with pytest.raises(ConfigError, match=r"datasets\.x\.reader_options.*Did you mean 'prompt'"):
        open_source("x", wrong)
    with pytest.raises(ConfigError, match=r"'text' has no option 'promt'\. It takes none"):
        open_source("x", replace(wrong, reader="text"))


def test_a_view_shows_rows_as_they_are_stored(tmp_path: Path) -> None:
    whole = rows(tmp_path, "a", 4)
    (tmp_path / "drop.json").write_text("[0, 2]")
    view = open_source("x", replace(whole, without_rows=str(tmp_path / "drop.json")))
    assert isinstance(view, ChosenRows)
    assert [view.row(at)["id"] for at in range(len(view))] == ["a1", "a3"]
    assert view.where(1) == "a.json row 3"


def test_the_stamp_of_a_mixture_tells_orders_apart(tmp_path: Path) -> None:
    whole = rows(tmp_path, "a", 6)
    (tmp_path / "drop.json").write_text("[0]")
    (tmp_path / "other.json").write_text("[1]")
    plain = open_source("a", whole)
    one = open_source("a", replace(whole, without_rows=str(tmp_path / "drop.json")))
    other = open_source("a", replace(whole, without_rows=str(tmp_path / "other.json")))
    made = [
        Mixture({"a": (plain, 1.0)}, seed=1),
        Mixture({"a": (plain, 1.0)}, seed=2),
        Mixture({"a": (plain, 2.0)}, seed=1),
        Mixture({"b": (plain, 1.0)}, seed=1),
        Mixture({"a": (one, 1.0)}, seed=1),
        Mixture({"a": (other, 1.0)}, seed=1),
    ]
    assert len({mixture.stamp() for mixture in made}) == len(made)
    assert Mixture({"a": (open_source("a", whole), 1.0)}, seed=1).stamp() == made[0].stamp()

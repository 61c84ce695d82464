"""The command in this process, and a small data set, model and recipe as a user writes them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml
from tests.train.toy_run import model_spec, write_rows

from hocket.cli.main import main

_DATA = """\
datasets:
  media: {path: media.json}
  text: {path: text.json}
heldout:
  media: {path: media.json}
"""

_TRAIN = """\
stages:
  align:
    data: {media: 1.0}
    trainable:
      joints: {match: "*_projector.*", lr: 1.0e-3}
    steps: 1
    rows: 2
    tokens_per_row: 128
    warmup_steps: 0
  joint:
    data: {media: 1.0, text: 1.0}
    trainable:
      all: {match: "*", lr: 1.0e-3, weight_decay: 0.05}
    steps: 2
    rows: 2
    tokens_per_row: 128
    warmup_steps: 0
pool: 8
"""


class Outcome(NamedTuple):
    """What a command did: its exit code, standard output and standard error."""

    code: int
    out: str
    err: str


Command = Callable[..., Outcome]


class Small(NamedTuple):
    """A folder with ``data/``, ``data/my.yaml``, ``model.yaml`` and ``train.yaml``."""

    folder: Path

    def words(self, out: Path) -> list[str]:
        """Return the arguments of ``hocket train`` that train the small model into `out`."""
        files = {"data": "data/my.yaml", "model": "model.yaml", "train": "train.yaml"}
        return [
            *(f"{group}={self.folder / name}" for group, name in files.items()),
            f"out={out}",
        ]


def run(*words: str | Path) -> Outcome:
    """Run ``hocket`` in this process, to its end."""
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    assert isinstance(left.value.code, int)
    return Outcome(left.value.code, out.getvalue(), err.getvalue())


@pytest.fixture(scope="session")
def hocket() -> Command:
    return run


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    folder = tmp_path_factory.mktemp("small")
    write_rows(folder / "data")
    (folder / "data" / "my.yaml").write_text(_DATA)
    (folder / "train.yaml").write_text(_TRAIN)
    model = dataclasses.asdict(model_spec())
    (folder / "model.yaml").write_text(yaml.safe_dump(model, sort_keys=False))
    return Small(folder)


@pytest.fixture(scope="session")
def trained(small: Small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a finished run; tests share it and must not change it."""
    out = tmp_path_factory.mktemp("trained") / "run"
    done = run("train", *small.words(out))
    assert done.code == 0, done.err
    return out

"""Places say what is wrong with a file before anybody opens it."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from hocket._errors import MediaError
from hocket.media.limits import DEFAULT_LIMITS
from hocket.media.where import Where, reason


def test_paths_and_bytes_open(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    for where, name in (
        (Where.of_path(path), str(path)),
        (Where.of_path(str(path)), str(path)),
        (Where.of_bytes(b"abc", name="upload 1"), "upload 1"),
    ):
        assert where.check(DEFAULT_LIMITS) == 3 and where.name == name
        with where.open() as stream:
            assert stream.read() == b"abc"


def test_places_without_bytes(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    for where in (
        Where.of_path(tmp_path / "no"),
        Where.of_path(tmp_path),
        Where.of_path(pipe),
        Where.of_bytes(b"", name="nothing"),
        Where.of_array("array"),
    ):
        with pytest.raises(MediaError, match=where.name):
            where.check(DEFAULT_LIMITS)
    for where in (Where.of_path(tmp_path / "no"), Where.of_array("array")):
        with pytest.raises(MediaError, match=where.name):
            where.open()


def test_bytes_are_not_printed() -> None:
    assert len(repr(Where.of_bytes(b"x" * 10_000))) < 100


def test_reasons_are_one_short_line() -> None:
    assert reason(ValueError("a\nb")) == "a"
    assert reason(ValueError()) == "ValueError"
    assert len(reason(ValueError("x" * 500))) == 100

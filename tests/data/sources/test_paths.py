from __future__ import annotations

from pathlib import Path

import pytest

from hocket._errors import DataError
from hocket.data.sources._paths import data_files


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("s-1.tar", "s-2.tar", "s-10.tar", "a,b.json", "a.json", "x[1].json", "x1.json"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "sub.tar").mkdir()
    return tmp_path


def names(path: Path) -> list[str]:
    return [file.name for file in data_files(path)]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("a.json", ["a.json"]),
        ("s-*.tar", ["s-1.tar", "s-2.tar", "s-10.tar"]),
        ("*.tar", ["s-1.tar", "s-2.tar", "s-10.tar"]),
        ("s-{1..2}.tar", ["s-1.tar", "s-2.tar"]),
        ("s-{10,2}.tar", ["s-10.tar", "s-2.tar"]),
        ("{s,s}-{1,2}.tar", ["s-1.tar", "s-2.tar", "s-1.tar", "s-2.tar"]),
        ("a,b.json", ["a,b.json"]),
        ("x[1].json", ["x[1].json"]),
    ],
)
def test_patterns_name_files(folder: Path, pattern: str, expected: list[str]) -> None:
    assert names(folder / pattern) == expected


def test_commas_separate_files_and_patterns(folder: Path) -> None:
    path = Path(f"{folder}/a.json,{folder}/s-{{1,2}}.tar")
    assert names(path) == ["a.json", "s-1.tar", "s-2.tar"]


def test_numbers_keep_their_width(tmp_path: Path) -> None:
    for number in (8, 9, 10):
        (tmp_path / f"{number:03d}.tar").write_bytes(b"x")
    assert names(tmp_path / "{008..010}.tar") == ["008.tar", "009.tar", "010.tar"]


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("x2.json", "no data file .*x2.json. Did you mean 'x1.json'"),
        ("no-*.tar", "no data file matches .*no-"),
        ("s-{1..3}.tar", "no data file .*s-3.tar. Did you mean"),
        ("s-{3..1}.tar", "names 0 files"),
        ("{nothing}.tar", "no data file .*{nothing}.tar"),
        ("sub.tar", "is a folder; expected a file"),
    ],
)
def test_what_is_not_there_is_named(folder: Path, pattern: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        data_files(folder / pattern)

from __future__ import annotations

import datetime
import multiprocessing
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from hocket._errors import DataError, MissingExtraError
from hocket.chat.readers import readers
from hocket.data.sources import parquet
from hocket.data.sources.parquet import ParquetRows

ROWS = [
    {
        "id": n,
        "image": {"bytes": b"x%d" % n, "path": f"{n}.png"},
        "caption": f"c{n}",
        "gone": None,
        "turns": [{"from": "human", "value": "a", "loss": None}],
        "at": datetime.date(2026, 1, 1),
    }
    for n in range(10)
]


class Table:
    """What this source uses of a pyarrow table."""

    def __init__(self, rows: list[dict[str, object]]) -> None:
        self.rows = rows
        self.nbytes = 100 * len(rows)

    def slice(self, at: int, count: int) -> Table:
        return Table(self.rows[at : at + count])

    def to_pylist(self) -> list[dict[str, object]]:
        return self.rows


class File:
    """What this source uses of a Parquet file: groups of 4 rows."""

    reads: list[int] = []  # noqa: RUF012 # shared on purpose

    def __init__(self, path: Path) -> None:
        if path.read_bytes()[:4] != b"PAR1":
            raise ArrowError("no magic bytes\nat the end")
        self.metadata = SimpleNamespace(
            num_row_groups=3, row_group=lambda i: SimpleNamespace(num_rows=(4, 4, 2)[i])
        )

    def read_row_group(self, number: int, *, use_threads: bool) -> Table:
        assert not use_threads
        File.reads.append(number)
        if number == 2 and len(ROWS) < 10:
            raise ArrowError("page is damaged")
        return Table(ROWS[4 * number : 4 * number + 4])


class ArrowError(Exception):
    pass


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a stand-in for pyarrow where the real one may not be installed."""
    pyarrow, files = ModuleType("pyarrow"), ModuleType("pyarrow.parquet")
    vars(pyarrow).update(ArrowException=ArrowError, parquet=files, Table=Table)
    vars(files).update(ParquetFile=File)
    monkeypatch.setitem(sys.modules, "pyarrow", pyarrow)
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", files)
    File.reads.clear()


def opened(tmp_path: Path, content: bytes = b"PAR1") -> ParquetRows:
    (tmp_path / "a.parquet").write_bytes(content)
    return ParquetRows(tmp_path / "a.parquet", reader=readers.get("caption"))


@pytest.mark.usefixtures("stand_in")
def test_rows_are_read_by_group_and_keep_their_bytes(tmp_path: Path) -> None:
    source = opened(tmp_path)
    assert len(source) == 10
    assert [source.row(n)["id"] for n in range(10)] == list(range(10))
    assert File.reads == [0, 1, 2]
    assert source.row(9) == {
        "id": 9,
        "image": {"bytes": b"x9", "path": "9.png"},
        "caption": "c9",
        "turns": [{"from": "human", "value": "a"}],
        "at": "2026-01-01",
    }
    (medium,) = source[4].media()
    assert medium.where.data == b"x4"
    again = pickle.loads(pickle.dumps(source))
    assert again.row(9) == source.row(9)


@pytest.mark.usefixtures("stand_in")
def test_few_groups_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "KEPT_BYTES", 600)
    source = opened(tmp_path)
    for index in (0, 8, 1, 4, 0, 9):
        source.row(index)
    assert File.reads == [0, 2, 1, 0, 2]
    with ThreadPoolExecutor(4) as pool:
        assert [row["id"] for row in pool.map(source.row, [n % 10 for n in range(200)])] == [
            n % 10 for n in range(200)
        ]


@pytest.mark.usefixtures("stand_in")
def test_several_files_share_what_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "KEPT_BYTES", 500)
    monkeypatch.setattr(parquet, "OPEN_FILES", 1)
    for name in "ab":
        (tmp_path / f"{name}.parquet").write_bytes(b"PAR1")
    source = ParquetRows(tmp_path / "*.parquet", reader=readers.get("caption"))
    assert len(source) == 20
    for index in (0, 1, 10, 11, 0):
        assert source.row(index)["id"] == index % 10
    assert File.reads == [0, 0, 0]


@pytest.mark.usefixtures("stand_in")
def test_a_forked_process_opens_the_file_itself(tmp_path: Path) -> None:
    source = opened(tmp_path)
    source.row(0)
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(_reads_after, (source,)) == [0]


def _reads_after(source: ParquetRows) -> list[int]:
    File.reads.clear()
    source.row(0)
    return File.reads


@pytest.mark.usefixtures("stand_in")
def test_damage_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(DataError, match=r"a.parquet is no Parquet file, .*no magic bytes\)"):
        opened(tmp_path, b"text")
    source = opened(tmp_path)
    monkeypatch.setattr(sys.modules[__name__], "ROWS", [])
    with pytest.raises(DataError, match=r"a.parquet: the row group 2 cannot be read"):
        source.row(9)


def test_without_pyarrow_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(MissingExtraError, match=r"hocket\[parquet\]"):
        opened(tmp_path)


def test_real_parquet_files_are_read(tmp_path: Path) -> None:
    pa = pytest.importorskip("pyarrow")
    pq = pytest.importorskip("pyarrow.parquet")
    pq.write_table(pa.Table.from_pylist(ROWS), tmp_path / "a.parquet", row_group_size=4)
    source = ParquetRows(tmp_path / "a.parquet", reader=readers.get("caption"))
    assert [source.row(n)["id"] for n in range(10)] == list(range(10))
    (medium,) = source[4].media()
    assert medium.where.data == b"x4"
    with multiprocessing.get_context("fork").Pool(1) as pool:
        assert pool.apply(source.row, (9,)) == source.row(9)
    cut = (tmp_path / "a.parquet").read_bytes()[:-9]
    with pytest.raises(DataError, match="no Parquet file, or is cut off"):
        opened(tmp_path, cut)

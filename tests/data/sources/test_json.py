from __future__ import annotations

import json
import multiprocessing
import re
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.toy import write_rows
from torch.utils.data import DataLoader, Dataset

from hocket._errors import DataError
from hocket.chat.conversation import Conversation
from hocket.chat.readers import readers
from hocket.data.sources import Row, _files, _index, _scan, _text
from hocket.data.sources import json as json_source
from hocket.data.sources._scan import array_rows
from hocket.data.sources.json import JsonArray


def opened(path: Path) -> JsonArray:
    return JsonArray(path, reader=readers.get("llava"), root=path.parent)


def test_rows_become_conversations_that_know_where_they_are(tmp_path: Path) -> None:
    source = opened(write_rows(tmp_path))
    assert len(source) == 12
    assert source[5].id == "row-5"
    assert source[5].source == "rows.json row 5"


def test_an_object_may_hold_the_rows(tmp_path: Path) -> None:
    file = write_rows(tmp_path)
    file.write_text(json.dumps({"conversations": json.loads(file.read_text())}))
    assert len(opened(file)) == 12


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"[", "not valid JSON: .* line 1, column 2"),
        (b"\xff\xfe", "not text .byte 0."),
        (b"{}", "expected an array of rows"),
        (b"3", "expected an array of rows"),
        (b"[]", "holds no rows"),
        (b"[" * 100_000, "nested too deeply"),
    ],
)
def test_another_content_is_named_in_one_line(tmp_path: Path, content: bytes, words: str) -> None:
    file = tmp_path / "rows.json"
    file.write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        opened(file)
    assert "rows.json" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_a_missing_file_or_a_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no data file"):
        opened(tmp_path / "none.json")
    with pytest.raises(DataError, match="is a folder"):
        opened(tmp_path)


def large(tmp_path: Path, rows: list[object]) -> Path:
    file = tmp_path / "large.json"
    file.write_text(json.dumps(rows, ensure_ascii=False, indent=1), encoding="utf-8")
    return file


def test_a_large_file_is_indexed_once_and_again_when_it_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOCKET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(_index, "SMALL_FILE_BYTES", 0)
    calls = []
    real = array_rows
    monkeypatch.setattr(
        json_source, "array_rows", lambda *a, **k: (calls.append(1), real(*a, **k))[1]
    )
    file = large(tmp_path, [{"id": n, "text": "\u00e9" * n} for n in range(50)])
    for _ in range(2):
        source = opened(file)
        assert [source.row(n)["id"] for n in range(50)] == list(range(50))
        assert source.row(7)["text"] == "\u00e9" * 7
    assert len(calls) == 1
    large(tmp_path, [{"id": n} for n in range(3)])
    assert len(opened(file)) == 3
    assert len(calls) == 2
    (kept,) = (tmp_path / "cache" / "index").iterdir()
    kept.write_bytes(kept.read_bytes()[:90])
    assert len(opened(file)) == 3
    assert len(calls) == 3


def test_a_cache_that_cannot_be_written_costs_only_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    monkeypatch.setenv("HOCKET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(_index, "SMALL_FILE_BYTES", 0)
    assert len(opened(write_rows(tmp_path))) == 12
    assert "cannot be kept" in caplog.text


def test_a_pickled_source_reads_in_another_process(tmp_path: Path) -> None:
    source = opened(write_rows(tmp_path))
    source.row(0)
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        assert pool.submit(source.row, 5).result() == source.row(5)


def test_a_forked_worker_and_threads_read_the_same_rows(tmp_path: Path) -> None:
    source = opened(large(tmp_path, [{"id": n, "pad": "x" * n} for n in range(300)]))
    source.row(0)
    loader = DataLoader(_Ids(source), batch_size=None, num_workers=2, shuffle=False)
    assert list(loader) == list(range(300))
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda n: source.row(n % 300)["id"], range(3000))) == [
            n % 300 for n in range(3000)
        ]


class _Ids(Dataset[int]):
    def __init__(self, source: JsonArray) -> None:
        self.source = source

    def __len__(self) -> int:
        return len(self.source)

    def __getitem__(self, index: int) -> int:
        found = self.source.row(index)["id"]
        assert isinstance(found, int)
        return found


def test_a_fault_in_the_middle_is_named_by_line_and_column(tmp_path: Path) -> None:
    file = large(tmp_path, [{"id": n, "text": "\u00e9" * 9} for n in range(2000)])
    lines = file.read_text(encoding="utf-8").split("\n")
    lines[3003] = lines[3003].replace('"text":', '"text"')
    file.write_text("\n".join(lines), encoding="utf-8")
    with pytest.raises(json.JSONDecodeError) as theirs:
        json.loads(file.read_text(encoding="utf-8"))
    place = f"{theirs.value.msg} at line {theirs.value.lineno}, column {theirs.value.colno}"
    assert theirs.value.lineno == 3004
    with pytest.raises(DataError, match=re.escape(place)):
        opened(file)


def test_a_file_that_is_cut_off_says_where(tmp_path: Path) -> None:
    file = write_rows(tmp_path)
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(DataError, match=r"not valid JSON: .* line"):
        opened(file)


def test_a_file_that_changes_while_it_is_read_stops_the_run(tmp_path: Path) -> None:
    file = write_rows(tmp_path)
    before, never_read = opened(file), opened(file)
    before.row(0)
    with file.open("rb+") as stream:
        stream.truncate(100)
    with pytest.raises(DataError, match="was cut off after it was opened"):
        before.row(11)
    _files._opened.cache_clear()
    with pytest.raises(DataError, match="was changed after it was opened"):
        never_read.row(0)
    file.unlink()
    _files._opened.cache_clear()
    with pytest.raises(DataError, match="No such file"):
        never_read.row(0)


def test_a_row_of_100_megabytes_costs_itself_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_text, "MAX_ROW_BYTES", 1000)
    monkeypatch.setattr(_scan, "WINDOW_BYTES", 100)
    source = opened(large(tmp_path, [{"id": 0}, {"id": 1, "text": "x" * 5000}, {"id": 2}]))
    assert len(source) == 3
    assert source.row(2) == {"id": 2}
    with pytest.raises(DataError, match=r"large.json row 1 has 50.. bytes, but at most 1000"):
        source[1]


def test_several_files_are_one_source_each_with_its_own_folder(tmp_path: Path) -> None:
    files = []
    for name, first in (("a", 0), ("b", 2), ("b10", 4)):
        (tmp_path / name).mkdir()
        files.append(tmp_path / name / "rows.json")
        files[-1].write_text(json.dumps([{"id": first}, {"id": first + 1}]))
    seen = []

    def reader(row: Row, *, root: Path, where: str) -> Conversation:
        seen.append((row["id"], root, where))
        return Conversation(id="", messages=())

    listed = Path(f"{files[0]},{files[1]}, {files[2]}")
    for path in (listed, tmp_path / "*" / "rows.json", tmp_path / "{a,b,b10}" / "rows.json"):
        seen.clear()
        source = JsonArray(path, reader=reader)
        for index in range(6):
            source[index]
        expected = [tmp_path / name for name in ("a", "a", "b", "b", "b10", "b10")]
        assert [(one, root) for one, root, _ in seen] == list(enumerate(expected))
        assert seen[3][2] == f"{files[1]} row 1"
    with pytest.raises(IndexError):
        source[6]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"id": 1}\n{"id": 2}\n', "source: jsonl"),
        ('{"conversations": 3}', "holds an object"),
        ('[{"id": 1}] 2', "Extra data at line 1, column 13"),
        ('[{"id": 1} {"id": 2}]', "Expecting ',' delimiter at line 1, column 12"),
        ('{"a": [1], "conversations": [{}]', "Expecting ',' delimiter at line 1"),
        ("{3: 4}", "property name"),
        ('{"a" 4}', "Expecting ':' delimiter"),
    ],
)
def test_a_wrong_shape_says_what_to_do(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "rows.json"
    file.write_text(text)
    with pytest.raises(DataError, match=words):
        opened(file)


_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=8,
)


@settings(deadline=None, max_examples=150)
@given(
    rows=st.lists(_VALUES, min_size=1, max_size=6),
    window=st.integers(1, 40),
    ascii_only=st.booleans(),
    wrapped=st.booleans(),
    cut=st.none() | st.integers(0, 400),
)
def test_any_document_gives_what_json_gives(
    tmp_path_factory: pytest.TempPathFactory,
    rows: list[object],
    window: int,
    ascii_only: bool,
    wrapped: bool,
    cut: int | None,
) -> None:
    document = {"version": [1], "conversations": rows, "x": {}} if wrapped else rows
    data = json.dumps(document, ensure_ascii=ascii_only, indent=window % 3 or None).encode(
        "utf-8", "surrogatepass"
    )
    if cut is not None:
        data = data[: cut % len(data)] + data[cut % len(data) + 1 :]
    file = tmp_path_factory.mktemp("any") / "rows.json"
    file.write_bytes(data)
    try:
        expected = json.loads(data.decode("utf-8"))
    except ValueError:
        expected = None
    expected = expected.get("conversations") if isinstance(expected, dict) else expected
    with mock.patch.object(_scan, "WINDOW_BYTES", window):
        if not isinstance(expected, list) or not expected:
            with pytest.raises(DataError):
                opened(file)
            return
        source = opened(file)
    assert [source.row(n) for n in range(len(source))] == expected

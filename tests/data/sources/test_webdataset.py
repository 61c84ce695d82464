from __future__ import annotations

import io
import json
import pickle
import tarfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from hocket._errors import DataError
from hocket.chat.readers import readers
from hocket.data.sources import _index, _shard
from hocket.data.sources._files import DataFile
from hocket.data.sources._tar import members
from hocket.data.sources.webdataset import WebDataset

Members = Iterable[tuple[str, bytes]]


def shard(
    path: Path, content: Members, *, form: int = tarfile.GNU_FORMAT, folders: bool = False
) -> Path:
    with tarfile.open(path, "w", format=form) as tar:
        if folders:
            tar.addfile(_folder("a"))
        for name, data in content:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def _folder(name: str) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = tarfile.DIRTYPE
    return info


def opened(path: Path, reader: str = "caption") -> WebDataset:
    return WebDataset(path, reader=readers.get(reader))


def text(row: dict[str, object]) -> bytes:
    return json.dumps(row).encode()


def pairs(first: int, count: int) -> list[tuple[str, bytes]]:
    return [
        (f"{n:04d}.{ending}", data)
        for n in range(first, first + count)
        for ending, data in (("jpg", b"picture %d" % n), ("txt", b"caption %d\n" % n))
    ]


@pytest.mark.parametrize("form", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("depth", [1, 60, 120])
def test_members_are_where_the_standard_library_finds_them(
    tmp_path: Path, form: int, depth: int
) -> None:
    long = "/".join(["folder"] * (depth // 7)) + "/" if depth > 1 else ""
    content = [(f"{long}{n}.bin", bytes([n]) * (n * 300)) for n in range(9)]
    if form == tarfile.PAX_FORMAT:
        content += [(f"{long}\u00e9.bin", b"accent")]
    path = shard(tmp_path / "a.tar", content, form=form, folders=True)
    file = DataFile.of(path)
    found = [(one.name, file.read(one.at, one.size)) for one in members(file)]
    assert found == content


def test_samples_are_members_of_one_name(tmp_path: Path) -> None:
    PIL.Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(tmp_path / "a.png")
    picture = (tmp_path / "a.png").read_bytes()
    content = [
        ("__meta__.json", b"{}"),
        ("./a/1.PNG", picture),
        ("./a/1.txt", b"black\n"),
        ("a/._1.txt", b"rubbish"),
        ("b/1.cls", b"7"),
        ("b/1.prompt.txt", b"which?"),
        ("b/1.10.wav", b"ten"),
        ("b/1.2.wav", b"two"),
        ("b/1.boxes.json", b"[1]"),
        ("b/1.npy", b"\0"),
    ]
    source = opened(shard(tmp_path / "s.tar", content))
    assert len(source) == 2
    assert source.row(1) == {
        "id": "b/1",
        "label": "7",
        "prompt": "which?",
        "boxes": [1],
        "npy": b"\0",
        "audio": [
            {"bytes": b"two", "path": "b/1.2.wav"},
            {"bytes": b"ten", "path": "b/1.10.wav"},
        ],
    }
    conversation = source[0]
    assert conversation.id == "a/1"
    assert conversation.source == "s.tar row 0 (a/1)"
    (medium,) = conversation.media()
    assert medium.size() == (4, 6)
    assert conversation.messages[-1].text == "black"


def test_a_json_is_the_row_and_names_members(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "<image>\nhi"}, {"from": "gpt", "value": "b"}]
    row = {"id": "own", "conversations": turns}
    named = row | {"image": ["far/k2.b.jpg", "k2.a.jpg"], "caption": "x"}
    content = [
        ("k0.jpg", b"0"), ("k0.json", text(row)),
        ("k1.json", text(row | {"image": "coco/elsewhere.jpg"})), ("k1.jpg", b"1"),
        ("k2.a.jpg", b"a"), ("k2.b.jpg", b"b"), ("k2.json", text(named)), ("k2.txt", b"y"),
        ("k3.json", json.dumps(turns).encode()), ("k3.jpg", b"3"),
    ]  # fmt: skip
    source = opened(shard(tmp_path / "s.tar", content), "llava")
    assert source.row(0) == row | {"image": {"bytes": b"0", "path": "k0.jpg"}}
    assert source.row(1)["image"] == {"bytes": b"1", "path": "k1.jpg"}
    assert source.row(2)["image"] == [
        {"bytes": b"b", "path": "k2.b.jpg"},
        {"bytes": b"a", "path": "k2.a.jpg"},
    ]
    assert source.row(2)["caption"] == "x"
    assert source.row(3)["conversations"] == turns
    assert [one.id for one in (source[0], source[3])] == ["own", "k3"]


def test_a_missing_member_is_named(tmp_path: Path) -> None:
    row = {"image": ["k.a.jpg", "k.b.jpg"]}
    content = [("k.json", text(row)), ("k.a.jpg", b"a"), ("l.json", text({"audio": "l.wav"}))]
    source = opened(shard(tmp_path / "s.tar", content))
    with pytest.raises(DataError, match=r"s.tar row 0 \(k\): 'image' names 'k.b.jpg'.*: k.a.jpg"):
        source[0]
    with pytest.raises(DataError, match=r"'audio' names 'l.wav', .*: none"):
        source[1]


def test_shards_are_one_source_and_need_no_unpacking(tmp_path: Path) -> None:
    for n in range(12):
        shard(tmp_path / f"s-{n}.tar", pairs(n * 3, 3))
    expected = [f"{n:04d}" for n in range(36)]
    for path in (tmp_path, tmp_path / "s-*.tar", tmp_path / "s-{0..11}.tar"):
        source = pickle.loads(pickle.dumps(opened(path)))
        assert [source.row(n)["id"] for n in range(36)] == expected
    assert source.row(35)["image"] == {"bytes": b"picture 35", "path": "0035.jpg"}
    assert source.where(35) == "s-11.tar row 2 (0035)"


def index(folder: Path, shards: list[dict[str, object]], **more: object) -> Path:
    document = {"wids_version": 1, "__kind__": "wids-shard-index-v1", "shardlist": shards} | more
    file = folder / "wids-meta.json"
    file.write_text(json.dumps(document))
    return file


def test_a_wids_index_lists_the_shards(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    second = shard(tmp_path / "data" / "b.tar", pairs(2, 1))
    first = shard(tmp_path / "data" / "a.tar", pairs(0, 2))
    shards = [
        {"url": "b.tar", "nsamples": 1, "filesize": second.stat().st_size},
        {"url": f"file://{first}", "nsamples": 2},
    ]
    file = index(tmp_path, shards, base="data")
    for path in (file, tmp_path):
        source = opened(path)
        assert [source.row(n)["id"] for n in range(3)] == ["0002", "0000", "0001"]
    index(tmp_path, [shards[0] | {"nsamples": 5}], base="data")
    with pytest.raises(DataError, match=r"b.tar holds 1 samples, but its index says 5"):
        opened(file)
    index(tmp_path, [shards[0] | {"filesize": 5}], base="data")
    with pytest.raises(DataError, match="bytes, but its index says 5"):
        opened(file)
    index(tmp_path, [{"url": "https://x/b.tar"}])
    with pytest.raises(DataError, match="not on this machine"):
        opened(file)
    index(tmp_path, [{"url": "c.tar"}])
    with pytest.raises(DataError, match=r"no data file .*c.tar"):
        opened(file)
    index(tmp_path, [])
    with pytest.raises(DataError, match="has no 'shardlist'"):
        opened(file)


def test_damage_is_found_when_the_shard_is_opened(tmp_path: Path) -> None:
    whole = shard(tmp_path / "s.tar", pairs(0, 4)).read_bytes()
    cut = tmp_path / "cut.tar"
    for size, words in ((1536 + 100, "expected a header at byte"), (512 + 5, "cut off inside")):
        cut.write_bytes(whole[:size])
        with pytest.raises(DataError, match=words):
            opened(cut)
    damaged = bytearray(whole)
    damaged[2048 + 10] ^= 1
    cut.write_bytes(damaged)
    with pytest.raises(DataError, match="the header at byte 2048 is damaged"):
        opened(cut)
    cut.write_bytes(b"no tar at all" * 100)
    with pytest.raises(DataError, match="no tar archive"):
        opened(cut)
    cut.write_bytes(b"\x1f\x8b" + whole)
    with pytest.raises(DataError, match="compressed with gzip"):
        opened(cut)
    cut.write_bytes(whole[: 8 * 1024])  # without the empty blocks at the end
    assert len(opened(cut)) == 4


def test_an_empty_shard_is_told_and_no_shard_with_samples_is_an_error(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    shard(tmp_path / "s-0.tar", [])
    with pytest.raises(DataError, match="holds no rows"):
        opened(tmp_path)
    shard(tmp_path / "s-1.tar", pairs(0, 1))
    caplog.clear()
    source = opened(tmp_path)
    assert source.where(0) == "s-1.tar row 0 (0000)"
    assert "s-0.tar is a shard without samples" in caplog.text
    (tmp_path / "s-2.tar").write_bytes(b"")
    with pytest.raises(DataError, match=r"s-2.tar is empty \(0 bytes\)"):
        opened(tmp_path)
    with pytest.raises(DataError, match=r"neither wids-meta.json nor"):
        (tmp_path / "none").mkdir()
        opened(tmp_path / "none")


def test_a_shard_is_indexed_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOCKET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(_index, "SMALL_FILE_BYTES", 0)
    path = shard(tmp_path / "s.tar", pairs(0, 50))
    assert len(opened(path)) == 50
    monkeypatch.setattr(_shard, "_samples", lambda file: pytest.fail(f"{file} was read again"))
    source = opened(path)
    assert source.row(49)["image"] == {"bytes": b"picture 49", "path": "0049.jpg"}

from __future__ import annotations

from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from hocket._errors import DataError
from hocket.chat.readers import readers
from hocket.data.sources.folder import MediaFolder


def opened(folder: Path) -> MediaFolder:
    # The folder that a config would name for any other source, which this one does not need.
    return MediaFolder(folder, reader=readers.get("caption"), root=folder.parent)


def write(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"x")


def test_sub_folders_are_classes(tmp_path: Path) -> None:
    write(tmp_path, "seven/10.png", "seven/2.PNG", "one/deep/a.jpg", ".hidden/b.png", "seven/n.md")
    source = opened(tmp_path)
    assert [source.row(n) for n in range(len(source))] == [
        {"id": "one/deep/a", "image": "one/deep/a.jpg", "label": "one", "caption": "one"},
        {"id": "seven/2", "image": "seven/2.PNG", "label": "seven", "caption": "seven"},
        {"id": "seven/10", "image": "seven/10.png", "label": "seven", "caption": "seven"},
    ]


def test_captions_lie_beside_pictures_and_sounds(tmp_path: Path) -> None:
    write(tmp_path, "b.wav", "b.flac", "c.jpg", "c.wav")
    PIL.Image.fromarray(np.zeros((4, 4, 3), np.uint8)).save(tmp_path / "a.png")
    for stem in "abc":
        (tmp_path / f"{stem}.txt").write_text(f"caption {stem}\n")
    source = opened(tmp_path)
    assert source.row(0) == {"id": "a", "image": "a.png", "caption": "caption a"}
    assert source.row(1) == {"id": "b", "audio": ["b.flac", "b.wav"], "caption": "caption b"}
    assert source.row(2) == {
        "id": "c", "image": "c.jpg", "audio": "c.wav", "caption": "caption c"
    }  # fmt: skip
    conversation = source[0]
    (medium,) = conversation.media()
    assert medium.where.path == tmp_path / "a.png"
    assert conversation.messages[-1].text == "caption a"


def test_what_cannot_be_a_data_set_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no pictures"):
        opened(tmp_path / "empty")
    write(tmp_path, "bare/a.png")
    with pytest.raises(DataError, match=r"such as 'a': no caption lies beside"):
        opened(tmp_path / "bare")
    with pytest.raises(DataError, match="is a file; expected a folder"):
        opened(tmp_path / "bare" / "a.png")
    write(tmp_path, "some/a.png", "some/a.txt", "some/b.png")
    source = opened(tmp_path / "some")
    with pytest.raises(DataError, match=r"row 1 \(b\) has no caption, expected b.txt"):
        source[1]
    (tmp_path / "some" / "a.txt").write_bytes(b"")
    with pytest.raises(DataError, match="is empty"):
        source[0]

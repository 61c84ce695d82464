"""References become files, or messages that help."""

from __future__ import annotations

from pathlib import Path

import pytest

from hocket._errors import MediaError
from hocket.media.locate import locate

WHERE = "dataset 'toys' row 7"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "data" / "images").mkdir(parents=True)
    (tmp_path / "data" / "images" / "cat_001.png").write_bytes(b"x")
    (tmp_path / "outside.png").write_bytes(b"x")
    return tmp_path / "data"


def test_relative_paths_start_at_the_root(root: Path) -> None:
    expected = root / "images" / "cat_001.png"
    assert locate("images/cat_001.png", root=root, where=WHERE) == expected
    assert locate("images/cat_001.png", root=root, where=WHERE, confined=True).samefile(expected)


def test_absolute_paths_are_free_until_folders_are_named(root: Path, tmp_path: Path) -> None:
    outside = str(tmp_path / "outside.png")
    assert locate(outside, root=root, where=WHERE) == Path(outside)
    assert locate(outside, root=root, where=WHERE, allowed=(tmp_path,)) == Path(outside)
    (tmp_path / "other").mkdir()
    for reference in (outside, "../outside.png"):
        with pytest.raises(MediaError, match=r"row 7.*outside the allowed folders"):
            locate(reference, root=root, where=WHERE, allowed=(tmp_path / "other",))


def test_confined_follows_links(root: Path, tmp_path: Path) -> None:
    (root / "link.png").symlink_to(tmp_path / "outside.png")
    assert locate("link.png", root=root, where=WHERE).is_file()
    for reference in ("link.png", "../outside.png", "/etc/passwd", "../missing.png"):
        with pytest.raises(MediaError, match="outside the allowed folders"):
            locate(reference, root=root, where=WHERE, confined=True)
    assert locate("link.png", root=root, where=WHERE, confined=True, allowed=(tmp_path,))


def test_a_circle_of_links_is_a_media_error(root: Path) -> None:
    (root / "a").symlink_to(root / "b")
    (root / "b").symlink_to(root / "a")
    for confined in (True, False):
        with pytest.raises(MediaError, match="row 7"):
            locate("a", root=root, where=WHERE, confined=confined)


@pytest.mark.parametrize(
    "url",
    [
        "http://x.org/a.png",
        "HTTPS://x.org/a.png",
        "file:///etc/passwd",
        "file:a.png",
        "data:image/png;base64," + "A" * 500,
        "s3://bucket/a.png",
    ],
)
def test_urls_are_refused(root: Path, url: str) -> None:
    with pytest.raises(MediaError, match="is a URL") as caught:
        locate(url, root=root, where=WHERE)
    assert len(str(caught.value)) < 200


def test_a_missing_file_names_row_path_and_neighbour(root: Path) -> None:
    with pytest.raises(MediaError) as caught:
        locate("images/cat_01.png", root=root, where=WHERE)
    message = str(caught.value)
    assert WHERE in message and str(root / "images" / "cat_01.png") in message
    assert "'cat_001.png'" in message
    with pytest.raises(MediaError, match=r"none is similar.*--media-root"):
        locate("images/zebra", root=root, where=WHERE)
    with pytest.raises(MediaError, match="cannot be listed"):
        locate("nowhere/cat_001.png", root=root, where=WHERE)


@pytest.mark.parametrize("reference", ["", "a\0b", "images", "x" * 5000])
def test_things_that_are_no_file(root: Path, reference: str) -> None:
    with pytest.raises(MediaError, match="row 7"):
        locate(reference, root=root, where=WHERE)


def test_a_folder_may_be_named_where_frames_are_wanted(root: Path) -> None:
    assert locate("images", root=root, where=WHERE, folders=True) == root / "images"
    assert locate("images/cat_001.png", root=root, where=WHERE, folders=True).is_file()
    with pytest.raises(MediaError, match="is a folder, not a file"):
        locate("images", root=root, where=WHERE)
    with pytest.raises(MediaError, match="no file"):
        locate("pictures", root=root, where=WHERE, folders=True)


def test_a_confined_folder_holds_no_way_out(root: Path, tmp_path: Path) -> None:
    images = root / "images"
    (images / "inside.png").symlink_to(images / "cat_001.png")
    assert locate("images", root=root, where=WHERE, folders=True, confined=True).samefile(images)
    (images / "out.png").symlink_to(tmp_path / "outside.png")
    with pytest.raises(MediaError, match=r"row 7: '.*out\.png' is outside the allowed folders"):
        locate("images", root=root, where=WHERE, folders=True, confined=True)
    assert locate("images", root=root, where=WHERE, folders=True) == images
    for reference in ("..", str(tmp_path)):
        with pytest.raises(MediaError, match="outside the allowed folders"):
            locate(reference, root=root, where=WHERE, folders=True, confined=True)


def test_paths_of_windows_and_long_ones_say_what_to_do(root: Path) -> None:
    with pytest.raises(MediaError, match=r"row 7: no file .*Windows writes .* write '/'"):
        locate(r"images\cat_001.png", root=root, where=WHERE)
    with pytest.raises(MediaError, match=r"too long.*Check it and its rights") as caught:
        locate("x" * 5000, root=root, where=WHERE)
    assert len(str(caught.value)) < 400

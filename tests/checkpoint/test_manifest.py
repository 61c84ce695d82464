"""A directory is whole or absent, whatever happens while it is written."""

from __future__ import annotations

import errno
import json
import os
import resource
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer, models

from hocket._errors import CheckpointError, MachineError
from hocket.checkpoint.manifest import MANIFEST, machine_error, verify_directory, write_directory


def fill(folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "a.txt").write_text("one", encoding="utf-8")
    (folder / "sub" / "b.bin").write_bytes(bytes(1000))


def fill_large_tensors(folder: Path) -> None:
    save_file({"x": torch.zeros(1_000_000)}, folder / "x.safetensors")


def fill_large_tokenizer(folder: Path) -> None:
    vocabulary = {f"token-{number}": number for number in range(100_000)}
    Tokenizer(models.BPE(vocab=vocabulary, merges=[])).save(str(folder / "tokenizer.json"))


def fill_large_file(folder: Path) -> None:
    (folder / "x.bin").write_bytes(bytes(4_000_000))


LARGE = [fill_large_tensors, fill_large_tokenizer, fill_large_file]


def test_what_was_written_is_verified(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "target"
    write_directory(target, fill)
    hashes = verify_directory(target)
    assert hashes.keys() == {"a.txt", "sub/b.bin"}
    # printf one | sha256sum
    assert hashes["a.txt"] == "7692c3ad3540bb803c020b3aee66cd8887123234ea0c6e7143c0add73ff431ed"
    assert [path.name for path in target.parent.iterdir()] == ["target"]


def test_a_directory_is_replaced_as_a_whole(tmp_path: Path) -> None:
    target = tmp_path / "target"
    write_directory(target, fill)
    write_directory(target, lambda folder: (folder / "new").touch())
    assert sorted(path.name for path in target.iterdir()) == [MANIFEST, "new"]
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), ValueError("no")])
def test_a_write_that_fails_leaves_the_old_directory(tmp_path: Path, error: BaseException) -> None:
    target = tmp_path / "target"
    write_directory(target, fill)

    def fail(folder: Path) -> None:
        fill(folder)
        raise error

    with pytest.raises(type(error)):
        write_directory(target, fail)
    assert [path.name for path in tmp_path.iterdir()] == ["target"]
    verify_directory(target)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda folder: (folder / "a.txt").write_text("on"), r"a\.txt holds 2 bytes; 3 were"),
        (lambda folder: (folder / "a.txt").write_text("onE"), r"a\.txt has changed .* sha256"),
        (lambda folder: (folder / "sub" / "b.bin").unlink(), r"lacks sub/b\.bin"),
        (lambda folder: (folder / MANIFEST).unlink(), r"has no manifest\.json"),
        (lambda folder: (folder / MANIFEST).write_text("{"), r"manifest\.json is damaged"),
        (lambda folder: (folder / MANIFEST).write_bytes(b"\xff"), r"manifest\.json is damaged"),
        (lambda folder: (folder / MANIFEST).write_text("[]"), r"manifest\.json is damaged"),
        (lambda folder: (folder / MANIFEST).write_text('{"files": []}'), r"json is damaged"),
        (lambda folder: rename_key(folder, "bytes", "byter"), r"manifest\.json is damaged"),
        (lambda folder: rename_key(folder, "sha256", "sha257"), r"manifest\.json is damaged"),
    ],
)
def test_damage_is_found(tmp_path: Path, change: Callable[[Path], None], message: str) -> None:
    write_directory(tmp_path / "target", fill)
    change(tmp_path / "target")
    with pytest.raises(CheckpointError, match=message):
        verify_directory(tmp_path / "target")


def rename_key(folder: Path, old: str, new: str) -> None:
    manifest = folder / MANIFEST
    text = manifest.read_text(encoding="utf-8")
    json.loads(text.replace(old, new))
    manifest.write_text(text.replace(old, new), encoding="utf-8")


def test_sizes_alone_do_not_see_a_flipped_bit(tmp_path: Path) -> None:
    write_directory(tmp_path / "target", fill)
    (tmp_path / "target" / "a.txt").write_text("onE", encoding="utf-8")
    verify_directory(tmp_path / "target", hashes=False)


@pytest.mark.parametrize("write", LARGE)
def test_a_file_over_the_limit_is_an_error_of_the_machine(
    tmp_path: Path, write: Callable[[Path], None]
) -> None:
    target = tmp_path / "target"
    write_directory(target, fill)
    with file_size_limit(100_000), pytest.raises(MachineError, match=r"write .*target: File"):
        write_directory(target, write)
    assert [path.name for path in tmp_path.iterdir()] == ["target"]
    verify_directory(target)


@contextmanager
def file_size_limit(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("write", LARGE)
def test_a_full_disk_is_an_error_of_the_machine(
    small_disk: Path, write: Callable[[Path], None]
) -> None:
    target = small_disk / "target"
    write_directory(target, fill)
    with pytest.raises(MachineError, match="no space is left on the disk") as caught:
        write_directory(target, write)
    assert caught.value.exit_code == 3
    assert [path.name for path in small_disk.iterdir()] == ["target"]
    verify_directory(target)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount one megabyte, which only root may do."""
    mount = shutil.which("mount")
    if os.geteuid() != 0 or mount is None:
        pytest.skip("mounting a small disk needs root")
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)], capture_output=True
    )
    if done.returncode:
        pytest.skip("this machine does not let root mount a small disk")
    try:
        yield tmp_path
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_folder_that_may_not_be_written(closed_folder: Path) -> None:
    with pytest.raises(MachineError, match=r"cannot write .*target: no permission .* out=FOLDER"):
        write_directory(closed_folder / "target", fill)
    assert not any(closed_folder.iterdir())


@pytest.fixture
def closed_folder() -> Iterator[Path]:
    """Return a folder of somebody else; root, who may write anywhere, becomes nobody meanwhile."""
    folder = Path(tempfile.mkdtemp())
    user = os.geteuid()
    folder.chmod(0o555)
    try:
        if user == 0:
            try:
                os.seteuid(65534)
            except OSError:
                pytest.skip("this machine does not let root become nobody")
        yield folder
    finally:
        os.seteuid(user)
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_a_file_in_the_place_of_a_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(MachineError, match="a file stands where a folder is needed"):
        write_directory(tmp_path / "file" / "target", fill)


def test_machine_errors_say_what_to_do() -> None:
    for number in (errno.ENOSPC, errno.EDQUOT, errno.EACCES, errno.EROFS, errno.ENOTDIR):
        text = str(machine_error(Path("x"), OSError(number, os.strerror(number))))
        assert text.startswith("cannot write x: ")
        assert "again" in text or "Choose another folder" in text
    assert str(machine_error(Path("x"), OSError("odd"))) == "cannot write x: odd."

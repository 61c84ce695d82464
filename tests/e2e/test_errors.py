"""Bad inputs, as a user meets them: each gives its exit code and one message of at most 3 lines."""

from __future__ import annotations

import io
import json
import os
import re
import resource
import shutil
import struct
import subprocess
import sys
import tomllib
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
from tests.e2e.conftest import Command, Outcome, Small

CASES: list[dict[str, Any]] = tomllib.loads(
    Path(__file__).with_name("errors.toml").read_text("utf-8")
)["case"]
DEFAULT = ["data", "show", "{tmp}/rows.json"]
MOST_LINES = 3
FULL = "/dev/full"  # a disk without space


def test_the_table_is_long_and_each_name_stands_once() -> None:
    names = [case["name"] for case in CASES]
    assert len(names) >= 40
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"].replace(" ", "-"))
def test_a_bad_input_gives_its_message(
    case: dict[str, Any],
    hocket: Command,
    small: Small,
    trained: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if FULL in case.get("args", []) and not Path(FULL).exists():
        pytest.skip(f"there is no {FULL} here")
    places = {"tmp": tmp_path, "small": small.folder, "run": trained}
    files = dict(case.get("files", {})) | ({"rows.json": case["rows"]} if "rows" in case else {})
    for name, content in files.items():
        make(tmp_path / name, content, trained)
    for name, value in case.get("env", {}).items():
        monkeypatch.setenv(name, value)
    words: list[str] = []
    for word in case.get("args", DEFAULT):
        words += small.words(tmp_path / "run") if word == "[train]" else [filled(word, places)]
    check(hocket(*last_of_each_group(words)), case.get("code", 2), filled(case["message"], places))


def test_no_space_while_a_checkpoint_is_written(
    hocket: Command, small: Small, trained: Path, tmp_path: Path
) -> None:
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, before[1]))
    try:
        outcome = hocket("train", *small.words(tmp_path / "run"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    where = tmp_path / "run" / "checkpoints" / "align-step-000001"
    message = "File too large for this disk or for ulimit -f. Choose another folder."
    check(outcome, 3, f"cannot write {where}: {message}")
    assert not list((tmp_path / "run" / "checkpoints").iterdir()), "something was left behind"


def test_a_folder_without_write_permission(small: Small, tmp_path: Path) -> None:
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    outcome = in_a_process("train", *small.words(locked / "run"), obey_permissions=True)
    message = (
        f"cannot write {locked}/run{{any}}: no permission to write there. "
        "Choose another folder with out=FOLDER."
    )
    check(outcome, 3, message)


def test_the_command_itself_ends_with_the_code_and_the_message() -> None:
    outcome = in_a_process("quikstart")
    assert "Did you mean 'quickstart'?" in outcome.err
    check(outcome, 2, "no command is called 'quikstart'.{any}")


def check(outcome: Outcome, code: int, message: str) -> None:
    """Compare the exit code, and everything from the error on with its pattern."""
    assert "Traceback" not in outcome.err, outcome.err
    assert "internal error" not in outcome.err, outcome.err
    assert outcome.out == "", "standard output is for results"
    _, found, shown = outcome.err.rpartition("error: ")
    assert found, f"no error: exit code {outcome.code}, {outcome.err}"
    pattern = "[^\n]*".join(re.escape(part) for part in message.split("{any}"))
    assert re.fullmatch(pattern, shown.rstrip("\n")), shown
    assert len(shown.splitlines()) <= MOST_LINES
    assert outcome.code == code


def filled(text: str, places: dict[str, Path]) -> str:
    """Put folders in the place of their names."""
    for name, folder in places.items():
        text = text.replace(f"{{{name}}}", str(folder))
    return text


def last_of_each_group(words: list[str]) -> list[str]:
    """Let a group or ``out`` that a case names take the place of the small model's."""
    named = {word.partition("=")[0]: word for word in words if re.match(r"(data|train|out)=", word)}
    return [
        word for word in words if "=" not in word or named.get(word.partition("=")[0], word) == word
    ]


def in_a_process(*words: str, obey_permissions: bool = False) -> Outcome:
    """Run ``hocket`` in a process of its own.

    Args:
        words: the arguments.
        obey_permissions: take away root's right to write where it has no permission.
    """
    command = [sys.executable, "-c", "from hocket.cli.main import main; main()", *words]
    if obey_permissions and os.geteuid() == 0:
        setpriv = shutil.which("setpriv")
        if setpriv is None:
            pytest.skip("root writes everywhere, and there is no setpriv to stop it")
        command = [setpriv, "--bounding-set=-dac_override", *command]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return Outcome(done.returncode, done.stdout, done.stderr)


def make(path: Path, content: str, trained: Path) -> None:
    """Write a file of a case, or what its maker makes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    if content.startswith("@run") or content == "@stopped_run":
        shutil.copytree(trained, path)
        DAMAGE[content.removeprefix("@")](path)
    elif content == "@folder":
        path.mkdir()
    elif content.startswith("@"):
        path.write_bytes(MEDIA[content.removeprefix("@")](trained))
    else:
        path.write_text(content)


def stop_run(run: Path) -> None:
    """Make a finished run one that was stopped before its end."""
    shutil.rmtree(run / "model")


def bad_config(run: Path) -> None:
    config = run / "model" / "config.json"
    config.write_text(config.read_text()[:-10])
    unseal(run)


def cut_weights(run: Path) -> None:
    weights = run / "model" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])


def cut_unsealed(run: Path) -> None:
    cut_weights(run)
    unseal(run)


def flip_bit(run: Path) -> None:
    weights = run / "model" / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-100] ^= 1
    weights.write_bytes(data)


def lose_weights(run: Path) -> None:
    (run / "model" / "model.safetensors").unlink()
    unseal(run)


def lose_tokenizer(run: Path) -> None:
    (run / "model" / "tokenizer.json").unlink()
    unseal(run)


def change_shape(run: Path) -> None:
    file = run / "model" / "config.json"
    config = json.loads(file.read_text())
    config["text_config"]["intermediate_size"] = 96
    file.write_text(json.dumps(config))
    unseal(run)


def unseal(run: Path) -> None:
    """Take the manifest away, as from a checkpoint that was copied in part."""
    (run / "model" / "manifest.json").unlink()


def noise(size: int, kind: str) -> bytes:
    """Return an encoded picture of random pixels."""
    pixels = np.random.default_rng(0).integers(0, 256, (size, size, 3), dtype=np.uint8)
    buffer = io.BytesIO()
    PIL.Image.fromarray(pixels).save(buffer, format=kind)
    return buffer.getvalue()


def long_png(_: Path) -> bytes:
    """Return the header of a picture of 40,000 x 10 pixels, without the pixels."""
    header = b"IHDR" + struct.pack(">IIBBBBB", 40_000, 10, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + header
    return start + struct.pack(">I", zlib.crc32(header)) + struct.pack(">I", 1000) + b"IDAT"


def wav_header(_: Path) -> bytes:
    """Return a header that promises one second at 16 kHz, and no sample."""
    fmt = b"fmt " + struct.pack("<IHHIIHH", 16, 1, 1, 16_000, 32_000, 2, 16)
    return b"RIFF" + struct.pack("<I", 36 + 32_000) + b"WAVE" + fmt + b"data" + b"\x00\x7d\x00\x00"


def cut_mp4(_: Path) -> bytes:
    """Return an MP4 without ``moov``, the index that programs write last."""
    return struct.pack(">I4s4sI", 16, b"ftyp", b"isom", 512) + struct.pack(">I4s", 5000, b"mdat")


DAMAGE: dict[str, Callable[[Path], None]] = {
    "stopped_run": stop_run,
    "run_bad_config": bad_config,
    "run_cut_weights": cut_weights,
    "run_cut_unsealed": cut_unsealed,
    "run_bit_flip": flip_bit,
    "run_no_weights": lose_weights,
    "run_no_tokenizer": lose_tokenizer,
    "run_other_shape": change_shape,
}
MEDIA: dict[str, Callable[[Path], bytes]] = {
    "png": lambda _: noise(16, "png"),
    "jpeg_cut": lambda _: noise(64, "jpeg")[:2000],
    "png_long": long_png,
    "wav_header": wav_header,
    "mp4_cut": cut_mp4,
}

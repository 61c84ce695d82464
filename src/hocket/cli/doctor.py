"""Check this machine: versions, devices, memory, disk, decoders, one forward pass.

Every failure ends with its fix. It looks and never changes anything but one temporary file in the
current folder. It must not know configs, data or checkpoints: those have their own checks.
"""

from __future__ import annotations

import importlib
import importlib.util
import io
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from enum import StrEnum
from fractions import Fraction
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from hocket._compat import TESTED, installed_version
from hocket._errors import HocketError, MachineError

LEAST_MEMORY_GB = 2.0
LEAST_DISK_GB = 1.0
PROBE_SECONDS = 60

# package of pip -> module that is imported
_NEEDED = {
    "torch": "torch",
    "transformers": "transformers",
    "accelerate": "accelerate",
    "numpy": "numpy",
    "pillow": "PIL",
    "av": "av",
    "soundfile": "soundfile",
}
_OPTIONAL = {
    "peft": "adapters",
    "scikit-learn": "quickstart's digits",
    "espeakng-loader": "quickstart's voices",
    "fastapi": "serving",
}
# transformers imports these when they are there, and a broken one breaks transformers.
_FRAGILE = ("torchvision", "torchaudio")


class State(StrEnum):
    """Outcome of a check."""

    OK = "ok"
    FAILED = "failed"
    ABSENT = "absent"


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One line of the report.

    Attributes:
        group: what the line is about, such as ``decoders``.
        name: what was checked.
        state: the outcome; ``absent`` is an optional thing that is not there.
        found: what was found.
        fix: what to do about a failure.
    """

    group: str
    name: str
    state: State
    found: str
    fix: str = ""


def command(
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object, for bug reports.")
    ] = False,
) -> None:
    """Check this machine: versions, devices, memory, disk, decoders, one forward pass."""
    checks = examine()
    failed = sum(check.state is State.FAILED for check in checks)
    if as_json:
        report = {"ok": not failed, "checks": [asdict(check) for check in checks]}
        typer.echo(json.dumps(report, indent=2))
    else:
        console = Console()
        console.print(_table(checks))
        console.print(_verdict(failed))
    if failed:
        raise typer.Exit(MachineError.exit_code)


def examine(folder: Path | None = None) -> list[Check]:
    """Run every check; none of them raises.

    Args:
        folder: where space and the right to write are looked at; None is the current folder.
    """
    place = folder or Path.cwd()
    fragile = list(_fragile())
    # A broken torchvision breaks transformers' models too: the cure of the cause comes first.
    causes = " && ".join(check.fix for check in fragile if check.fix)
    return [
        Check(group="versions", name="python", state=State.OK, found=platform.python_version()),
        _version_of_hocket(),
        *(_version(package, module) for package, module in _NEEDED.items()),
        *fragile,
        _cpu(),
        _attempt("devices", "gpu", _gpu, fix="pip install --force-reinstall torch"),
        _memory(),
        *_disk(place),
        *_decoders(),
        *(_extra(package, use) for package, use in _OPTIONAL.items()),
        _attempt(
            "model",
            "forward pass",
            _forward,
            fix=causes or "pip install --force-reinstall torch transformers",
        ),
    ]


def _attempt(group: str, name: str, probe: Callable[[], str], *, fix: str) -> Check:
    """Run a probe that returns what it found or raises."""
    try:
        return Check(group=group, name=name, state=State.OK, found=probe())
    except (HocketError, ImportError, OSError, RuntimeError, ValueError, AttributeError) as error:
        lines = str(error).strip().splitlines() or ["no message"]
        kind = "" if isinstance(error, HocketError) else f"{type(error).__name__}: "
        found = f"{kind}{lines[0]}"
        return Check(group=group, name=name, state=State.FAILED, found=found, fix=fix)


def _version_of_hocket() -> Check:
    found = installed_version("hocket")
    state = State.OK if found else State.ABSENT
    return Check(
        group="versions", name="hocket", state=state, found=found or "run from a folder of sources"
    )


def _version(package: str, module: str) -> Check:
    wanted = TESTED.get(package)
    requirement = f"{package}{wanted}" if wanted else package
    install = f"pip install '{requirement}'"

    def probe() -> str:
        found = installed_version(package)
        if found is None:
            raise MachineError("not installed")
        if wanted and found not in wanted:
            raise MachineError(f"{found}, but hocket is tested with {wanted}")
        importlib.import_module(module)
        return found

    return _attempt("versions", package, probe, fix=install)


def _fragile() -> Iterator[Check]:
    """Report torchvision and torchaudio only when they are there and cannot be imported."""
    for package in _FRAGILE:
        if importlib.util.find_spec(package) is None:
            continue

        def probe(package: str = package) -> str:
            # In a process of its own: a build for another torch may crash the interpreter.
            done = subprocess.run(
                [sys.executable, "-c", f"import {package}"],
                capture_output=True,
                text=True,
                timeout=PROBE_SECONDS,
                check=False,
            )
            if done.returncode:
                lines = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
                raise MachineError(f"installed but cannot be imported ({lines[-1]})")
            return f"{installed_version(package)} (hocket does not need it)"

        yield _attempt("versions", package, probe, fix=f"pip uninstall -y {package}")


def _cpu() -> Check:
    usable = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1
    found = f"{usable} of {os.cpu_count()} cores, {platform.machine()}"
    return Check(group="devices", name="cpu", state=State.OK, found=found)


def _gpu() -> str:
    import torch

    threads = f"torch uses {torch.get_num_threads()} CPU threads"
    if not torch.cuda.is_available():
        return f"none; {threads}"
    names = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    free, total = torch.cuda.mem_get_info()
    return f"{', '.join(names)}; {free / 2**30:.1f} of {total / 2**30:.1f} GB free; {threads}"


def _memory() -> Check:
    def probe() -> str:
        import psutil

        memory = psutil.virtual_memory()
        free, total = memory.available / 2**30, memory.total / 2**30
        found = f"{free:.1f} of {total:.1f} GB free"
        if free < LEAST_MEMORY_GB:
            raise MachineError(f"{found}, expected {LEAST_MEMORY_GB:.0f} GB")
        return found

    return _attempt("memory", "free", probe, fix="close other programs")


def _disk(folder: Path) -> Iterator[Check]:
    def space() -> str:
        usage = shutil.disk_usage(folder)
        found = f"{usage.free / 2**30:.1f} of {usage.total / 2**30:.1f} GB free"
        if usage.free / 2**30 < LEAST_DISK_GB:
            raise MachineError(f"{found}, expected {LEAST_DISK_GB:.0f} GB")
        return found

    def write() -> str:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".hocket-doctor-") as file:
            file.write(b"hocket")
            file.flush()
            os.fsync(file.fileno())
        return f"{folder} can be written"

    yield _attempt("disk", "space", space, fix="free some space or change to another folder")
    yield _attempt("disk", "write", write, fix="change to a folder you own: cd ~")


def _decoders() -> Iterator[Check]:
    fix = "pip install --force-reinstall"
    yield _attempt("decoders", "picture (PNG)", _decode_png, fix=f"{fix} pillow")
    yield _attempt("decoders", "sound (FLAC)", _decode_flac, fix=f"{fix} soundfile")
    yield _attempt("decoders", "video (MP4)", _decode_mp4, fix=f"{fix} av")


def _decode_png() -> str:
    import numpy as np
    import PIL.Image

    from hocket.media.image import Image

    pixels = np.arange(8 * 6 * 3, dtype=np.uint8).reshape(8, 6, 3)
    stream = io.BytesIO()
    PIL.Image.fromarray(pixels).save(stream, format="PNG")
    if not np.array_equal(Image.from_bytes(stream.getvalue()).load(), pixels):
        raise MachineError("the decoded pixels differ from the encoded ones")
    return "8 x 6 pixels, exact"


def _decode_flac() -> str:
    import numpy as np
    import soundfile

    from hocket.media.audio import Audio

    wave = (0.5 * np.sin(np.arange(1600) / 8)).astype(np.float32)
    stream = io.BytesIO()
    soundfile.write(stream, wave, 16000, format="FLAC")
    decoded = Audio.from_bytes(stream.getvalue()).load(16000)
    if decoded.shape != wave.shape or np.abs(decoded - wave).max() > 2**-14:
        raise MachineError("the decoded samples differ from the encoded ones")
    return "0.1 seconds, exact to 16 bits"


def _decode_mp4() -> str:
    import av
    import numpy as np

    from hocket.media.frames import Uniform
    from hocket.media.video import Video

    stream = io.BytesIO()
    with av.open(stream, "w", format="mp4") as container:
        video: Any = container.add_stream("mpeg4", rate=Fraction(10))
        video.width, video.height, video.pix_fmt = 32, 32, "yuv420p"
        for level in (0, 80, 160, 240):
            pixels = np.full((32, 32, 3), level, dtype=np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        container.mux(video.encode())
    frames, _ = Video.from_bytes(stream.getvalue()).load(Uniform(4))
    levels = [float(frame.mean()) for frame in frames]
    if len(levels) != 4 or levels != sorted(levels) or levels[-1] - levels[0] < 200:
        raise MachineError(f"decoded brightness {levels}, expected 0, 80, 160, 240")
    return "4 frames in order"


def _extra(package: str, use: str) -> Check:
    found = installed_version(package)
    if found:
        return Check(group="optional", name=package, state=State.OK, found=f"{found}, for {use}")
    return Check(group="optional", name=package, state=State.ABSENT, found=f"only for {use}")


def _forward() -> str:
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(
        vocab_size=64,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=64,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    with torch.random.fork_rng(), torch.no_grad():
        model = LlamaForCausalLM(config).to(device).eval()
        logits = model(input_ids=torch.arange(16, device=device)[None]).logits
    if not bool(torch.isfinite(logits).all()):
        raise MachineError(f"a toy Llama on {device} gave numbers that are not finite")
    return f"a toy Llama on {device}, finite"


_MARKS = {
    State.OK: ("ok", "green"),
    State.FAILED: ("FAILED", "bold red"),
    State.ABSENT: ("-", "dim"),
}


def _table(checks: list[Check]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in ("", "check", "result"):
        table.add_column(title, no_wrap=not title, vertical="top")
    table.add_column("found", overflow="fold")
    last = ""
    for check in checks:
        mark, style = _MARKS[check.state]
        found = Text(check.found)
        if check.fix:
            found.append(f"\nfix: {check.fix}", style="bold")
        table.add_row(
            Text(check.group if check.group != last else "", style="cyan"),
            Text(check.name),
            Text(mark, style=style),
            found,
        )
        last = check.group
    return table


def _verdict(failed: int) -> Text:
    if failed:
        noun = "check" if failed == 1 else "checks"
        return Text(f"\n{failed} {noun} failed. Do what stands after 'fix:'.", style="bold red")
    return Text("\nEverything hocket needs is here. Next: hocket quickstart", style="bold green")

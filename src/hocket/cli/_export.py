"""``hocket model export``: a checkpoint in another system's names and files."""

from __future__ import annotations

import inspect
from importlib import import_module
from pathlib import Path
from typing import Annotated

import typer

from hocket._errors import CheckpointError, ConfigError
from hocket._log import warn
from hocket.checkpoint.export import (
    ACCEPT,
    ExportOptions,
    Verification,
    export,
    exporters,
    verify_export,
)
from hocket.checkpoint.tools.tensors import SHARD_BYTES
from hocket.cli._session import start_session

_GIGABYTE = 10**9


def add(app: typer.Typer) -> None:
    """Add the verb to ``hocket model``."""
    app.command("export")(_export)


def list_targets() -> dict[str, str]:
    """Return target -> what it is in one line."""
    listed = {}
    for name in exporters.names():
        module = import_module(exporters.get(name).__module__)
        listed[name] = (inspect.getdoc(module) or "").partition("\n")[0]
    return listed


def _export(
    source: Annotated[
        Path | None, typer.Argument(help="a checkpoint, or a run's folder", metavar="DIR")
    ] = None,
    out: Annotated[Path | None, typer.Argument(help="the folder to write", metavar="OUT")] = None,
    to: Annotated[str, typer.Option(help="the target: see --list", metavar="KIND")] = "llava",
    verify: Annotated[
        bool, typer.Option("--verify", help="open the result in its class and compare logits")
    ] = False,
    base: Annotated[
        Path | None, typer.Option(help="for slim: the checkpoint that training started from")
    ] = None,
    shard_gb: Annotated[float, typer.Option(help="most gigabytes in one file of weights")] = (
        SHARD_BYTES / _GIGABYTE
    ),
    outtype: Annotated[
        str, typer.Option(help="for gguf: auto (the checkpoint's type), f32, f16, bf16 or q8_0")
    ] = "auto",
    accept: Annotated[
        list[str] | None,
        typer.Option(help="a difference to write all the same: tokens", metavar="WHAT"),
    ] = None,
    show: Annotated[bool, typer.Option("--list", help="list the targets and stop")] = False,
) -> None:
    """Write a checkpoint for transformers, vLLM, SGLang, llama.cpp or the original LLaVA code."""
    start_session()
    if show:
        for name, line in list_targets().items():
            typer.echo(f"{name:18}{line}")
        return
    if source is None or out is None:
        raise ConfigError("give the checkpoint and the folder to write: model export DIR OUT.")
    if shard_gb <= 0:
        raise ConfigError(f"--shard-gb is {shard_gb}, expected a number above 0.")
    if unknown := sorted(set(accept or ()) - {ACCEPT}):
        raise ConfigError(f"--accept is {unknown[0]!r}, expected {ACCEPT!r}.")
    options = ExportOptions(
        base=base,
        shard_bytes=max(1, round(shard_gb * _GIGABYTE)),
        outtype=outtype,
        accept=tuple(accept or ()),
    )
    for note in export(source, out, to=to, options=options):
        warn(note)
    typer.echo(f"{out}: written for {to}")
    if verify:
        report(verify_export(source, out, to=to, options=options), accept=options.accept)


def report(found: Verification, *, accept: tuple[str, ...] = ()) -> None:
    """Say how far an export's answers are from the checkpoint's.

    Args:
        found: what was compared.
        accept: differences that are said and not refused.

    Raises:
        CheckpointError: they are further apart than rounding explains.
    """
    typer.echo(f"opened in {found.opened_in}; the largest logit is {found.largest:.3g}")
    typer.echo(f"same inputs: logits differ by at most {found.same_inputs:.2e}")
    if found.own_inputs is not None:
        equal = "" if found.own_inputs == float("inf") else "equal tokens, "
        typer.echo(f"its own processor: {equal}logits differ by at most {found.own_inputs:.2e}")
    if found.remark:
        typer.echo(f"its own processor: {found.remark}")
    most = found.close * found.largest
    if not found.same_inputs <= most:
        raise CheckpointError(
            f"the export's logits differ by {found.same_inputs:.2e}, expected at most "
            f"{most:.2e}. Do not use it; report this with the config.json."
        )
    if found.own_inputs is None or found.own_inputs <= most:
        return
    if ACCEPT not in accept:
        raise CheckpointError(
            "the export's own processor prepares the sample otherwise than the checkpoint's: "
            f"{found.remark or f'logits differ by {found.own_inputs:.2e}'}. Prepare inputs with "
            f"hocket, choose another target, or add --accept {ACCEPT} if that is well."
        )
    warn("the export's own processor prepares the sample otherwise than the checkpoint's")

"""``hocket model inspect, diff, average, consolidate, merge, delta, verify ...``: weight files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hocket._errors import CheckpointError, ConfigError
from hocket.checkpoint.directory import find_checkpoint
from hocket.checkpoint.tools.average import average
from hocket.checkpoint.tools.consolidate import consolidate
from hocket.checkpoint.tools.delta import apply_delta, make_delta
from hocket.checkpoint.tools.diff import compare
from hocket.checkpoint.tools.inspection import inspect_folder
from hocket.checkpoint.tools.merging import merge_checkpoint, unmerge_checkpoint
from hocket.checkpoint.tools.verify import certify, verify_checkpoint
from hocket.cli._session import start_session
from hocket.cli._show.sizes import count_rows
from hocket.model.config import HocketConfig
from hocket.tokens.processor import HocketProcessor

_GIGABYTE = 10**9
_SHOWN = 20

Folder = Annotated[Path, typer.Argument(help="a folder of safetensors", metavar="DIR")]
Out = Annotated[Path, typer.Argument(help="the folder to write", metavar="OUT")]

delta = typer.Typer(help="What a checkpoint adds to its base.", no_args_is_help=True)


def add(app: typer.Typer) -> None:
    """Add the verbs to ``hocket model``."""
    for name, verb in (
        ("inspect", _inspect),
        ("diff", _diff),
        ("average", _average),
        ("consolidate", _consolidate),
        ("merge", _merge),
        ("unmerge", _unmerge),
        ("verify", _verify),
        ("certify", _certify),
    ):
        app.command(name)(verb)
    app.add_typer(delta, name="delta")


def _inspect(
    folder: Folder,
    quick: Annotated[
        bool, typer.Option("--quick", help="do not read every byte for hashes")
    ] = False,
) -> None:
    """Show a folder's parts, sizes, types, tokens per medium, hashes, and files that run code."""
    start_session()
    where = _weights(folder)
    found = inspect_folder(where, hashes=not quick)
    typer.echo(f"{where}: {found.model_type or 'no config.json'}, {found.tensors:,} tensors")
    for part in found.parts:
        dtypes = " ".join(sorted(part.dtypes))
        typer.echo(f"  {part.name:32}{part.parameters:>16,}{_size(part.bytes):>12}  {dtypes}")
    typer.echo(f"  {'in all':32}{found.parameters:>16,}{_size(found.bytes):>12}")
    for name, count in found.files.items():
        typer.echo(f"  {name:32}{'':16}{_size(count):>12}")
    if found.cache_bytes_per_token:
        typer.echo(f"key-value cache: {_size(found.cache_bytes_per_token)} a token in 16 bits")
    if found.model_type == HocketConfig.model_type:
        processor = HocketProcessor.from_pretrained(where, local_files_only=True)
        for medium, rows in count_rows(processor).items():
            typer.echo(f"{medium}: {rows:,} tokens")
    if found.weights_sha256:
        typer.echo(f"weights sha256: {found.weights_sha256}")
    typer.echo(f"manifest: {found.manifest}")
    for risk in found.risks:
        typer.echo(f"{'code' if risk.known else 'RISK'}: {risk.file} is {risk.reason}")


def _diff(
    first: Annotated[Path, typer.Argument(help="a folder of safetensors", metavar="A")],
    second: Annotated[Path, typer.Argument(help="another", metavar="B")],
    every: Annotated[bool, typer.Option("--all", help="show every tensor that differs")] = False,
) -> None:
    """Compare two folders tensor by tensor; the exit code is 1 when they differ."""
    found = compare(_weights(first), _weights(second))
    changed = found.changed if every else found.changed[:_SHOWN]
    for one in changed:
        dtypes = one.dtypes[0] if len(set(one.dtypes)) == 1 else " -> ".join(one.dtypes)
        typer.echo(
            f"{one.name}: most {one.most:.3e}, mean {one.mean:.3e}, "
            f"{one.changed:,} of {one.elements:,}, {dtypes}"
        )
    if len(changed) < len(found.changed):
        typer.echo(f"... and {len(found.changed) - len(changed)} more: --all shows them")
    for name, (ours, theirs) in found.reshaped.items():
        typer.echo(f"{name}: shape {list(ours)} -> {list(theirs)}")
    for title, names in (("only in A", found.missing), ("only in B", found.extra)):
        for name in names if every else names[:_SHOWN]:
            typer.echo(f"{title}: {name}")
    typer.echo(
        f"{len(found.tensors) - len(found.changed)} tensors equal, {len(found.changed)} changed, "
        f"{len(found.reshaped)} of another shape, {len(found.missing)} only in A, "
        f"{len(found.extra)} only in B"
    )
    if not found.same:
        raise typer.Exit(1)


def _average(
    folders: Annotated[list[Path], typer.Argument(help="checkpoints, then OUT", metavar="A B OUT")],
    weights: Annotated[
        str, typer.Option(help="one factor for each, such as 1,1,2; equal by default")
    ] = "",
) -> None:
    """Write the weighted mean of checkpoints of one model."""
    *sources, out = folders
    try:
        factors = [float(one) for one in weights.split(",")] if weights else None
    except ValueError as error:
        raise ConfigError(f"--weights is {weights!r}, expected numbers such as 1,1,2.") from error
    average([_weights(one) for one in sources], out, weights=factors)
    typer.echo(f"{out}: the mean of {len(sources)} checkpoints")


def _consolidate(
    folder: Folder,
    out: Out,
    shard_gb: Annotated[
        float, typer.Option(help="most gigabytes in one file; 0 for a single file")
    ] = 0.0,
) -> None:
    """Put the weights into one file, or into shards of another size."""
    if shard_gb < 0:
        raise ConfigError(f"--shard-gb is {shard_gb}, expected 0 or more.")
    limit = max(1, round(shard_gb * _GIGABYTE)) if shard_gb else None
    names = consolidate(_weights(folder), out, shard_bytes=limit)
    typer.echo(f"{out}: {len(names)} files of weights")


def _merge(
    folder: Annotated[Path, typer.Argument(help="a checkpoint, or a run's folder", metavar="DIR")],
    out: Out,
    adapter: Annotated[
        list[Path] | None, typer.Option(help="folder of an adapter; may be given again")
    ] = None,
) -> None:
    """Write a checkpoint with its adapters, and others, merged into the weights."""
    start_session()
    names = merge_checkpoint(folder, out, adapter or [])
    typer.echo(f"{out}: merged {', '.join(names)}")


def _unmerge(
    folder: Annotated[Path, typer.Argument(help="a checkpoint with merged weights", metavar="DIR")],
    adapter: Annotated[Path, typer.Argument(help="the adapter's folder", metavar="ADAPTER")],
    out: Out,
) -> None:
    """Write a checkpoint with a merged adapter taken out of the weights again."""
    start_session()
    unmerge_checkpoint(folder, adapter, out)
    typer.echo(f"{out}: {adapter} taken out, up to rounding")


@delta.command("make")
def _make(
    base: Annotated[Path, typer.Argument(help="the checkpoint the receiver has", metavar="BASE")],
    tuned: Annotated[Path, typer.Argument(help="the one to pass on", metavar="TUNED")],
    out: Out,
) -> None:
    """Write what TUNED adds to BASE; applying it gives back every bit."""
    made = make_delta(_weights(base), _weights(tuned), out)
    typer.echo(f"{out}: {made.stored} tensors, {made.same} are the base's ({made.base_sha256})")


@delta.command("apply")
def _apply(
    base: Annotated[Path, typer.Argument(help="the delta's base", metavar="BASE")],
    change: Annotated[Path, typer.Argument(help="a delta, or a slim export", metavar="DELTA")],
    out: Out,
) -> None:
    """Write the checkpoint that a delta was made of; another base is refused."""
    made = apply_delta(_weights(base), change, out)
    typer.echo(f"{out}: {made.stored} tensors of the delta, {made.same} of the base")


def _verify(
    folder: Annotated[Path, typer.Argument(help="a checkpoint, or a run's folder", metavar="DIR")],
    device: Annotated[str, typer.Option(help="where to run")] = "cpu",
    dtype: Annotated[str, typer.Option(help="float32, bfloat16 ...; as saved by default")] = "",
) -> None:
    """Check every byte of a checkpoint, and its answers against those it gave when saved."""
    start_session()
    replay = verify_checkpoint(folder, device=device, dtype=dtype)
    for one in replay.cases:
        state = "bit for bit" if one.exact else f"off by {one.most:.2e} of {one.allowed:.2e}"
        typer.echo(f"{one.name}: {state}{'' if one.inputs else '; other tokens or pixels'}")
    for name, value in replay.made_on.items():
        if replay.here[name] != value:
            typer.echo(f"{name}: made with {value}, here {replay.here[name]}")
    if not replay.close:
        failed = ", ".join(one.name for one in replay.cases if not one.close)
        raise CheckpointError(
            f"{folder} does not answer as it did when it was saved: {failed}. Its weights, its "
            "processor or the code changed; use another checkpoint."
        )


def _certify(
    folder: Annotated[Path, typer.Argument(help="a checkpoint, or a run's folder", metavar="DIR")],
    out: Annotated[Path, typer.Argument(help="the folder to write; may be DIR", metavar="OUT")],
) -> None:
    """Copy a checkpoint and record what it answers, for model verify."""
    start_session()
    certify(folder, out)
    typer.echo(f"{out}: certificate written")


def _weights(path: Path) -> Path:
    """Return the folder of weights: a run's model, or the path itself."""
    return find_checkpoint(path) if (path / "model" / "config.json").is_file() else path


def _size(count: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} TB"

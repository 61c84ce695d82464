"""Run a command on several GPUs or machines, or as a SLURM job that goes on until done."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from hocket._env import (
    first_machine,
    for_child,
    gpus_per_machine,
    machine_number,
    machines,
    meeting_port,
    slurm_account,
    slurm_is_off,
    slurm_job_id,
    slurm_partition,
)
from hocket._errors import ConfigError
from hocket._log import warn
from hocket.cli._cluster import read_cluster
from hocket.launch.job import Job, python_of, read_time
from hocket.launch.local import local_command, run_here
from hocket.launch.slurm import job_file, submit

_PORT = 25001
_LIMIT = "4:00:00"
_TRAIN_RETRIES = 3


class Where(StrEnum):
    """Where a command runs."""

    AUTO = "auto"
    LOCAL = "local"
    SLURM = "slurm"


def command(
    words: Annotated[
        list[str], typer.Argument(help="The command, behind --.", metavar="-- COMMAND...")
    ],
    where: Annotated[
        Where, typer.Option("--on", help="auto: SLURM where there is an sbatch, else here.")
    ] = Where.AUTO,
    name: Annotated[str, typer.Option("-J", "--job-name", help="%t becomes the time.")] = "run-%t",
    mode: Annotated[str, typer.Option("-m", "--mode", help="train, eval, ...")] = "train",
    out: Annotated[Path | None, typer.Option("--output-dir", help="Or runs/MODE/NAME.")] = None,
    nodes: Annotated[
        int | None, typer.Option("-N", "--nodes", help="Default NNODES, or 1.")
    ] = None,
    gpus: Annotated[
        int | None,
        typer.Option("--gpus-per-node", "--num-gpus", help="Default GPUS_PER_NODE, else 8 or 0."),
    ] = None,
    account: Annotated[
        str | None, typer.Option("-A", "--account", help="Default VILA_SLURM_ACCOUNT.")
    ] = None,
    partition: Annotated[
        str | None, typer.Option("-p", "--partition", help="Default VILA_SLURM_PARTITION.")
    ] = None,
    time: Annotated[
        str | None, typer.Option("-t", "--time", help="As 48:00:00, 2-00:00:00; default 4:00:00.")
    ] = None,
    timedelta: Annotated[
        int, typer.Option(min=0, help="Minutes before the limit to save and stop.")
    ] = 10,
    max_retry: Annotated[
        int | None, typer.Option(help="Starts after failures; -1 endless; SLURM's train has 3.")
    ] = None,
    singleton: Annotated[
        bool, typer.Option("--singleton", "--uuid", help="Wait for other jobs of that name.")
    ] = False,
    email: Annotated[str | None, typer.Option(help="Told when it begins, ends, fails.")] = None,
    dry: Annotated[bool, typer.Option("--dry", help="Show what would run, and stop.")] = False,
) -> int:
    """Run a command on several GPUs or machines, or as a SLURM job that goes on until done."""
    cluster = read_cluster()
    slurm = where is Where.SLURM or (where is Where.AUTO and _has_slurm())
    label = name.replace("%t", datetime.now(UTC).strftime("%Y%m%d-%H%M%S"))
    counts = (gpus, gpus_per_machine(), cluster.gpus_per_node, 8 * slurm)
    job = Job(
        command=tuple(words),
        name=label,
        mode=mode,
        out=(out or Path("runs") / mode / label).absolute(),
        nodes=nodes or machines() or cluster.nodes or 1,
        gpus_per_node=next(one for one in counts if one is not None),
        account=account if account is not None else slurm_account() or cluster.account,
        partition=partition if partition is not None else slurm_partition() or cluster.partition,
        limit_seconds=read_time(time or cluster.time or _LIMIT),
        warning_seconds=60 * timedelta,
        max_retries=max_retry if max_retry is not None else _TRAIN_RETRIES * (mode == "train"),
        singleton=singleton,
        email=email if email is not None else cluster.email,
        port=meeting_port() or _PORT,
    )
    return _submit(job, dry=dry) if slurm else _run(job, dry=dry, retries=max_retry or 0)


def _submit(job: Job, *, dry: bool) -> int:
    if not job.partition:
        warn(
            "no partition was given (-p, VILA_SLURM_PARTITION or configs/launch.yaml): SLURM takes "
            "its default"
        )
    if dry:
        typer.echo(job_file(job), nl=False)
        return 0
    file, number = submit(job)
    typer.echo(f"job {number} submitted: {file}\nlogs: {job.out / 'slurm'}")
    return 0


def _run(job: Job, *, dry: bool, retries: int) -> int:
    if slurm_job_id() and job.nodes > 1:
        raise ConfigError(
            "this is a SLURM job already, whose processes srun starts. Give -N 1, or submit with "
            "--on slurm from outside."
        )
    words = local_command(job, node=machine_number(), address=first_machine())
    if dry:
        typer.echo(" ".join(words))
        return 0
    extra = {"RUN_NAME": job.name, "OUTPUT_DIR": str(job.out)}
    if words != python_of(job.command):
        extra["OMP_NUM_THREADS"] = "1"  # else each process would use every core
    return run_here(words, for_child(extra), retries=retries)


def _has_slurm() -> bool:
    return not slurm_is_off() and slurm_job_id() is None and shutil.which("sbatch") is not None

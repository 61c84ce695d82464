"""The same command without SLURM: one process, or torchrun's processes on one machine or several.

Several machines meet as the original training scripts have it: the same command on each, with the
machine's number in ``CURRENT_RANK`` or ``NODE_RANK``.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

from hocket._errors import ConfigError
from hocket.launch.job import Job, python_of


def local_command(job: Job, *, node: int, address: str) -> list[str]:
    """Return the words to run on this machine.

    Args:
        job: the job; its time limit and SLURM's settings are not used.
        node: number of this machine among `job.nodes`.
        address: name of the first machine.

    Raises:
        ConfigError: several processes are asked for, but the command is not Python's.
    """
    command = python_of(job.command)
    if job.nodes * job.processes_per_node == 1:
        return command
    if command[0] != sys.executable:
        raise ConfigError(
            f"{command[0]!r} cannot be started as several processes. Give a command of hocket or "
            "python, or ask for one GPU."
        )
    meeting = (
        [f"--node-rank={node}", f"--master-addr={address}", f"--master-port={job.port}"]
        if job.nodes > 1
        else ["--standalone"]
    )
    return [
        sys.executable,
        "-m",
        "torch.distributed.run",
        f"--nnodes={job.nodes}",
        f"--nproc-per-node={job.processes_per_node}",
        *meeting,
        *command[1:],
    ]


def run_here(words: Sequence[str], environment: dict[str, str]) -> int:
    """Run a command and return its exit code; Ctrl-C is left to the command."""
    with subprocess.Popen(words, env=environment) as process:
        while True:
            try:
                return process.wait()
            except KeyboardInterrupt:
                continue

"""The same command without SLURM: one process, or torchrun's processes on one machine or several.

What ends the run is what `hocket launch` returns: codes go through torchrun unchanged, and a signal
that asks the launcher to stop reaches the run, which saves first.

Several machines meet as the original training scripts have it: the same command on each, with the
machine's number in ``CURRENT_RANK`` or ``NODE_RANK``.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Sequence
from types import FrameType

from hocket._errors import ConfigError
from hocket._log import warn
from hocket.launch.job import REFUSED, STALLED, STOPPED, Job, python_of

TOGETHER = "hocket.launch.together"
FINAL = (0, REFUSED, 130, STOPPED)
"""Done, the user's to correct, Ctrl-C, and saved because it was asked to stop."""


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
        TOGETHER,
        f"--nnodes={job.nodes}",
        f"--nproc-per-node={job.processes_per_node}",
        *meeting,
        *command[1:],
    ]


def run_here(words: Sequence[str], environment: dict[str, str], *, retries: int = 0) -> int:
    """Run a command and return its exit code; Ctrl-C is left to the command.

    Args:
        words: the command.
        environment: its variables.
        retries: how often it starts again after a failure; -1 without end. What the user has to
            change, and what was asked to stop, does not start again.
    """
    while True:
        code = _run_once(words, environment)
        if code in FINAL or retries == 0:
            return code
        retries -= 1
        left = "without end" if retries < 0 else f"{retries} left"
        warn(f"ended with code {code}{_meaning(code)}; starting again ({left})")


def _run_once(words: Sequence[str], environment: dict[str, str]) -> int:
    with subprocess.Popen(words, env=environment) as process:

        def pass_on(number: int, frame: FrameType | None) -> None:
            # Torchrun would end its processes on SIGTERM before they have saved.
            process.send_signal(signal.SIGUSR1 if TOGETHER in words else number)

        before = {one: signal.signal(one, pass_on) for one in (signal.SIGTERM, signal.SIGUSR1)}
        try:
            while True:
                try:
                    code = process.wait()
                    return code if code >= 0 else 128 - code
                except KeyboardInterrupt:
                    continue
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _meaning(code: int) -> str:
    return ": no step finished in time, see stalled.*.txt" if code == STALLED else ""

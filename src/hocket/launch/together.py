"""Torchrun, but the run's own exit code comes out, and SIGUSR1 reaches every process.

::

    python -m hocket.launch.together --standalone --nproc-per-node=2 -m hocket train
"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Sequence
from types import FrameType

import psutil
from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import parse_args, run


def main(words: Sequence[str]) -> int:
    """Run as torchrun does; return 0, or the code of the process that failed first."""
    signal.signal(signal.SIGUSR1, _pass_on)
    try:
        run(parse_args(list(words)))
    except ChildFailedError as error:
        codes = [one.exitcode for one in error.failures.values()]
        # Those that torchrun has ended for the failure of another have a signal's code.
        own = [code for code in codes if code > 0]
        return own[0] if own else 128 - codes[0]
    return 0


def _pass_on(number: int, frame: FrameType | None) -> None:
    for child in psutil.Process().children():
        with contextlib.suppress(psutil.Error):
            child.send_signal(number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

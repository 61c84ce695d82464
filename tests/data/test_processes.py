from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from hocket._errors import DataError, MachineError
from hocket.data.processes import in_processes


def double(context: int, number: int) -> tuple[int, int]:
    if number == 99:
        raise DataError("row 99 is bad")
    if number == 98:
        os.kill(os.getpid(), signal.SIGKILL)
    return context * number, os.getpid()


@pytest.mark.parametrize("processes", [1, 2])
def test_every_number_is_worked_on_once(processes: int) -> None:
    found = dict(in_processes(double, 2, range(5), processes=processes))
    assert {number: result for number, (result, _) in found.items()} == {
        number: 2 * number for number in range(5)
    }
    own = {process == os.getpid() for _, process in found.values()}
    assert own == {processes == 1}


def test_an_error_stops_all_and_comes_through() -> None:
    with pytest.raises(DataError, match="row 99 is bad"):
        list(in_processes(double, 2, [1, 99, 3], processes=2))


def test_a_process_that_is_killed_is_told_in_one_sentence() -> None:
    with pytest.raises(MachineError, match=r"was killed.*-j 1"):
        list(in_processes(double, 2, [1, 98, 3], processes=2))


def test_ctrl_c_while_processes_start_is_left_to_this_one(tmp_path: Path) -> None:
    script = tmp_path / "job.py"
    script.write_text(
        "import time\n"
        "from hocket.data.processes import in_processes\n"
        "def work(context, number):\n"
        "    time.sleep(30)\n"
        "if __name__ == '__main__':\n"
        "    print('go', flush=True)\n"
        "    try:\n"
        "        list(in_processes(work, 0, range(2), processes=2))\n"
        "    except KeyboardInterrupt:\n"
        "        print('stopped')\n"
    )
    started = subprocess.Popen(
        [sys.executable, str(script)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert started.stdout is not None
    assert started.stdout.readline() == "go\n"
    until = time.monotonic() + 60
    while not psutil.Process(started.pid).children() and time.monotonic() < until:
        time.sleep(0.01)
    time.sleep(0.1)  # they import
    os.killpg(started.pid, signal.SIGINT)
    told, _ = started.communicate(timeout=60)
    assert told == "stopped\n"

"""Jobs: what is asked of SLURM, and a job that is stopped, fails and goes on under a fake one."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from hocket._errors import ConfigError, MachineError
from hocket.cli.main import main
from hocket.launch.job import STALLED, STOPPED, Job, read_time, write_time
from hocket.launch.local import local_command
from hocket.launch.slurm import job_file, submit

JOB = Job(
    command=("hocket", "train", "experiment=vita15", "data=my file.yaml"),
    name="vita",
    mode="train",
    out=Path("/scratch/vita"),
    nodes=2,
    gpus_per_node=8,
    account="lab",
    partition="gpu",
    limit_seconds=48 * 3600,
    warning_seconds=600,
    max_retries=2,
    singleton=True,
    email="me@lab.org",
    port=25001,
)
FAKES = {
    # Runs the job file in the background, again each time it was put back into the queue.
    "sbatch": """
import os, subprocess, sys
file = sys.argv[-1]
home = os.path.dirname(file)
loop = (
    f'cd {home}; export SLURM_JOB_ID=7 SLURM_JOB_NODELIST=a,b; '
    f'while :; do bash {file} >>job.log 2>&1 & echo $! >pid; wait $!; echo $? >>codes; '
    f'[ -e requeue ] || break; rm requeue; done; touch ended'
)
quiet = subprocess.DEVNULL
subprocess.Popen(['setsid', 'bash', '-c', loop], stdout=quiet, stderr=quiet)
print('7;cluster')
""",
    "scontrol": """
import os, sys
if sys.argv[1] == 'show':
    print('\\n'.join(sys.argv[3].split(',')))
else:
    assert sys.argv[1:] == ['requeue', '7']
    open('requeue', 'w').close()
""",
    # One process a task, with SLURM's numbers; hands signals on, ends all when one fails (as
    # --kill-on-bad-exit does) and ends with the worst code, a signal's above all others.
    "srun": """
import os, signal, subprocess, sys, time
words = sys.argv[next(n for n, word in enumerate(sys.argv) if word == 'bash'):]
tasks = [
    subprocess.Popen(words, env={**os.environ, 'SLURM_PROCID': str(n), 'SLURM_LOCALID': str(n % 2),
                                 'SLURM_NTASKS': '4'})
    for n in range(4)
]
signal.signal(signal.SIGUSR1, lambda *_: [task.send_signal(signal.SIGUSR1) for task in tasks])
while all(task.poll() in (None, 0) for task in tasks) and None in [task.poll() for task in tasks]:
    time.sleep(0.01)
for task in tasks:
    if task.poll() is None:
        task.terminate()
codes = [task.wait() for task in tasks]
sys.exit(max(code if code >= 0 else 128 - code for code in codes))
""",
}


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("30", 1800),
        ("10:30", 630),
        ("4:00:00", 14400),
        ("48:00:00", 172800),
        ("2-00:00:00", 172800),
        ("1-12", 129600),
        ("1-0:30", 88200),
    ],
)
def test_every_form_of_a_time_limit_is_read(text: str, seconds: int) -> None:
    assert read_time(text) == seconds
    assert read_time(write_time(seconds)) == seconds


@pytest.mark.parametrize("text", ["", "two days", "4h", "1:2:3:4", "-5", "0", "0-00:00:00"])
def test_no_other_form_is(text: str) -> None:
    with pytest.raises(ConfigError, match="the time limit"):
        read_time(text)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"command": ()}, "no command was given"),
        ({"name": "a/b"}, "the job's name is 'a/b'"),
        ({"nodes": 0}, "0 nodes with 8 GPUs"),
        ({"warning_seconds": 48 * 3600}, "the time limit is 2-00:00:00, but"),
        ({"partition": "gpu\n#SBATCH --wrap=rm"}, "cannot stand in a job file"),
        ({"out": Path("/scratch/$(rm)/x")}, "cannot stand in a job file"),
    ],
)
def test_a_wrong_job_is_refused(change: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        replace(JOB, **change)  # type: ignore[arg-type] # one field of each type


def test_the_job_file_asks_for_what_was_asked() -> None:
    text = job_file(JOB)
    for line in (
        "#SBATCH --job-name=lab:train/vita",
        "#SBATCH --account=lab",
        "#SBATCH --partition=gpu",
        "#SBATCH --nodes=2",
        "#SBATCH --ntasks-per-node=8",
        "#SBATCH --gpus-per-node=8",
        "#SBATCH --time=2-00:00:00",
        "#SBATCH --signal=B:USR1@600",
        "#SBATCH --dependency=singleton",
        "#SBATCH --mail-type=BEGIN,END,FAIL",
        "#SBATCH --requeue",
    ):
        assert f"{line}\n" in text
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)


def test_no_sbatch_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(MachineError, match="there is no sbatch here"):
        submit(JOB)


@pytest.fixture
def cluster(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a fake SLURM in front of the path and return a folder for the job."""
    tools = tmp_path / "bin"
    tools.mkdir()
    for name, body in FAKES.items():
        file = tools / name
        file.write_text(f"#!{sys.executable}{body}", encoding="utf-8")
        file.chmod(file.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    for name in ("SLURM_JOB_ID", "NO_SLURM"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path / "out"


def launch(cluster: Path, script: str, *options: str) -> None:
    program = cluster.parent / "program.py"
    program.write_text(script, encoding="utf-8")
    with pytest.raises(SystemExit) as left:
        words = ["-J", "toy", "-N", "2", "--gpus-per-node", "2", "-p", "gpu", *options]
        main(["launch", *words, "--output-dir", str(cluster), "--", "python", str(program)])
    assert left.value.code == 0


def ended(cluster: Path) -> list[int]:
    """Wait for the job and return the exit code of each of its starts."""
    until = time.monotonic() + 30
    while not (cluster / "slurm" / "ended").exists():
        assert time.monotonic() < until, (cluster / "slurm" / "job.log").read_text()
        time.sleep(0.02)
    return [int(line) for line in (cluster / "slurm" / "codes").read_text().split()]


RECORD = """
import os, pathlib, sys
out = pathlib.Path(os.environ['OUTPUT_DIR'])
names = ('RANK', 'LOCAL_RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT', 'RUN_NAME')
(out / f"seen-{os.environ['RANK']}").write_text(' '.join(os.environ[name] for name in names))
starts = out / f"starts-{os.environ['RANK']}"
starts.write_text(starts.read_text() + '.' if starts.exists() else '.')
# Of the others some may be ended before they have counted their start.
start = len(starts.read_text()) if os.environ['RANK'] == '0' else 99
"""


def test_every_process_knows_its_place(cluster: Path) -> None:
    launch(cluster, RECORD)
    assert ended(cluster) == [0]
    seen = [(cluster / f"seen-{rank}").read_text() for rank in range(4)]
    assert seen == [f"{rank} {rank % 2} 4 a 25001 toy" for rank in range(4)]


def test_a_failed_job_is_tried_again_and_its_code_is_kept(cluster: Path) -> None:
    launch(cluster, RECORD + "sys.exit(9 if start < 3 else 0)")
    assert ended(cluster) == [9, 9, 0]


def test_tries_end(cluster: Path) -> None:
    launch(cluster, RECORD + "sys.exit(3)", "--max-retry", "1")
    assert ended(cluster) == [3, 3]


def test_a_run_that_hung_counts_as_failed(cluster: Path) -> None:
    launch(cluster, RECORD + f"sys.exit({STALLED} if start == 1 else 0)", "--max-retry", "1")
    assert ended(cluster) == [STALLED, 0]
    assert "no step finished in time" in (cluster / "slurm" / "job.log").read_text()


def test_what_the_user_has_to_change_is_not_tried_again(cluster: Path) -> None:
    launch(cluster, RECORD + "sys.exit(2)")
    assert ended(cluster) == [2]


def test_the_code_is_of_the_process_that_failed_not_of_those_ended_for_it(cluster: Path) -> None:
    script = """
if os.environ['RANK'] == '2':
    sys.exit(9)
import time
time.sleep(30)
"""
    launch(cluster, RECORD + script, "--max-retry", "0")
    assert ended(cluster) == [9]


def test_evaluation_is_not_tried_again_unless_asked(cluster: Path) -> None:
    launch(cluster, RECORD + "sys.exit(3)", "-m", "eval")
    assert ended(cluster) == [3]


@pytest.mark.parametrize(
    ("told", "codes"), [(signal.SIGUSR1, [STOPPED, 0]), (signal.SIGTERM, [STOPPED])]
)
def test_a_job_near_its_limit_saves_and_goes_on_and_one_that_is_cancelled_saves(
    cluster: Path, told: signal.Signals, codes: list[int]
) -> None:
    launch(
        cluster,
        RECORD
        + f"""
import signal, time
def stop(*_):
    (out / f"saved-{{os.environ['RANK']}}").touch()
    # The first process is still ending when others have ended.
    time.sleep(1 if os.environ['RANK'] == '0' else 0)
    (out / f"ended-{{os.environ['RANK']}}").touch()
    sys.exit({STOPPED})
if not (out / "slurm" / "codes").exists():
    signal.signal(signal.SIGUSR1, stop)
    (out / f"ready-{{os.environ['RANK']}}").touch()
    time.sleep(30)
    sys.exit(1)
""",
        "--max-retry",
        "0",
    )
    until = time.monotonic() + 20
    while len(list(cluster.glob("ready-*"))) < 4:
        assert time.monotonic() < until
        time.sleep(0.02)
    os.kill(int((cluster / "slurm" / "pid").read_text()), told)
    assert ended(cluster) == codes
    assert len(list(cluster.glob("saved-*"))) == 4
    assert len(list(cluster.glob("ended-*"))) == 4


def test_without_slurm_torchrun_starts_the_processes() -> None:
    one = replace(JOB, nodes=1, gpus_per_node=0, command=("hocket", "eval", "x"))
    assert local_command(one, node=0, address="") == [sys.executable, "-m", "hocket", "eval", "x"]
    words = local_command(JOB, node=1, address="first")
    assert words[:3] == [sys.executable, "-m", "hocket.launch.together"]
    assert words[3:] == [
        "--nnodes=2",
        "--nproc-per-node=8",
        "--node-rank=1",
        "--master-addr=first",
        "--master-port=25001",
        *("-m", "hocket", *JOB.command[1:]),
    ]
    with pytest.raises(ConfigError, match="'bash' cannot be started as several processes"):
        local_command(replace(JOB, command=("bash", "x")), node=0, address="")


def test_the_original_scripts_variables_are_read(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {
        "n_node": "3",
        "CURRENT_RANK": "2",
        "GPUS_PER_NODE": "4",
        "MASTER_ADDR": "first",
        "MASTER_PORT": "29999",
        "NO_SLURM": "1",
    }.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit):
        main(["launch", "--dry", "--", "hocket", "train"])
    shown = capsys.readouterr().out
    assert "--nnodes=3 --nproc-per-node=4 --node-rank=2 --master-addr=first" in shown
    assert "--master-port=29999" in shown


def shown(capsys: pytest.CaptureFixture[str], *options: str) -> tuple[object, str]:
    with pytest.raises(SystemExit) as left:
        main(["launch", "--dry", "--on", "slurm", *options, "--", "hocket", "train"])
    printed = capsys.readouterr()
    return left.value.code, printed.out + " ".join(printed.err.split())


def test_a_file_says_what_holds_for_every_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("VILA_SLURM_ACCOUNT", "SBATCH_ACCOUNT", "NNODES", "GPUS_PER_NODE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("VILA_SLURM_PARTITION", "long")
    file = tmp_path / "configs" / "launch.yaml"
    file.parent.mkdir()
    file.write_text(
        "account: lab\npartition: short\ntime: '48:00:00'\nnodes: 2\ngpus_per_node: 4\n"
    )
    code, text = shown(capsys, "-N", "3")
    assert code == 0
    for line in ("account=lab", "partition=long", "nodes=3", "gpus-per-node=4", "time=2-00:00:00"):
        assert f"#SBATCH --{line}\n" in text
    for wrong, told in (
        ("partiton: short", "launch.partiton: there is no such key. Did you mean 'partition'?"),
        ("time: 48:00:00", "Put it in quotes"),
    ):
        file.write_text(wrong)
        code, text = shown(capsys)
        assert code == 2 and "configs/launch.yaml: " in text and told in text


def test_the_exit_code_is_the_commands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as left:
        main(["launch", "--on", "local", "--", "python", "-c", "raise SystemExit(5)"])
    assert left.value.code == 5


COUNT = """
import pathlib, sys
seen = pathlib.Path("seen")
with seen.open("a") as file:
    file.write("x")
codes = [int(code) for code in sys.argv[1:]]
sys.exit(codes[len(seen.read_text()) - 1])
"""


@pytest.mark.parametrize(
    ("codes", "tries", "ends", "starts"),
    [
        ([STALLED, 1, 0], "2", 0, 3),  # a run that hung starts again like one that failed
        ([STALLED, 1, 0], "1", 1, 2),
        ([STALLED], "0", STALLED, 1),
        ([2], "-1", 2, 1),  # the user has to change something
        ([STOPPED], "-1", STOPPED, 1),
    ],
)
def test_here_a_failed_run_starts_again_where_asked(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    codes: list[int],
    tries: str,
    ends: int,
    starts: int,
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["python", "-c", COUNT, *map(str, codes)]
    with pytest.raises(SystemExit) as left:
        main(["launch", "--on", "local", "--max-retry", tries, "--", *words])
    assert left.value.code == ends
    assert len((tmp_path / "seen").read_text()) == starts


SAVES = """
import os, pathlib, signal, sys, time
def stop(*_):
    sys.exit(124)
signal.signal(signal.SIGUSR1, stop)
pathlib.Path(f"ready-{os.environ['RANK']}").touch()
time.sleep(60)
"""


@pytest.mark.slow
def test_torchruns_processes_save_when_the_launcher_is_told_to_stop(tmp_path: Path) -> None:
    (tmp_path / "saves.py").write_text(SAVES)
    words = ["--on", "local", "--gpus-per-node", "2", "--", "python", "saves.py"]
    process = subprocess.Popen(
        [sys.executable, "-m", "hocket", "launch", *words],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2] / "src")},
    )
    try:
        until = time.monotonic() + 60
        while len(list(tmp_path.glob("ready-*"))) < 2:
            assert time.monotonic() < until and process.poll() is None
            time.sleep(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == STOPPED
    finally:
        process.kill()

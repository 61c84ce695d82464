"""A job file for sbatch: one process a GPU, told in time to save, started again until it is done.

The processes get their signals from SLURM itself; no torchrun stands between. A run that was told
to stop and has saved ends with `STOPPED` and is queued again without counting as a failure. One
that hung (`STALLED`) is queued again as one that failed: what hangs once may hang each time. What
the user has to change (`REFUSED`) is not tried again, and what SLURM itself ends (SIGTERM: scancel,
preemption) only by SLURM: a cancelled job must not come back.

SLURM ends all processes as soon as one of them fails, and then knows the codes of those it ended.
So each process notes its own code where none is noted yet, and one that has saved is no failure.
Source of folder and variable names: vila-run of VILA and NVILA.
"""

from __future__ import annotations

import shlex
import shutil
import subprocess
from pathlib import Path

from hocket._errors import MachineError
from hocket.launch.job import REFUSED, STALLED, STOPPED, Job, python_of, write_time

# A signal ends a wait before what is waited for has ended.
_WAIT = """told=1
while [ "$told" -eq 1 ]; do
  told=0
  wait "${}"
  code=$?
done"""


def job_file(job: Job) -> str:
    """Return the text of a job file."""
    return "\n".join(["#!/bin/bash", *_directives(job), "", _body(job)])


def submit(job: Job) -> tuple[Path, str]:
    """Write the job file into the output folder and hand it to sbatch.

    Returns:
        The file and the job's id.

    Raises:
        MachineError: there is no sbatch, or it refuses the job.
    """
    if shutil.which("sbatch") is None:
        raise MachineError("there is no sbatch here. Use --on local, or log in to the cluster.")
    folder = job.out / "slurm"
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "job.sbatch"
    file.write_text(job_file(job), encoding="utf-8")
    done = subprocess.run(
        ["sbatch", "--parsable", str(file)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise MachineError(f"sbatch refused the job (code {done.returncode}): {reason}")
    return file, done.stdout.strip().partition(";")[0]


def _directives(job: Job) -> list[str]:
    options = {
        "job-name": f"{job.account}:{job.mode}/{job.name}" if job.account else job.name,
        "account": job.account,
        "partition": job.partition,
        "nodes": str(job.nodes),
        "ntasks-per-node": str(job.processes_per_node),
        "gpus-per-node": str(job.gpus_per_node) if job.gpus_per_node else "",
        "time": write_time(job.limit_seconds),
        "signal": f"B:USR1@{job.warning_seconds}",
        "output": f"{job.out}/slurm/%j.out",
        "error": f"{job.out}/slurm/%j.err",
        "open-mode": "append",
        "dependency": "singleton" if job.singleton else "",
        "mail-type": "BEGIN,END,FAIL" if job.email else "",
        "mail-user": job.email,
    }
    lines = [f"#SBATCH --{key}={value}" for key, value in options.items() if value]
    return [*lines, "#SBATCH --exclusive", "#SBATCH --requeue"]


def _body(job: Job) -> str:
    """Return the commands: variables, the processes, and what their exit code leads to."""
    first = shlex.quote(f"{job.out}/slurm/code")
    return f"""export RUN_NAME={shlex.quote(job.name)} OUTPUT_DIR={shlex.quote(str(job.out))}
MASTER_ADDR=$(scontrol show hostnames "$SLURM_JOB_NODELIST" | head -n 1)
export MASTER_ADDR MASTER_PORT={job.port}
retries={shlex.quote(str(job.out))}/slurm/retries
rm -f {first}

ended=""
tell() {{ told=1; kill -USR1 "$processes"; }}
trap tell USR1
trap 'ended=1; tell' TERM
srun --kill-on-bad-exit=1 \\
  --output={shlex.quote(str(job.out))}/slurm/%j-%t.out \\
  --error={shlex.quote(str(job.out))}/slurm/%j-%t.err \\
  --open-mode=append bash -c {shlex.quote(_process(job, first))} &
processes=$!
{_WAIT.format("processes")}
[ -s {first} ] && code=$(cat {first})
scontrol show job "$SLURM_JOB_ID" | grep -q JobState=CANCELLED && ended=1

if [ "$code" -eq 0 ]; then
  rm -f "$retries"
elif [ -n "$ended" ]; then
  echo "cancelled or taken away by SLURM, which queues it again if that is its way"
elif [ "$code" -eq {STOPPED} ]; then
  rm -f "$retries"
  echo "saved and stopped; queued again" && scontrol requeue "$SLURM_JOB_ID"
elif [ "$code" -eq {REFUSED} ]; then
  echo "ended with code $code, for you to change something; not tried again"
else
  failed=$(( $(cat "$retries" 2>/dev/null || echo 0) + 1 ))
  echo "$failed" >"$retries"
  why=""
  [ "$code" -eq {STALLED} ] && why=" (no step finished in time, see stalled.*.txt)"
  if [ {job.max_retries} -lt 0 ] || [ "$failed" -le {job.max_retries} ]; then
    echo "failed with code $code$why; try $failed of {job.max_retries}" && \\
      scontrol requeue "$SLURM_JOB_ID"
  fi
fi
exit "$code"
"""


def _process(job: Job, first: str) -> str:
    """Return what each process runs; its variables are known only where it runs.

    Args:
        job: the job.
        first: file for the code of the first one that fails or has saved.
    """
    return f"""export RANK=$SLURM_PROCID LOCAL_RANK=$SLURM_LOCALID WORLD_SIZE=$SLURM_NTASKS
{shlex.join(python_of(job.command))} &
process=$!
trap "told=1; kill -USR1 $process" USR1
trap "told=1; kill -TERM $process" TERM
{_WAIT.format("process")}
[ "$code" -ne 0 ] && (set -C; echo "$code" >{first}) 2>/dev/null
[ "$code" -eq {STOPPED} ] && exit 0
exit "$code"
"""

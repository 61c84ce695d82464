"""Every environment variable hocket reads, as typed functions.

The only file that touches ``os.environ``. Each function reads at the time of the call, so a value
set before a command starts is seen, and a test may change it. It must not know any other part of
hocket but the errors.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from hocket._errors import ConfigError

_TRUE = frozenset({"1", "true", "yes", "on"})


def no_color() -> bool:
    """Return whether the user asked for output without colour: ``NO_COLOR`` is not empty."""
    return bool(os.environ.get("NO_COLOR"))


def offline() -> bool:
    """Return whether hubs must not be asked: ``HOCKET_OFFLINE`` or Hugging Face's two variables."""
    names = ("HOCKET_OFFLINE", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE")
    return any(os.environ.get(name, "").strip().lower() in _TRUE for name in names)


def model_folders() -> tuple[Path, ...]:
    """Return the folders where checkpoints are looked for: ``HOCKET_MODELS``, like ``PATH``."""
    names = os.environ.get("HOCKET_MODELS", "").split(os.pathsep)
    return tuple(Path(name).expanduser() for name in names if name)


def cache_dir() -> Path:
    """Return the folder for data that can be made again; it may not exist yet.

    ``HOCKET_CACHE``, else ``hocket`` under ``XDG_CACHE_HOME``, else ``~/.cache/hocket``.
    """
    own = os.environ.get("HOCKET_CACHE")
    if own:
        return Path(own).expanduser()
    shared = os.environ.get("XDG_CACHE_HOME")
    return (Path(shared) if shared else Path.home() / ".cache") / "hocket"


def num_threads() -> int | None:
    """Return the number of compute threads in ``HOCKET_THREADS``, or None when it is not set.

    Raises:
        ConfigError: the value is not a whole number of at least 1.
    """
    return _whole_number("HOCKET_THREADS", least=1)


def allocator_is_set() -> bool:
    """Return whether a variable of glibc says how memory is taken and given back."""
    own = ("MMAP_THRESHOLD_", "MMAP_MAX_", "TRIM_THRESHOLD_", "TOP_PAD_")
    return any(name in os.environ for name in ("GLIBC_TUNABLES", *(f"MALLOC_{one}" for one in own)))


def accelerate_precision() -> str:
    """Return accelerate's own number format, ``ACCELERATE_MIXED_PRECISION``; empty when not set."""
    return os.environ.get("ACCELERATE_MIXED_PRECISION", "").strip().lower()


def llama_server() -> str | None:
    """Return the path of llama.cpp's server in ``HOCKET_LLAMA_SERVER``, or None when not set."""
    return os.environ.get("HOCKET_LLAMA_SERVER") or None


def judge_key() -> str:
    """Return the key of a judge's server: ``HOCKET_JUDGE_KEY``, ``OPENAI_API_KEY``, or none."""
    return os.environ.get("HOCKET_JUDGE_KEY") or os.environ.get("OPENAI_API_KEY") or ""


def api_keys() -> str | None:
    """Return the keys of a server's clients in ``HOCKET_API_KEY``, or None when not set."""
    return os.environ.get("HOCKET_API_KEY") or None


def rank() -> int:
    """Return this process's number among all processes of the run: ``RANK``, else 0.

    Raises:
        ConfigError: the value is not a whole number of at least 0.
    """
    return _whole_number("RANK", least=0) or 0


def local_rank() -> int:
    """Return this process's number on its machine: ``LOCAL_RANK``, else 0.

    Raises:
        ConfigError: the value is not a whole number of at least 0.
    """
    return _whole_number("LOCAL_RANK", least=0) or 0


def world_size() -> int:
    """Return the number of processes of the run: ``WORLD_SIZE``, else 1.

    Raises:
        ConfigError: the value is not a whole number of at least 1.
    """
    return _whole_number("WORLD_SIZE", least=1) or 1


def wandb_mode() -> Literal["online", "offline", "disabled"]:
    """Return how Weights & Biases runs: ``WANDB_MODE``, else ``offline``.

    Raises:
        ConfigError: the value is none of the three.
    """
    match os.environ.get("WANDB_MODE", "").strip().lower():
        case "" | "offline":
            return "offline"
        case "online":
            return "online"
        case "disabled":
            return "disabled"
        case other:
            raise ConfigError(
                f"the environment variable WANDB_MODE is {other!r}. Set it to offline, online or "
                "disabled, or unset it."
            )


def slurm_job_id() -> str | None:
    """Return the id of the Slurm job this process is part of, or None outside Slurm."""
    return os.environ.get("SLURM_JOB_ID") or None


def slurm_is_off() -> bool:
    """Return whether ``NO_SLURM`` says that jobs are to run here."""
    return bool(os.environ.get("NO_SLURM"))


def slurm_account() -> str:
    """Return the account of jobs: ``VILA_SLURM_ACCOUNT``, else SLURM's own ``SBATCH_ACCOUNT``."""
    return os.environ.get("VILA_SLURM_ACCOUNT") or os.environ.get("SBATCH_ACCOUNT") or ""


def slurm_partition() -> str:
    """Return the partition of jobs: ``VILA_SLURM_PARTITION``, else ``SBATCH_PARTITION``."""
    return os.environ.get("VILA_SLURM_PARTITION") or os.environ.get("SBATCH_PARTITION") or ""


def machines() -> int | None:
    """Return how many machines share a run: ``NNODES``, ``n_node``, ``N_NODES``; None if not set.

    Raises:
        ConfigError: the value is not a whole number of at least 1.
    """
    return _first_number(("NNODES", "n_node", "N_NODES"), least=1)


def machine_number() -> int:
    """Return this machine's number among them: ``NODE_RANK`` or ``CURRENT_RANK``, else 0.

    Raises:
        ConfigError: the value is not a whole number of at least 0.
    """
    return _first_number(("NODE_RANK", "CURRENT_RANK"), least=0) or 0


def gpus_per_machine() -> int | None:
    """Return the GPUs of each machine: ``GPUS_PER_NODE`` or ``GPUS``, or None when not set.

    Raises:
        ConfigError: the value is not a whole number of at least 0.
    """
    return _first_number(("GPUS_PER_NODE", "GPUS"), least=0)


def first_machine() -> str:
    """Return the name of the machine that processes meet at: ``MASTER_ADDR``, else this one."""
    return os.environ.get("MASTER_ADDR") or "127.0.0.1"


def meeting_port() -> int | None:
    """Return the port that processes meet at: ``MASTER_PORT``, or None when it is not set.

    Raises:
        ConfigError: the value is not a whole number of at least 1.
    """
    return _whole_number("MASTER_PORT", least=1)


def for_child(extra: dict[str, str]) -> dict[str, str]:
    """Return this process's whole environment with some variables set, for a child."""
    return {**os.environ, **extra}


def _first_number(names: tuple[str, ...], *, least: int) -> int | None:
    found = (_whole_number(name, least=least) for name in names)
    return next((number for number in found if number is not None), None)


def _whole_number(name: str, *, least: int) -> int | None:
    text = os.environ.get(name, "").strip()
    if not text:
        return None
    if not text.isascii() or not text.isdigit() or int(text) < least:
        raise ConfigError(
            f"the environment variable {name} is {text!r}, but must be a whole number "
            f"of at least {least}. Set it to one, or unset it."
        )
    return int(text)

"""Every environment variable hocket reads, as typed functions.

The only file that touches ``os.environ``. Each function reads at the time of the call, so a value
set before a command starts is seen, and a test may change it. It must not know any other part of
hocket but the errors.
"""

from __future__ import annotations

import os
from pathlib import Path

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


def slurm_job_id() -> str | None:
    """Return the id of the Slurm job this process is part of, or None outside Slurm."""
    return os.environ.get("SLURM_JOB_ID") or None


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

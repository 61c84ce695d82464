"""What ``configs/launch.yaml`` of the current folder says about the cluster: defaults of launch."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import BaseModel, ConfigDict

from hocket._errors import ConfigError
from hocket.cli._compose import USER_FOLDER, read_file
from hocket.cli._validate import validate

FILE = Path(USER_FOLDER) / "launch.yaml"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """What holds for every job, unless an option or the environment says something else.

    Attributes:
        account: SLURM's account.
        partition: SLURM's partition.
        nodes: machines; 0 says nothing.
        gpus_per_node: GPUs of each machine; null says nothing.
        time: limit, as 48:00:00.
        email: who is told.
    """

    account: str = ""
    partition: str = ""
    nodes: int = 0
    gpus_per_node: int | None = None
    time: str = ""
    email: str = ""


class _Schema(BaseModel):
    model_config = ConfigDict(extra="forbid")

    launch: Cluster


def read_cluster() -> Cluster:
    """Return what the file says; nothing where there is none.

    Raises:
        ConfigError: the file cannot be read, or has a key or value that is wrong.
    """
    if not FILE.exists():
        return Cluster()
    tree = read_file(str(FILE), FILE)
    time = tree.get("time")
    if isinstance(time, int) and not isinstance(time, bool):
        # YAML 1.1 takes 48:00:00 for a number to the base 60.
        raise ConfigError(f"{FILE}: time is {time}. Put it in quotes, such as '48:00:00'.")
    try:
        return validate(_Schema, {"launch": tree}).launch
    except ConfigError as error:
        raise ConfigError(f"{FILE}: {error}") from error

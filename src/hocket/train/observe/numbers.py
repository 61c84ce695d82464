"""A line of the run's log as flat numbers by name, for writers and for the page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_PLAIN = ("loss", "grad_norm", "padding", "tokens", "targets", "dropped")
_MAPS = {
    "parts": "loss",
    "norms": "norm",
    "fill": "fill",
    "cuts": "cuts",
    "rewards": "rewards",
    "accuracy": "accuracy",
    "lr": "lr",
}


def numbers_of(line: Mapping[str, Any]) -> dict[str, float]:
    """Return a step's numbers, such as ``loss``, ``loss/source/captions`` or ``lr/connector``.

    Args:
        line: as `hocket.train.log.read_log` returns it; keys that an older run lacks are left out.
    """
    found = {name: float(line[name]) for name in _PLAIN if name in line}
    for key, prefix in _MAPS.items():
        found |= {f"{prefix}/{name}": float(value) for name, value in line.get(key, {}).items()}
    seconds, waited = float(line["step_seconds"]), float(line["data_seconds"])
    found["time/data_seconds"] = waited
    found["time/compute_seconds"] = seconds - waited
    if seconds > 0:
        found["time/tokens_per_second"] = float(line["tokens"]) / seconds
    for name, value in line.get("memory", {}).items():
        found[f"memory/{name}_gib"] = float(value) / 2**30
    return found

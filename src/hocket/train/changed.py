"""What a run's settings were when its folder was last written: told where that matters.

A run that goes on with another seed, rate or data set is neither the run of before nor a new one.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from hocket.train.retention import checkpoints_of

_SHOWN = 4
# They change how a run is watched, saved and computed, not what it learns.
_HARMLESS = frozenset(
    {
        *("only", "save_every", "keep", "workers", "cache_mb", "stop_after_minutes"),
        *("monitor_step", "log_every", "report_to", "dashboard", "previews", "watchdog_seconds"),
        *("eval_every", "eval_tasks", "eval_data", "eval_limit", "feature_cache"),
    }
)


def told_changes(out: Path, config_yaml: str) -> str:
    """Return in a sentence what is asked for now and was not when a folder was last written.

    Args:
        out: the run's folder.
        config_yaml: the resolved configuration of now.

    Returns:
        an empty text for a new folder, or where nothing differs that matters.
    """
    finished = out / "model" / "recipe.yaml"
    newest = next(iter(checkpoints_of(out / "checkpoints")), None)
    file = finished if finished.exists() or newest is None else newest / "recipe.yaml"
    try:
        before = _flat(yaml.safe_load(file.read_text(encoding="utf-8")))
    except (OSError, yaml.YAMLError):
        return ""
    now = _flat(yaml.safe_load(config_yaml))
    names = [key for key in {**before, **now} if before.get(key) != now.get(key)]
    if not names:
        return ""
    listed = ", ".join(f"{key} (was {before.get(key, 'not set')})" for key in names[:_SHOWN])
    others = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (
        f"other settings than those of {file}: {listed}{others}. What was trained before keeps to "
        "those; start into another folder with out=FOLDER for a run of the new ones."
    )


def _flat(tree: Any) -> dict[str, Any]:
    """Return the keys that change what is learned, with dots, and their values."""
    if not isinstance(tree, dict):
        return {}
    parts = {key: tree.get(key) for key in ("data", "model", "train")}
    train = parts["train"]
    if isinstance(train, dict):
        parts["train"] = {key: one for key, one in train.items() if key not in _HARMLESS}
    return dict(_leaves("", parts))


def _leaves(key: str, node: Any) -> Iterator[tuple[str, Any]]:
    if isinstance(node, Mapping) and node:
        for name, one in node.items():
            yield from _leaves(f"{key}.{name}" if key else str(name), one)
    elif node not in ({}, [], None, ""):
        yield key, node

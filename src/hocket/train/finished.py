"""Whether a run's folder holds all that its recipe asks for, or was finished with fewer steps."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from hocket._errors import ConfigError
from hocket.checkpoint.manifest import verify_directory
from hocket.train.recipe import Recipe
from hocket.train.retention import checkpoints_of


def is_finished(out: Path, recipe: Recipe, *, say: Callable[[str], None] | None = None) -> bool:
    """Return whether nothing is left to train.

    A finished run whose last stage is to be longer now, or that ended with an earlier stage, is
    not: it goes on from its last checkpoint.

    Args:
        out: the run's folder.
        recipe: what is asked for.
        say: called with a sentence where a finished run goes on.

    Raises:
        CheckpointError: the finished model is damaged.
        ConfigError: the recipe asks for more, but there is no checkpoint to go on from; or it asks
            for one stage alone and the run is behind it.
    """
    model = out / "model"
    if not (model / "config.json").exists():
        return False
    verify_directory(model, hashes=False)
    more = _asked_for_more(model / "provenance.json", recipe)
    if not more:
        return True
    if not checkpoints_of(out / "checkpoints"):
        raise ConfigError(
            f"{model} is finished {more}, and {out / 'checkpoints'} holds nothing to go on from.\n"
            f"Train on from its weights in a new folder: train.init_from={out} out=FOLDER."
        )
    if say:
        say(
            f"{model} was finished {more}: the run goes on from its last checkpoint, with the "
            "learning rates of what is asked for."
        )
    return False


def _asked_for_more(provenance: Path, recipe: Recipe) -> str:
    """Return in words how much more than the finished stage is asked for, or an empty text."""
    try:
        done = json.loads(provenance.read_text(encoding="utf-8"))
        name, steps, epochs = str(done["stage"]), int(done["step"]), float(done.get("epochs", 0))
    except (OSError, ValueError, KeyError, TypeError):
        return ""
    names = list(recipe.stages)
    last, stage = list(recipe.to_run().items())[-1]
    if name not in names:
        return ""
    if names.index(name) < names.index(last):
        return f"with stage {name!r}, and {last!r} is asked for"
    if name != last:
        raise ConfigError(
            f"{provenance.parent} is finished with stage {name!r}, behind {last!r}, which alone is "
            "to run. Start into another folder with out=FOLDER."
        )
    if stage.steps > steps:
        return f"with {steps:,} steps of stage {name!r}, and {stage.steps:,} are asked for"
    if not stage.steps and stage.epochs > epochs > 0:
        return f"with {epochs:g} epochs of stage {name!r}, and {stage.epochs:g} are asked for"
    return ""

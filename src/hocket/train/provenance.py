"""Where the weights of a checkpoint came from: what ``provenance.json`` says of a run."""

from __future__ import annotations

import time
from typing import Any

import torch

from hocket.data.spec import DataSpec
from hocket.train.precision import computed_in
from hocket.train.recipe import Recipe
from hocket.train.state import TrainState


def provenance_of(recipe: Recipe, data: DataSpec, state: TrainState) -> dict[str, Any]:
    """Return the stage, the step and the data that made the weights.

    Args:
        recipe: of the run.
        data: its data sets.
        state: the run behind its last step.
    """
    return {
        "stage": state.stage,
        "step": state.step,
        "tokens_seen": state.tokens_seen,
        "seconds": round(state.seconds, 1),
        "epochs": recipe.stages[state.stage].epochs,
        "init_from": recipe.init_from,
        "compute_dtype": computed_in(recipe),
        "datasets": {name: spec.path for name, spec in data.datasets.items()},
        "torch": torch.__version__,
        "written": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }

"""Where a run goes on: the newest checkpoint that is whole, loaded into the model."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

import torch
from safetensors.torch import load_file

from hocket._errors import CheckpointError, ConfigError, TrainingError
from hocket._log import warn
from hocket.checkpoint.adapters import FOLDER, WEIGHTS, read_adapters
from hocket.checkpoint.directory import Loaded, load_checkpoint
from hocket.checkpoint.manifest import verify_directory
from hocket.model.adapters.attach import base_state, merge
from hocket.model.modeling import HocketForConditionalGeneration
from hocket.tokens.processor import HocketProcessor
from hocket.train.fingerprints import same_towers
from hocket.train.recipe import Recipe
from hocket.train.retention import checkpoints_of, clear_leftovers
from hocket.train.state import TrainState, read_heads, read_optimizer, read_state


def resume(
    checkpoints: Path,
    names: Sequence[str],
    model: HocketForConditionalGeneration,
    processor: HocketProcessor,
    *,
    towers: Mapping[str, str] | None = None,
    compute_dtype: str = "",
) -> tuple[TrainState, Path | None]:
    """Load the newest whole checkpoint into the model; a damaged one is skipped with a line.

    Args:
        checkpoints: the run's folder of checkpoints.
        names: the recipe's stages in order.
        model: changed in place; its own adapters are merged.
        processor: its processor.
        towers: tower -> hash of the weights that the model has; one that a checkpoint has too is
            left as it is, unread.
        compute_dtype: number format that the run computes in; empty compares none.

    Returns:
        where the run stands, and the checkpoint; the start and None where there is none.

    Raises:
        CheckpointError: the checkpoint is of another recipe or model.
        ConfigError: the recipe has no stages.
    """
    if not names:
        raise ConfigError("train.stages is empty: a run needs at least one stage.")
    clear_leftovers(checkpoints)
    for folder in checkpoints_of(checkpoints):
        try:
            verify_directory(folder)
            state = read_state(folder)
            loaded = load_checkpoint(folder, adapters=False)
        except CheckpointError as error:
            warn(f"checkpoint skipped: {error}")
            continue
        if state.stage not in names:
            raise CheckpointError(
                f"{folder} belongs to stage {state.stage!r}, but the recipe has "
                f"{', '.join(names)}. Start into another folder with out=FOLDER."
            )
        _check_format(folder, compute_dtype)
        if model.adapters:
            # Those of the starting point: the checkpoint says which there are by now.
            merge(model, model.adapters, list(model.adapters))
        _check_same(folder, loaded, model, processor)
        _take(loaded.model, model, but=same_towers(folder, towers or {}))
        return state, folder
    return TrainState(names[0]), None


def begin_alone(
    recipe: Recipe,
    state: TrainState,
    at: Path | None,
    model: HocketForConditionalGeneration,
    *,
    say: Callable[[str], None] | None = None,
) -> tuple[TrainState, Path | None]:
    """Return where the one stage that is to run goes on: in itself, behind an earlier one, or new.

    Args:
        recipe: whose `only` names it; the arguments are returned as they are where it is empty.
        state: where the run stands, as of `resume`.
        at: its checkpoint, loaded into the model.
        model: gets the adapters of an earlier stage's checkpoint.
        say: called with a sentence where the stage starts from such a checkpoint.

    Raises:
        CheckpointError: the run is behind that stage already.
    """
    names, only = list(recipe.stages), recipe.only
    if not only or (at is not None and state.stage == only):
        return state, at
    if at is None:
        return TrainState(only), None
    if names.index(state.stage) > names.index(only):
        raise CheckpointError(
            f"{at} belongs to stage {state.stage!r}, behind {only!r}, which alone is to run. "
            "Start into another folder with out=FOLDER."
        )
    read_adapters(at, model)
    if say:
        say(f"stage {only!r} starts from {at}, step {state.step:,} of stage {state.stage!r}.")
    return TrainState(only, tokens_seen=state.tokens_seen, seconds=state.seconds), None


def _check_format(folder: Path, wanted: str) -> None:
    """Compare the number format that a checkpoint was computed in with the run's.

    Raises:
        CheckpointError: it is another.
    """
    try:
        found = json.loads((folder / "provenance.json").read_text("utf-8")).get("compute_dtype")
    except FileNotFoundError:
        return
    if wanted and found and found != wanted:
        raise CheckpointError(
            f"{folder} was computed in {found}, and train.compute_dtype or fsdp.compute_dtype now "
            f"says {wanted}. Set it back, or start into another folder with out=FOLDER."
        )


def _take(
    loaded: HocketForConditionalGeneration,
    model: HocketForConditionalGeneration,
    *,
    but: Collection[str],
) -> None:
    """Copy the weights of one model into another of the same shapes, all but some towers."""
    left = tuple(f"model.{name}." for name in but)
    state = loaded.state_dict()
    model.load_state_dict(
        {name: value for name, value in state.items() if not name.startswith(left)},
        strict=not left,  # The names have been compared.
    )


def _check_same(
    folder: Path,
    loaded: Loaded,
    model: HocketForConditionalGeneration,
    processor: HocketProcessor,
) -> None:
    """Compare what a checkpoint holds with what the config and the data make now.

    Raises:
        CheckpointError: the model, the layouts or the tokenizer are others.
    """
    # A token of another number would go on unseen: the sizes may well be the same.
    vocabularies = [one.tokenizer.get_vocab() for one in (loaded.processor, processor)]
    shapes = [
        {name: value.shape for name, value in one.state_dict().items()}
        for one in (loaded.model, model)
    ]
    found = {
        "tokenizer": vocabularies[0] != vocabularies[1],
        "layouts": loaded.processor.to_dict() != processor.to_dict(),
        "model": shapes[0] != shapes[1],
    }
    for name, differs in found.items():
        if differs:
            raise CheckpointError(
                f"{folder}: its {name} differs from what the config and the data make now. "
                "Undo the change, or start into another folder with out=FOLDER."
            )


def roll_back(
    checkpoints: Path,
    stage: str,
    model: HocketForConditionalGeneration,
    optimizer: torch.optim.Optimizer,
) -> TrainState:
    """Put the weights and the optimizer of the newest whole checkpoint of a stage back.

    Args:
        checkpoints: the run's folder of checkpoints.
        stage: the stage that trains.
        model: the model as the stage has made it, adapters and all; changed in place.
        optimizer: its optimizer.

    Returns:
        where the checkpoint stands.

    Raises:
        TrainingError: the stage has none yet.
    """
    for folder in checkpoints_of(checkpoints):
        try:
            verify_directory(folder)
            state = read_state(folder)
        except CheckpointError as error:
            warn(f"checkpoint skipped: {error}")
            continue
        if state.stage != stage:
            break
        loaded = load_checkpoint(folder, adapters=False).model.state_dict()
        live = model.state_dict()
        with torch.no_grad():
            for name, value in base_state(model, model.adapters, state=live).items():
                value.copy_(loaded[name])
            for name, one in model.adapters.items():
                tensors = load_file(folder / FOLDER / name / WEIGHTS)
                for key, where in one.tensors.items():
                    live[where].copy_(tensors[key])
        read_heads(folder, model)
        optimizer.state.clear()
        read_optimizer(folder, optimizer)
        return state
    raise TrainingError(
        f"stage {stage!r} has no checkpoint to roll back to yet. Save more often with "
        "train.save_every, or lower its lr."
    )

"""Whether every stage of a run can start, told before the first one does.

A name that is wrong in the last stage must not end a run that has trained for days.
"""

from __future__ import annotations

from collections.abc import Mapping

from hocket._env import world_size
from hocket._errors import ConfigError, DataError, TrainingError, UnknownNameError
from hocket.data.chosen import ChosenRows
from hocket.data.loader import StepShape
from hocket.data.mixture import open_source
from hocket.data.sources import Source
from hocket.data.spec import DataSpec
from hocket.model.adapters import Attached
from hocket.model.adapters.attach import base_name, check_fits, rehearse
from hocket.model.adapters.nf4 import check_format
from hocket.model.modeling import HocketForConditionalGeneration
from hocket.tokens.processor import HocketProcessor
from hocket.train.adapt import check_same
from hocket.train.grammar import groups_of
from hocket.train.objective import Objective, loss_options
from hocket.train.preference import check_preference
from hocket.train.recipe import Recipe, Stage
from hocket.train.trainable import assign


def check_stages(
    recipe: Recipe,
    data: DataSpec,
    model: HocketForConditionalGeneration,
    processor: HocketProcessor,
) -> None:
    """Check what each stage of a run names: parameters, adapters, losses and data.

    Args:
        recipe: the run.
        data: its data sets.
        model: as the first stage finds it.
        processor: its processor.

    Raises:
        ConfigError: a stage names what is not there; the message names the stage.
        DataError: a data set of a later stage cannot be opened.
        TrainingError: the rows of a stage cannot be shared out.
    """
    if not all(0 <= one < 1 for one in recipe.betas):
        raise ConfigError(
            f"train.betas is {list(recipe.betas)}, expected two numbers from 0 to below 1, such as "
            "[0.9, 0.98]."
        )
    stages = list(recipe.to_run().items())
    adapters: Mapping[str, Attached] = model.adapters
    for number, (name, stage) in enumerate(stages):
        try:
            _check_rows(stage, recipe)
            _check_groups(stage, model)
            adapters = _check_adapters(stage, model, adapters)
            for _, later in stages[number + 1 : number + 2]:
                _check_merging(adapters, later, model)
            _check_loss(stage, processor)
            # The first one opens its own in a moment.
            _check_data(stage, data, opened=number > 0)
        except ConfigError as error:
            raise ConfigError(f"stage {name!r}: {error}") from error
        except DataError as error:
            raise DataError(f"stage {name!r}: {error}") from error
        except TrainingError as error:
            raise TrainingError(f"stage {name!r}: {error}") from error


def _check_rows(stage: Stage, recipe: Recipe) -> None:
    processes = max(world_size() // recipe.sequence_parallel.degree, 1)
    StepShape(
        rows=stage.rows,
        tokens_per_row=stage.tokens_per_row,
        accumulate=stage.accumulate,
        world=processes,
    )


def _check_groups(stage: Stage, model: HocketForConditionalGeneration) -> None:
    groups = groups_of(stage, model)
    assign(groups, [base_name(name) for name, _ in model.named_parameters()])
    if not (groups or stage.adapters or stage.loss.heads):
        raise ConfigError("nothing trains. Give the stage a trainable group or an adapter.")


def _check_adapters(
    stage: Stage, model: HocketForConditionalGeneration, before: Mapping[str, Attached]
) -> dict[str, Attached]:
    """Return the adapters that a model has in a stage, given those of the stage before."""
    found = {name: one for name, one in before.items() if name in stage.adapters}
    for name, spec in stage.adapters.items():
        check_format(name, spec)
        if name in before:
            check_same(name, spec, before[name].spec)
        else:
            found[name] = check_fits(model, name, spec, found)
    return found


def _check_merging(
    adapters: Mapping[str, Attached], later: Stage, model: HocketForConditionalGeneration
) -> None:
    for name, one in adapters.items():
        if name not in later.adapters:
            try:
                rehearse(model, name, one, merged=True)
            except ConfigError as error:
                raise ConfigError(
                    f"adapter {name!r} ({one.spec.kind}) cannot be merged, as the next stage "
                    "needs, which lacks it. Name it there as well, or choose another method."
                ) from error


def _check_loss(stage: Stage, processor: HocketProcessor) -> None:
    loss_options(stage.loss, processor.tokenizer)
    if stage.preference is None:
        Objective(stage, stage.data, processor.tokenizer)
    else:
        check_preference(stage.preference, stage.loss)


def _check_data(stage: Stage, data: DataSpec, *, opened: bool) -> None:
    for name in stage.data:
        if name not in data.datasets:
            raise UnknownNameError("data set", name, data.datasets)
        if opened:
            rows = open_source(name, data.datasets[name], quarantine=data.quarantine)
            if stage.preference is not None:
                _check_pairs(name, rows)


def _check_pairs(name: str, rows: Source | ChosenRows) -> None:
    """Look at the first row of a data set of preferences; what cannot be read is told later."""
    try:
        known = len(rows) == 0 or "rejected" in rows[0].meta
    except DataError:
        return
    if not known:
        raise ConfigError(
            f"it learns preferences, but the first row of {name!r} has no rejected answer. Read "
            "the data with reader: dpo, or leave 'preference' out."
        )

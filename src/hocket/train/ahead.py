"""Whether every stage of a run can start, told before the first one does.

A name that is wrong in the last stage must not end a run that has trained for days.
"""

from __future__ import annotations

from hocket._errors import ConfigError, DataError, UnknownNameError
from hocket.data.mixture import open_source
from hocket.data.spec import DataSpec
from hocket.model.adapters.attach import base_name, check_fits
from hocket.model.adapters.nf4 import check_format
from hocket.model.modeling import HocketForConditionalGeneration
from hocket.tokens.processor import HocketProcessor
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
    """
    for number, (name, stage) in enumerate(recipe.to_run().items()):
        try:
            _check_model(stage, model)
            _check_loss(stage, processor)
            # The first one opens its own in a moment.
            _check_data(stage, data, opened=number > 0)
        except ConfigError as error:
            raise ConfigError(f"stage {name!r}: {error}") from error
        except DataError as error:
            raise DataError(f"stage {name!r}: {error}") from error


def _check_model(stage: Stage, model: HocketForConditionalGeneration) -> None:
    groups = groups_of(stage, model)
    assign(groups, [base_name(name) for name, _ in model.named_parameters()])
    if not (groups or stage.adapters or stage.loss.heads):
        raise ConfigError("nothing trains. Give the stage a trainable group or an adapter.")
    for adapter, spec in stage.adapters.items():
        check_format(adapter, spec)
        if adapter not in model.adapters:
            check_fits(model, adapter, spec)


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
            open_source(name, data.datasets[name], quarantine=data.quarantine)

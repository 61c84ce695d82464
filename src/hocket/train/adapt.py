"""The adapters of a stage: added when it begins, merged when a stage begins that lacks them."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

from hocket._errors import ConfigError
from hocket._log import warn
from hocket.checkpoint.adapters import FOLDER, read_adapters, write_adapter
from hocket.checkpoint.manifest import write_directory
from hocket.data.seed import generator
from hocket.model.adapters import AdapterSpec
from hocket.model.adapters.attach import attach, merge, tuner_layers
from hocket.model.adapters.kinds import is_residual
from hocket.model.adapters.nf4 import check_format, pack, unpack
from hocket.model.modeling import HocketForConditionalGeneration
from hocket.train.recipe import Group, Stage


def adapt(
    model: HocketForConditionalGeneration, name: str, stage: Stage, *, seed: int, at: Path | None
) -> dict[str, tuple[Group, tuple[str, ...]]]:
    """Give the model the adapters that a stage trains, and no other.

    Args:
        model: changed in place.
        name: the stage's name.
        stage: its settings.
        seed: seed of the run.
        at: checkpoint of this stage whose adapters are read; None starts the stage.

    Returns:
        adapter -> its learning rate and the names of its parameters.

    Raises:
        CheckpointError: the checkpoint's adapters are damaged.
        ConfigError: an adapter does not fit the model, or one cannot be merged.
    """
    if at is not None:
        read_adapters(at, model)
    finished = [one for one in model.adapters if one not in stage.adapters]
    if finished:
        merge(model, model.adapters, finished)
    for adapter, spec in stage.adapters.items():
        check_format(adapter, spec)
        if adapter in model.adapters:
            check_same(adapter, spec, model.adapters[adapter].spec)
        else:
            draw = generator(seed, "adapter", name, adapter)
            torch.manual_seed(int(draw.integers(2**63)))
            plain = AdapterSpec(
                part=spec.part,
                kind=spec.kind,
                targets=spec.targets,
                options=spec.options,
                quantise=spec.quantise,
            )
            attach(model, model.adapters, adapter, plain, fresh=True)
    return {
        adapter: (
            Group(match=f"adapter {adapter}", lr=spec.lr, weight_decay=spec.weight_decay),
            model.adapters[adapter].trainable,
        )
        for adapter, spec in stage.adapters.items()
    }


def check_same(name: str, spec: AdapterSpec, begun: AdapterSpec) -> None:
    """Check that what a stage says of an adapter that is there already is true of it.

    Targets and options that it leaves out are those that the adapter began with, as is all of one
    that peft wrote.

    Raises:
        ConfigError: it says something else.
    """
    if not begun.part:
        return
    said: dict[str, object] = {"part": spec.part, "kind": spec.kind, **spec.options}
    was: dict[str, object] = {"part": begun.part, "kind": begun.kind, **begun.options}
    if spec.targets:
        said["targets"], was["targets"] = sorted(spec.targets), sorted(begun.targets)
    for key, value in said.items():
        if was.get(key) != value:
            raise ConfigError(
                f"adapter {name!r}: {key} is {value}, but the adapter of that name, which this "
                f"stage goes on with, began with {was.get(key, 'none')}. Say the same, or give the "
                "new one another name: the old one is merged then."
            )


def pack_weights(model: HocketForConditionalGeneration, stage: Stage) -> None:
    """Keep the weights under the adapters of a stage in the number format that they ask for.

    What trains must have been chosen: those weights cannot be kept in four bits.

    Raises:
        ConfigError: a layer of an adapter cannot be kept so.
    """
    asked = [name for name, spec in stage.adapters.items() if spec.quantise]
    packed = {layer for name in asked for layer in model.adapters[name].layers}
    for path, layer in tuner_layers(model):
        if path not in packed:
            unpack(layer)
    for name in asked:
        pack(model, name, model.adapters[name].layers)


def finish_adapters(model: HocketForConditionalGeneration, out: Path) -> None:
    """Write each adapter into ``adapters/`` of the run, then merge them all into the weights.

    One whose method took something from the weights is no use without them, and is not written;
    one whose method cannot be merged stays beside the weights.
    """
    for name, one in model.adapters.items():
        if not is_residual(one.spec.kind, one.spec.options):
            write_directory(out / FOLDER / name, partial(write_adapter, model=model, one=one))
    for name in list(model.adapters):
        try:
            merge(model, model.adapters, [name])
        except ConfigError as error:
            warn(f"{error} It is kept beside the weights.")

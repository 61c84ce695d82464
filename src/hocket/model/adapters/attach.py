"""Adapters come and go: attached to layers of one part, switched, merged into the weights.

Targets are always looked for inside one named part, so that no pattern reaches a tower by accident.
"""

from __future__ import annotations

import copy
import fnmatch
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace

import torch
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn

from hocket._errors import ConfigError, UnknownNameError
from hocket.model.adapters import AdapterSpec, Attached
from hocket.model.adapters.kinds import ADDED, check_kind, family, inject, is_residual
from hocket.model.adapters.nf4 import unpack
from hocket.model.heads import HEADS
from hocket.model.names import PARTS

IN_PEFT = "base_model.model."
_WRAPPED = ".base_layer."


def attach(
    model: nn.Module,
    attached: dict[str, Attached],
    name: str,
    spec: AdapterSpec,
    *,
    fresh: bool,
    layers: Sequence[str] = (),
) -> Attached:
    """Add an adapter to the layers of a part and switch it on beside those that are there.

    Args:
        model: the composite.
        attached: its adapters by name; the new one is added.
        name: the new adapter's name.
        spec: what it is.
        fresh: initialise as the method says, which for some changes the layers' own weights;
            otherwise the tensors are about to be read from a file.
        layers: names of the layers, where a file says them; empty looks for the spec's targets.

    Raises:
        ConfigError: the name is taken, the model has no such part, a pattern matches no layer, a
            layer has an adapter of another method, or an option is wrong.
        UnknownNameError: there is no such part or method.
    """
    if name in attached:
        raise ConfigError(f"adapter {name!r}: the name is taken. Choose another.")
    _check_name(name)
    targets = tuple(layers) or _targets(model, name, spec)
    _refuse_other_kind(attached, name, spec, targets)
    before = {base_name(key) for key in model.state_dict()}
    flags = {key: value.requires_grad for key, value in model.named_parameters()}
    config = inject(model, name, kind=spec.kind, targets=targets, options=spec.options, fresh=fresh)
    live = {key for key in model.state_dict() if base_name(key) not in before}
    trains = tuple(
        key for key, value in model.named_parameters() if key in live and value.requires_grad
    )
    for key, value in model.named_parameters():
        # peft freezes everything that is not its own.
        value.requires_grad_(flags.get(base_name(key), flags.get(key, value.requires_grad)))
    new = Attached(
        spec=spec,
        config=config,
        layers=targets,
        tensors={_file_name(key, name, config): key for key in sorted(live)},
        trainable=trains,
    )
    attached[name] = new
    activate(model, attached, list(attached))
    return new


def check_fits(
    model: nn.Module, name: str, spec: AdapterSpec, beside: Mapping[str, Attached]
) -> Attached:
    """Check, without a change, that an adapter could be added to a model.

    Args:
        model: the composite.
        name: the adapter's name.
        spec: what it is.
        beside: adapters that the model would have by then.

    Returns:
        the adapter as far as it is known: what it is and its layers.

    Raises:
        ConfigError: there is no such layer or option, an option's value is wrong, a layer has an
            adapter of another method, or the name cannot be one.
        UnknownNameError: there is no such part or method.
    """
    _check_name(name)
    targets = _targets(model, name, spec)
    check_kind(name, spec.kind, spec.options, targets=targets)
    _refuse_other_kind(beside, name, spec, targets)
    config: dict[str, object] = {"peft_type": family(spec.kind)}
    planned = Attached(spec=spec, config=config, layers=targets, tensors={}, trainable=())
    rehearse(model, name, planned)
    return planned


def rehearse(model: nn.Module, name: str, planned: Attached, *, merged: bool = False) -> None:
    """Add an adapter to a copy of its smallest layer, to see whether it can be.

    Args:
        model: the composite, which is not changed.
        name: the adapter's name.
        planned: what it is and its layers.
        merged: merge it into the copy as well.

    Raises:
        ConfigError: an option's value is wrong, or the method cannot be merged.
    """
    found = [model.get_submodule(path) for path in planned.layers]
    plain = [layer for layer in found if not isinstance(layer, BaseTunerLayer)]
    if not plain:
        return
    smallest = min(plain, key=lambda layer: sum(value.numel() for value in layer.parameters()))
    copied = nn.ModuleDict({"layer": copy.deepcopy(smallest)})
    options = dict(planned.spec.options)
    if is_residual(planned.spec.kind, options):
        options["init_lora_weights"] = True  # to decompose a layer takes long
    spec = replace(planned.spec, options=options)
    attached: dict[str, Attached] = {}
    with torch.random.fork_rng(devices=[]):
        attach(copied, attached, name, spec, fresh=True, layers=("layer",))
    if merged:
        merge(copied, attached, [name])


def _check_name(name: str) -> None:
    if not name.isidentifier():
        raise ConfigError(
            f"adapter {name!r}: the name is not made of letters, digits and _. Choose another."
        )


def activate(model: nn.Module, attached: Mapping[str, Attached], names: Sequence[str]) -> None:
    """Switch the named adapters on and all others off.

    Raises:
        UnknownNameError: no adapter has the name.
    """
    for name in names:
        if name not in attached:
            raise UnknownNameError("adapter", name, attached)
    flags = {key: value.requires_grad for key, value in model.named_parameters()}
    for path, layer in tuner_layers(model):
        layer.enable_adapters(True)
        layer.set_adapter([name for name in names if path in attached[name].layers])
    _restore(model, flags)


@contextmanager
def without_adapters(model: nn.Module) -> Iterator[None]:
    """Let the model answer as if it had no adapters, such as the reference of DPO."""
    flags = {key: value.requires_grad for key, value in model.named_parameters()}
    layers = [layer for _, layer in tuner_layers(model)]
    try:
        for layer in layers:
            layer.enable_adapters(False)
        yield
    finally:
        for layer in layers:
            layer.enable_adapters(True)
        _restore(model, flags)


def merge(model: nn.Module, attached: dict[str, Attached], names: Sequence[str]) -> None:
    """Add adapters to the weights of their layers for good, and take them out of the model.

    Raises:
        ConfigError: the method cannot be merged.
        UnknownNameError: no adapter has the name.
    """
    activate(model, attached, names)
    for path, layer in list(tuner_layers(model)):
        here = [name for name in names if path in attached[name].layers]
        if not here:
            continue
        unpack(layer)
        try:
            layer.merge(safe_merge=True, adapter_names=here)
        except (ValueError, NotImplementedError) as error:
            raise ConfigError(
                f"adapter {here[0]!r} ({attached[here[0]].spec.kind}) cannot be merged into "
                f"{path}: {str(error).partition(chr(10))[0].rstrip('.')}."
            ) from error
        if any(path in other.layers for name, other in attached.items() if name not in here):
            for name in here:
                layer.merged_adapters.remove(name)
                layer.delete_adapter(name)
        else:
            model.set_submodule(path, layer.get_base_layer())
    for name in names:
        del attached[name]
    activate(model, attached, list(attached))


def subtract(model: nn.Module, attached: dict[str, Attached], name: str) -> None:
    """Take an adapter that was merged out of the weights again, and out of the model.

    Raises:
        ConfigError: the method changes weights otherwise than by adding to them.
    """
    kind, options = attached[name].spec.kind, attached[name].spec.options
    if kind not in ADDED or is_residual(kind, options):
        raise ConfigError(
            f"adapter {name!r}: {kind} does not only add to the weights, so it cannot be "
            f"subtracted. Possible: {', '.join(sorted(ADDED))}."
        )
    for path, layer in list(tuner_layers(model)):
        layer.merged_adapters.append(name)
        layer.unmerge()
        model.set_submodule(path, layer.get_base_layer())
    del attached[name]


def base_name(key: str) -> str:
    """Return the name that a tensor has in a model without adapters."""
    return key.replace(_WRAPPED, ".")


def base_state(
    model: nn.Module,
    attached: Mapping[str, Attached],
    *,
    state: Mapping[str, Tensor] | None = None,
) -> dict[str, Tensor]:
    """Return the state of the model without adapters and heads, under the names of such a model.

    `state` is a copy of the model's state dict; None takes the live one.
    """
    whole = model.state_dict() if state is None else state
    theirs = {key for one in attached.values() for key in one.tensors.values()}
    return {
        base_name(key): value
        for key, value in whole.items()
        if key not in theirs and not key.startswith(HEADS)
    }


def tuner_layers(model: nn.Module) -> Iterator[tuple[str, BaseTunerLayer]]:
    """Yield the name and the layer of every layer that an adapter changes."""
    for path, module in model.named_modules():
        if isinstance(module, BaseTunerLayer):
            yield path, module


def _targets(model: nn.Module, name: str, spec: AdapterSpec) -> tuple[str, ...]:
    """Return the names of the layers that an adapter is for."""
    if spec.part not in PARTS:
        raise UnknownNameError("part", spec.part, PARTS)
    root = PARTS[spec.part]
    parts = dict(model.named_modules())
    if root not in parts:
        has = ", ".join(part for part, path in PARTS.items() if path in parts)
        raise ConfigError(f"adapter {name!r}: the model has no {spec.part}. It has: {has}.")
    wrapped = [path for path, _ in tuner_layers(model)]
    inside = {
        path: module
        for path, module in parts.items()
        if (path == root or path.startswith(f"{root}."))
        and not any(path.startswith(f"{layer}.") for layer in wrapped)
    }
    if not spec.targets:
        found = [
            path
            for path, module in inside.items()
            if isinstance(module, nn.Linear) or path in wrapped
        ]
        if not found:
            raise ConfigError(
                f"adapter {name!r}: {spec.part} has no linear layer. Name its layers in targets."
            )
        return tuple(found)
    leaves = {
        path.removeprefix(f"{root}.")
        for path, module in inside.items()
        if path in wrapped or not any(True for _ in module.children())
    }
    chosen: set[str] = set()
    for pattern in spec.targets:
        matched = {leaf for leaf in leaves if _is_meant(leaf, pattern)}
        if not matched:
            examples = ", ".join(sorted(leaves)[:4])
            raise ConfigError(
                f"adapter {name!r}: the target {pattern!r} matches no layer of {spec.part}. "
                f"Layers: {examples}, ..."
            )
        chosen |= matched
    return tuple(sorted(f"{root}.{leaf}" for leaf in chosen))


def _is_meant(leaf: str, pattern: str) -> bool:
    """Match a layer; a bare name wherever it stands, but ``up_proj`` is no ``gate_up_proj``."""
    if "." in pattern or "*" in pattern:
        return fnmatch.fnmatchcase(leaf, pattern)
    return fnmatch.fnmatchcase(leaf.rpartition(".")[2], pattern)


def _refuse_other_kind(
    attached: Mapping[str, Attached], name: str, spec: AdapterSpec, targets: Sequence[str]
) -> None:
    for other, one in attached.items():
        shared = sorted(set(one.layers) & set(targets))
        if shared and one.config.get("peft_type") != family(spec.kind):
            raise ConfigError(
                f"adapter {name!r}: {shared[0]} already has the adapter {other!r} "
                f"({one.spec.kind}). Merge that one first, or choose other targets."
            )


def _file_name(key: str, name: str, config: Mapping[str, object]) -> str:
    """Return the name that peft gives a tensor in its file."""
    segments = key.split(".")
    # The last one: a part of the model may bear the same name.
    del segments[len(segments) - 1 - segments[::-1].index(name)]
    written = IN_PEFT + ".".join(segments)
    magnitude = ".lora_magnitude_vector.weight"
    if config.get("use_dora") and written.endswith(magnitude):
        return written.removesuffix(".weight")
    return written


def _restore(model: nn.Module, flags: Mapping[str, bool]) -> None:
    for key, value in model.named_parameters():
        value.requires_grad_(flags[key])

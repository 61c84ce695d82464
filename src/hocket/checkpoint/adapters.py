"""Adapters as folders: peft's two files, and beside them which part they are for.

A checkpoint with adapters holds the weights of its base model as always, and ``adapters/NAME``. A
folder that peft itself wrote for the composite opens as well.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from hocket._errors import CheckpointError
from hocket.model.adapters import AdapterSpec, Attached
from hocket.model.adapters.attach import IN_PEFT, attach, tuner_layers
from hocket.model.adapters.kinds import is_residual, options_of
from hocket.model.modeling import HocketForConditionalGeneration

FOLDER = "adapters"
WEIGHTS = "adapter_model.safetensors"
CONFIG = "adapter_config.json"
SPEC = "hocket_adapter.json"


def write_adapters(
    folder: Path,
    model: HocketForConditionalGeneration,
    *,
    state: Mapping[str, Tensor] | None = None,
) -> None:
    """Write every adapter of a model below a checkpoint directory.

    `state` is a copy of the model's state dict; None takes the live one.
    """
    for name, one in model.adapters.items():
        target = folder / FOLDER / name
        target.mkdir(parents=True)
        write_adapter(target, model, one, state=state)


def write_adapter(
    folder: Path,
    model: HocketForConditionalGeneration,
    one: Attached,
    *,
    state: Mapping[str, Tensor] | None = None,
) -> None:
    """Fill an existing folder with one adapter's files; `state` as in `write_adapters`."""
    whole = model.state_dict() if state is None else state
    tensors = {name: whole[live].contiguous() for name, live in one.tensors.items()}
    save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    config = dict(one.config)
    if is_residual(one.spec.kind, one.spec.options):
        # What the method took from the layers is in this checkpoint's weights already.
        config["init_lora_weights"] = True
    for file, document in ((CONFIG, config), (SPEC, asdict(one.spec))):
        (folder / file).write_text(json.dumps(document, indent=1, sort_keys=True), encoding="utf-8")


def read_adapters(folder: Path, model: HocketForConditionalGeneration) -> None:
    """Attach every adapter of a checkpoint directory.

    Raises:
        CheckpointError: one is damaged or not for this model.
    """
    for path in sorted((folder / FOLDER).glob("*/")):
        read_adapter(path, model, name=path.name)


def read_adapter(folder: Path, model: HocketForConditionalGeneration, *, name: str) -> Attached:
    """Attach an adapter that hocket or peft wrote.

    Raises:
        CheckpointError: a file is missing or damaged, or its tensors are not for this model.
        ConfigError: its method is unknown or not supported.
    """
    try:
        tensors = load_file(folder / WEIGHTS)
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        spec = _spec(folder, config)
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise CheckpointError(
            f"{folder} is no adapter: {WEIGHTS} or {CONFIG} is missing or damaged. "
            "Give the folder that holds both."
        ) from error
    layers = _layers(folder, model, tensors)
    # What peft wrote stands on the weights of before, from which the method takes its part anew.
    fresh = is_residual(spec.kind, spec.options) and not (folder / SPEC).exists()
    one = attach(model, model.adapters, name, spec, fresh=fresh, layers=layers)
    live = model.state_dict()
    shapes = {key: tuple(live[where].shape) for key, where in one.tensors.items()}
    found = {key: tuple(value.shape) for key, value in tensors.items()}
    if found != shapes:
        key = sorted(found.items() ^ shapes.items())[0][0]
        raise CheckpointError(
            f"{folder}: {key} is {found.get(key, 'missing')}, but the model takes "
            f"{shapes.get(key, 'no such tensor')}. Give the model that the adapter was trained on."
        )
    with torch.no_grad():
        for key, where in one.tensors.items():
            live[where].copy_(tensors[key])
    return one


def _spec(folder: Path, config: dict[str, Any]) -> AdapterSpec:
    file = folder / SPEC
    if file.exists():
        return AdapterSpec(**json.loads(file.read_text(encoding="utf-8")))
    kind = str(config["peft_type"]).lower()
    return AdapterSpec(part="", kind=kind, options=options_of(kind, config))


def _layers(
    folder: Path, model: HocketForConditionalGeneration, tensors: dict[str, torch.Tensor]
) -> list[str]:
    """Return the layers that a file's tensors are for."""
    wrapped = [path for path, _ in tuner_layers(model)]
    inside = tuple(f"{path}." for path in wrapped)
    leaves = {
        path
        for path, module in model.named_modules()
        if path in wrapped
        or (not path.startswith(inside) and next(module.children(), None) is None)
    }
    layers: set[str] = set()
    for key in tensors:
        path = key.removeprefix(IN_PEFT)
        while path and path not in leaves:
            path = path.rpartition(".")[0]
        if not path:
            raise CheckpointError(
                f"{folder}: {key} belongs to no layer of the model. "
                "Give the model that the adapter was trained on."
            )
        layers.add(path)
    return sorted(layers)

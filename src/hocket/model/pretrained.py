"""Parts that start from a checkpoint of their own: a CLIP tower, a Whisper encoder, a Qwen.

A part's ``path`` names a transformers directory, or a model id of the Hugging Face hub where hubs
may be asked. Its configuration is read before anything is allocated; its weights are read strictly
into the composite: every tensor of the part must be in the directory.
"""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from PIL.Image import Resampling
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedConfig, PreTrainedModel

from hocket._env import offline
from hocket._errors import CheckpointError, ConfigError, did_you_mean
from hocket.model.config import HocketConfig
from hocket.model.modeling import HocketForConditionalGeneration
from hocket.model.named_code import named_code
from hocket.model.origin import find_origin
from hocket.model.spec import ModelSpec

# Models of two halves: which of their nested configurations describes the half that is used.
_HALVES = {"vision": "vision_config", "audio": "audio_config", "language": "text_config"}
_STATISTICS = {"image_mean": "mean", "image_std": "std"}
_UNREADABLE = (OSError, ValueError, KeyError, TypeError, SafetensorError)


def read_config(key: str, half: str, path: str, options: Mapping[str, Any]) -> PreTrainedConfig:
    """Return the configuration of a pretrained part with some options changed.

    Args:
        key: where the part stands in the configuration, for messages.
        half: ``vision``, ``audio`` or ``language``: the half of a two-part model such as CLIP.
        path: transformers directory or hub id.
        options: options to change.

    Raises:
        ConfigError: there is no such directory, or it has no such option.
    """
    own = own_checkpoint(path)
    if code := named_code(_stored(path)):
        raise ConfigError(
            f"{key}.path: {code} in the config.json of {path} names code of a repository, which is "
            "not run. Remove the key there."
        )
    try:
        if own is not None:
            config = HocketConfig.from_pretrained(own, local_files_only=True)
        else:
            config = AutoConfig.from_pretrained(path, local_files_only=is_local(path))
    except _UNREADABLE as error:
        raise ConfigError(
            f"{key}.path: {path} holds no configuration that transformers can open. "
            "Give a transformers directory with config.json."
        ) from error
    nested = config.to_dict().get(_HALVES[half])
    if own is not None and nested is None:
        raise ConfigError(f"{key}.path: {path} is a Hocket model without {half}. Give another.")
    if isinstance(nested, dict):
        config = config.get_text_config() if half == "language" else vars(config)[_HALVES[half]]
    known = {*config.to_dict(), *type(config).attribute_map}
    for name in options:
        if name not in known:
            hint = did_you_mean(name, known)
            raise ConfigError(f"{key}.config: {path} has no option {name!r}.{hint}")
    config.update(dict(options))
    return config


def stored_model_type(path: str) -> str:
    """Return the model type that a folder's ``config.json`` names, or an empty text."""
    return str(_stored(path).get("model_type", ""))


def _stored(path: str) -> dict[str, Any]:
    """Return what a folder's ``config.json`` holds; nothing where there is none to be read."""
    try:
        document = json.loads((Path(path) / "config.json").read_text("utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def read_preprocessing(path: str, layout: type[Any]) -> dict[str, Any]:
    """Return the options of a layout that a directory's ``preprocessor_config.json`` decides.

    Args:
        path: transformers directory; empty without that file, or for a hub id.
        layout: the layout's dataclass; options that it does not have are left out.

    Raises:
        ConfigError: the file is no JSON object.
    """
    file = Path(path) / "preprocessor_config.json"
    if not file.is_file():
        return {}
    try:
        found = dict(json.loads(file.read_text("utf-8")))
    except ValueError as error:
        raise ConfigError(f"{file} is no JSON object. Correct it, or remove it.") from error
    options: dict[str, Any] = {}
    if found.get("do_normalize", True):
        options |= {to: found[key] for key, to in _STATISTICS.items() if key in found}
    if "do_normalize" in found:
        options["normalise"] = bool(found["do_normalize"])
    if "resample" in found:
        options["resample"] = Resampling(found["resample"]).name.lower()
    if "do_center_crop" in found:
        options["fit"] = "crop" if found["do_center_crop"] else "squash"
    names = {field.name for field in dataclasses.fields(layout)}
    return {name: value for name, value in options.items() if name in names}


def adopt(model: HocketForConditionalGeneration, spec: ModelSpec) -> None:
    """Exchange the parts of a composite that name a path for pretrained ones.

    Raises:
        CheckpointError: the weights of a part cannot be opened or do not fit.
    """
    film = spec.video.tower if spec.video else None
    for key, name, joint, tower in (
        ("model.vision", "vision_tower", "multi_modal_projector", spec.vision),
        ("model.video.tower", "video_tower", "video_projector", film),
        ("model.audio", "audio_tower", "audio_projector", spec.audio),
    ):
        if tower and tower.path:
            loaded = load_tower(key, name, model.model.get_submodule(name), tower.path)
            model.model.set_submodule(name, loaded)
            origin = find_origin(loaded, weight_files(tower.path))
            if origin is not None:
                model.origins[name] = origin
        if tower and tower.connector and tower.connector.path:
            load_part(
                f"{key}.connector", joint, model.model.get_submodule(joint), tower.connector.path
            )
    if spec.language.path:
        model.model.language_model = load_language(
            "model.language", spec.language.path, model.config.text_config, head=model.lm_head
        )
        model.tie_weights()


def load_tower(key: str, name: str, tower: PreTrainedModel, path: str) -> PreTrainedModel:
    """Return a tower of the same class and configuration with the weights of a directory.

    Args:
        key: where the part stands in the configuration, for messages.
        name: the tower's name in the composite.
        tower: a tower with any weights.
        path: transformers directory, hub id, Hocket checkpoint or run.

    Raises:
        CheckpointError: a tensor of the tower is not there or has another shape.
    """
    if own_checkpoint(path) is not None:
        load_part(key, name, tower, path, mapped=True)
        return tower
    return _load(key, type(tower), path, tower.config)


def load_language(
    key: str, path: str, config: PreTrainedConfig, *, head: nn.Linear
) -> PreTrainedModel:
    """Return the language model of a directory, and copy its output head.

    Args:
        key: where the part stands in the configuration, for messages.
        path: transformers directory or hub id of a causal language model.
        config: its configuration, whose vocabulary may have grown; new rows are drawn around the
            mean of the old ones.
        head: the composite's output head, (V, D), which is overwritten.

    Raises:
        CheckpointError: a tensor is not there or has another shape.
    """
    if own_checkpoint(path) is not None:
        raise ConfigError(
            f"{key}.path: {path} is a whole Hocket model. To go on from it set train.init_from."
        )
    own = copy.deepcopy(config)
    own.vocab_size = read_config(key, "language", path, {}).vocab_size
    causal = _load(key, AutoModelForCausalLM, path, own)
    if own.vocab_size != config.vocab_size:
        causal.resize_token_embeddings(config.vocab_size)
    with torch.no_grad():
        head.weight.copy_(causal.get_output_embeddings().weight)
    return causal.base_model


def own_checkpoint(path: str) -> Path | None:
    """Return the Hocket checkpoint directory of a path, which may be a run's folder, or None."""
    for folder in (Path(path), Path(path) / "model"):
        if stored_model_type(str(folder)) == HocketConfig.model_type:
            return folder
    return None


def weight_files(path: str) -> list[Path]:
    """Return the safetensors files of a checkpoint, a run or a transformers directory."""
    return sorted((own_checkpoint(path) or Path(path)).glob("*.safetensors"))


def load_part(key: str, name: str, module: nn.Module, path: str, *, mapped: bool = False) -> None:
    """Fill a module from a Hocket checkpoint, a run, or a safetensors file of its own.

    Args:
        key: where the part stands in the configuration, for messages.
        name: the part's name in the composite, which begins its tensors' names in a checkpoint.
        module: the module; every tensor of it must be there and no other.
        path: the checkpoint, run or file.
        mapped: let the module's tensors be the file's bytes, read when they are used.

    Raises:
        CheckpointError: a tensor is missing, unexpected or of another shape, or nothing is there.
    """
    folder = own_checkpoint(path)
    files = sorted(folder.glob("*.safetensors")) if folder else [Path(path)]
    prefix = f"model.{name}."
    found: dict[str, Tensor] = {}
    for file in files:
        try:
            found |= load_file(file)
        except _UNREADABLE as error:
            raise CheckpointError(f"{key}.path: {file} cannot be opened as safetensors.") from error
    inside = {one.removeprefix(prefix): found[one] for one in found if one.startswith(prefix)}
    given = inside or found
    expected = module.state_dict()
    shapes = [one for one in expected if one in given and expected[one].shape != given[one].shape]
    problems = {
        "missing": sorted(expected.keys() - given.keys()),
        "unexpected": sorted(given.keys() - expected.keys()),
        "of another shape": shapes,
    }
    said = "; ".join(f"{what}: {', '.join(names[:3])}" for what, names in problems.items() if names)
    if said:
        raise CheckpointError(
            f"{key}.path: the weights of {path} are not those of this part. {said}. "
            "Give those of a part with the same kind and options."
        )
    if mapped:
        given = {one: value.to(expected[one].dtype) for one, value in given.items()}
    module.load_state_dict(given, strict=True, assign=mapped)


def stretch_context(config: PreTrainedConfig, tokens: int) -> None:
    """Scale rotary positions so that a longer sequence fits, by a whole factor.

    Args:
        config: configuration of the language model; it is changed.
        tokens: longest sequence; 0 changes nothing.

    Raises:
        ConfigError: the language model has no rotary positions.
    """
    options = config.to_dict()
    longest = options.get("max_position_embeddings")
    if not tokens or longest is None or tokens <= longest:
        return
    rotary = options.get("rope_parameters")
    if not isinstance(rotary, dict) or "rope_theta" not in rotary:
        raise ConfigError(
            f"model.language.context is {tokens}, but a {config.model_type!r} of {longest} "
            "positions has no single rotary scale to stretch. Choose a longer model."
        )
    factor = float(-(-tokens // longest))
    config.rope_parameters = rotary | {"rope_type": "linear", "factor": factor}
    config.max_position_embeddings = tokens


def _load(key: str, cls: Any, path: str, config: PreTrainedConfig) -> PreTrainedModel:
    try:
        model, report = cls.from_pretrained(
            path,
            config=config,
            dtype=torch.float32,
            local_files_only=is_local(path),
            output_loading_info=True,
            ignore_mismatched_sizes=True,  # They are reported, and refused below by name.
            use_safetensors=True,
        )
    except _UNREADABLE as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise CheckpointError(f"{key}.path: {path} cannot be opened: {reason}.") from error
    for problem in ("missing_keys", "mismatched_keys"):
        if report[problem]:
            names = sorted(str(one if isinstance(one, str) else one[0]) for one in report[problem])
            raise CheckpointError(
                f"{key}.path: {path} has {problem.replace('_', ' ')}: {', '.join(names[:3])} "
                f"({len(names)} in all). Give a directory of the same architecture."
            )
    return model


def is_local(path: str) -> bool:
    """Whether to look on this machine only."""
    return offline() or Path(path).exists()

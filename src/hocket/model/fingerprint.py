"""What a tower is, as a hash: equal hashes make equal features of equal inputs."""

from __future__ import annotations

import hashlib
import json

import torch
from torch import nn

from hocket.model.config import HocketConfig
from hocket.model.origin import Origin
from hocket.model.towers import HocketTowers, tower_name, tower_options
from hocket.tokens.span import Modality

_DIGEST_BYTES = 16
# What transformers notes in a configuration and no tower reads.
_NOTES = {"transformers_version", "_name_or_path", "architectures", "torch_dtype", "dtype"}


def tower_hash(model: HocketTowers, modality: Modality) -> str:
    """Return the hash of a tower's weights, configuration and reading, 32 hexadecimal digits.

    Args:
        model: towers with their weights.
        modality: whose tower.
    """
    name = tower_name(model.config, modality)
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    digest.update(json.dumps(_described(model.config, modality), sort_keys=True).encode())
    for key, value in sorted(model.get_submodule(name).state_dict().items()):
        digest.update(f"{key} {value.dtype} {tuple(value.shape)}".encode())
        flat = value.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(flat.numpy().data)
    return digest.hexdigest()


def origin_key(config: HocketConfig, modality: Modality, origin: Origin) -> str:
    """Return what stands for a tower's hash before its weights are read, 32 hexadecimal digits.

    Args:
        config: of the model.
        modality: whose tower.
        origin: where its weights came from.
    """
    told = [tower_name(config, modality), _described(config, modality), origin.identity]
    told.append([tensor for tensor, _, _ in origin.tensors])
    text = json.dumps(told, sort_keys=True).encode()
    return hashlib.blake2b(text, digest_size=_DIGEST_BYTES).hexdigest()


def is_frozen(tower: nn.Module) -> bool:
    """Return whether nothing of a tower trains."""
    return not any(parameter.requires_grad for parameter in tower.parameters())


def _described(config: HocketConfig, modality: Modality) -> dict[str, object]:
    tower = {
        "vision_tower": config.vision_config,
        "video_tower": config.video_config,
        "audio_tower": config.audio_config,
    }[tower_name(config, modality)]
    options = {key: value for key, value in tower.to_dict().items() if key not in _NOTES}
    return {"config": options, "encoder": dict(tower_options(config, modality))}

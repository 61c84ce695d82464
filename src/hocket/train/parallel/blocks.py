"""The blocks that a composite is made of, and what can be done to each: compile, recompute."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import nn
from transformers import PreTrainedModel

from hocket._compat import set_recomputing
from hocket._errors import ConfigError
from hocket.model.modeling import HocketForConditionalGeneration
from hocket.model.names import PARTS

_STACKS = ("language", "vision", "video", "audio")
_CONNECTORS = ("connector", "video_connector", "audio_connector", "joint_connector")


def blocks_of(model: HocketForConditionalGeneration) -> list[nn.Module]:
    """Return every decoder layer, tower block and connector.

    A block is a member of an outermost list of layers; token tables, stems, heads and what arranges
    tiles are none, because parts of them are used outside their own forward pass.
    """
    found: list[nn.Module] = []
    for name in _STACKS:
        if (part := _part(model, name)) is not None:
            found += [one for one in _outermost(part) if any(True for _ in one.parameters())]
    for name in _CONNECTORS:
        part = _part(model, name)
        if part is not None and any(True for _ in part.parameters()):
            found.append(part)
    return found


def compile_blocks(model: HocketForConditionalGeneration) -> None:
    """Let torch.compile make each decoder layer and tower block fast; the first steps are slow."""
    for name in _STACKS:
        if (part := _part(model, name)) is not None:
            for block in _outermost(part):
                block.compile()


def recompute(model: HocketForConditionalGeneration, parts: Sequence[str]) -> None:
    """Compute activations of some parts again in the backward pass, and keep those of the others.

    Args:
        model: changed in place.
        parts: of ``language``, ``vision``, ``video`` and ``audio``.

    Raises:
        ConfigError: the model has no such part, or the part cannot do it.
    """
    for name in parts:
        part = _part(model, name) if name in _STACKS else None
        if not isinstance(part, PreTrainedModel) or not part.supports_gradient_checkpointing:
            able = [one for one in _STACKS if _part(model, one) is not None]
            raise ConfigError(
                f"train.gradient_checkpointing: {name!r} is no part of this model that can do it. "
                f"Parts: {', '.join(able)}."
            )
    for name in _STACKS:
        part = _part(model, name)
        if isinstance(part, PreTrainedModel) and part.supports_gradient_checkpointing:
            set_recomputing(part, on=name in parts)


def _part(model: HocketForConditionalGeneration, name: str) -> nn.Module | None:
    attribute = PARTS[name].removeprefix("model.")
    return model.model._modules.get(attribute)


def _outermost(part: nn.Module) -> Iterator[nn.Module]:
    for child in part.children():
        if isinstance(child, nn.ModuleList):
            yield from child
        else:
            yield from _outermost(child)

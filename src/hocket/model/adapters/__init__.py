"""Adapters: small trainable additions to chosen layers of one part of a model.

The methods are peft's, put into the composite layer by layer, and MoRA, which peft lacks.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from hocket.tokens.layout import OptionValue

FORMATS = ("nf4",)


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterSpec:
    """What is added to a part.

    Attributes:
        part: ``language``, ``vision``, ``video``, ``audio``, or one of their connectors.
        kind: name of the method, such as ``lora``, ``dora`` or ``mora``.
        targets: shell-style patterns on the names of the part's layers, such as ``*.q_proj``;
            empty takes every linear layer.
        options: the method's own options, such as ``r``.
        quantise: ``nf4`` keeps the weights of its layers in four bits while it trains (QLoRA);
            empty keeps them as they are.
    """

    part: str = "language"
    kind: str = "lora"
    targets: list[str] = field(default_factory=list)
    options: dict[str, OptionValue] = field(default_factory=dict)
    quantise: str = ""


@dataclass(frozen=True, slots=True)
class Attached:
    """An adapter that is part of a model.

    Attributes:
        spec: what it is.
        config: the method's whole configuration, as ``adapter_config.json`` has it.
        layers: names of the layers that it changes.
        tensors: name in peft's file -> name in the model.
        trainable: names of the parameters that learn.
    """

    spec: AdapterSpec
    config: dict[str, object]
    layers: tuple[str, ...]
    tensors: dict[str, str]
    trainable: tuple[str, ...]

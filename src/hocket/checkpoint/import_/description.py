"""What an importer says about a checkpoint, and the protocol of importers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from hocket.checkpoint.import_.origin import Origin
from hocket.checkpoint.import_.table import Rule
from hocket.checkpoint.import_.weights import Weights
from hocket.model.config import HocketConfig
from hocket.tokens.processor import HocketProcessor


@dataclass(frozen=True, slots=True)
class Description:
    """A foreign checkpoint in Hocket's terms.

    Attributes:
        config: the composite that can hold its weights.
        processor: tokenizer, layouts, chat template and text rules, as it was trained with them.
        weights: every tensor that it consists of.
        rules: where each of them goes.
        notes: what was decided where the source leaves it open, a sentence each.
        stops: further tokens that end an answer, beside the tokenizer's end token.
    """

    config: HocketConfig
    processor: HocketProcessor
    weights: Weights
    rules: tuple[Rule, ...]
    notes: tuple[str, ...] = ()
    stops: tuple[str, ...] = ()


class Importer(Protocol):
    """Recognises the checkpoints of one system and describes them."""

    __module__: str

    @staticmethod
    def detect(origin: Origin) -> bool:
        """Say whether the folder is one of this system, by what is in its files."""
        ...

    @staticmethod
    def describe(origin: Origin) -> Description:
        """Return the checkpoint in Hocket's terms; reads names and shapes, no weights.

        Raises:
            CheckpointError: a file or folder is missing, or something cannot be expressed.
        """
        ...

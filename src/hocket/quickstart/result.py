"""What a quickstart run measured: plain data for the terminal, the report and the benchmark."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hocket.eval.interval import Share
from hocket.eval.scored import Scored


@dataclass(frozen=True, slots=True, kw_only=True)
class QuickstartResult:
    """The whole run in numbers.

    Attributes:
        seed: seed of data, weights and order.
        fast: whether the short version ran.
        parameters: of the model.
        before: modality -> accuracy of the untrained model on held-out questions.
        after: modality -> accuracy of the trained model on the same questions.
        tasks: task -> accuracy of the trained model.
        removed: modality -> accuracy with every medium taken away.
        swapped: modality -> accuracy with another sample's media.
        examples: held-out questions with the model's answers, right and wrong.
        seconds: name of a phase -> wall seconds.
        peak_memory_bytes: largest resident memory of the process.
    """

    seed: int
    fast: bool
    parameters: int
    before: Mapping[str, Share]
    after: Mapping[str, Share]
    tasks: Mapping[str, Share]
    removed: Mapping[str, Share]
    swapped: Mapping[str, Share]
    examples: tuple[Scored, ...]
    seconds: Mapping[str, float]
    peak_memory_bytes: int

    def figures(self) -> dict[str, Any]:
        """Return every number as plain JSON data, without the examples."""
        groups = {
            "before": self.before,
            "after": self.after,
            "tasks": self.tasks,
            "removed": self.removed,
            "swapped": self.swapped,
        }
        return {
            "seed": self.seed,
            "fast": self.fast,
            "parameters": self.parameters,
            "seconds": dict(self.seconds),
            "peak_memory_bytes": self.peak_memory_bytes,
        } | {
            name: {key: share._asdict() for key, share in group.items()}
            for name, group in groups.items()
        }

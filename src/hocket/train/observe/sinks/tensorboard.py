"""TensorBoard: scalars and histograms in ``logs/`` of the run's folder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hocket._errors import MissingExtraError
from hocket.train.observe.sinks import sinks


@sinks.register
class TensorBoard:
    """Writes event files; steps that a resumed run does again replace those of before.

    Args:
        out: the run's folder.
        start: steps done before.
        config: the resolved configuration, kept as a text.

    Raises:
        MissingExtraError: tensorboard is not installed.
    """

    def __init__(self, out: Path, start: int, config: str) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError:
            raise MissingExtraError("tensorboard", "tensorboard") from None
        # Newer lines of a resumed run hide the older ones of the same steps.
        purge = start + 1 if start else None
        self._writer = SummaryWriter(str(out / "logs"), purge_step=purge)
        if not start:
            self._writer.add_text("config", f"```yaml\n{config}\n```")

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write a step's numbers."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)

    def histograms(self, step: int, values: Mapping[str, np.ndarray]) -> None:
        """Write histograms; a part without a finite value is left out."""
        for name, some in values.items():
            finite = some[np.isfinite(some)]
            if finite.size:
                self._writer.add_histogram(name, finite, step)

    def close(self) -> None:
        """Write what is left."""
        self._writer.close()

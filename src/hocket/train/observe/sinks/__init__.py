"""Writers of a run's numbers for other programs: one file each, named in ``train.report_to``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from hocket._registry import Registry


class Sink(Protocol):
    """Takes numbers of a run; steps count on from stage to stage.

    It is opened as ``sink(out, start, config)``: the run's folder, the steps done before, and the
    resolved configuration as YAML.
    """

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Take a step's numbers by name."""
        ...

    def histograms(self, step: int, values: Mapping[str, np.ndarray]) -> None:
        """Take some values of weights and gradients, float32 (N,), by part."""
        ...

    def close(self) -> None:
        """Write what is left."""
        ...


class OpenSink(Protocol):
    """Makes a sink; the class of a sink is one.

    Raises:
        MissingExtraError: its package is not installed.
    """

    __module__: str

    def __call__(self, out: Path, start: int, config: str) -> Sink:
        """Open it for a run that has done `start` steps."""
        ...


sinks: Registry[OpenSink] = Registry(__name__, noun="report_to")

"""Weights & Biases, offline unless ``WANDB_MODE`` says otherwise: ``wandb/`` of the run's folder.

``wandb sync`` sends such a run later.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import yaml

from hocket._env import wandb_mode
from hocket._errors import MachineError, MissingExtraError
from hocket.train.observe.sinks import sinks


@sinks.register
class WandB:
    """Logs to a run whose name is the folder's; a resumed run has the same id.

    Args:
        out: the run's folder.
        start: steps done before.
        config: the resolved configuration.

    Raises:
        MissingExtraError: wandb is not installed.
        MachineError: it cannot start.
    """

    def __init__(self, out: Path, start: int, config: str) -> None:
        try:
            import wandb
        except ImportError:
            raise MissingExtraError("wandb", "wandb") from None
        self._histogram = wandb.Histogram
        mode = wandb_mode()
        out.mkdir(parents=True, exist_ok=True)
        try:
            self._run = wandb.init(
                project="hocket",
                name=out.resolve().name,
                id=hashlib.sha256(str(out.resolve()).encode()).hexdigest()[:16],
                dir=str(out),
                mode=mode,
                # An offline run cannot ask a server how far it has come.
                resume="allow" if mode == "online" else None,
                config=yaml.safe_load(config) if config else None,
                settings=wandb.Settings(
                    console="off", silent=True, disable_git=True, disable_code=True
                ),
            )
        except wandb.errors.Error as error:
            raise MachineError(
                f"wandb cannot start: {error} Set WANDB_MODE=offline, or leave it out of "
                "train.report_to."
            ) from error

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Log a step's numbers."""
        self._run.log(dict(values), step=step)

    def histograms(self, step: int, values: Mapping[str, np.ndarray]) -> None:
        """Log histograms; a part without a finite value is left out."""
        finite = {name: some[np.isfinite(some)] for name, some in values.items()}
        made = {name: self._histogram(some) for name, some in finite.items() if some.size}
        self._run.log(made, step=step)

    def close(self) -> None:
        """Write what is left."""
        self._run.finish()

"""What happens to a batch whose loss or gradient is not finite: its step is never taken.

An optimizer's step may overflow by itself, with a finite gradient and far too high a rate. So what
trains is looked at before it is saved, and no checkpoint to go back to holds such weights. Every
rank sees the same loss, norm and weights, so all of them decide alike.
"""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import torch

from hocket._errors import TrainingError
from hocket._log import warn
from hocket.checkpoint.manifest import machine_error
from hocket.data.decoder import StepBatches
from hocket.train.parallel.zero import ZeroAdamW
from hocket.train.recipe import OnNan
from hocket.train.runtime import Runtime
from hocket.train.state import TrainState, optimizer_tensors

MOST_SKIPPED = 5
MOST_ROLLBACKS = 3


def is_sound(optimizer: torch.optim.Optimizer, runtime: Runtime) -> bool:
    """Return whether all that an optimizer changes is finite; every process calls it.

    Args:
        optimizer: its parameters and its own tensors are looked at.
        runtime: brings the answers of all processes together.
    """
    if isinstance(optimizer, ZeroAdamW):
        return runtime.all_finite(optimizer.own_tensors())
    trained = [one for group in optimizer.param_groups for one in group["params"]]
    return runtime.all_finite([*trained, *optimizer_tensors(optimizer).tensors.values()])


class NotFinite:
    """Writes each such batch down and says how to go on.

    Args:
        rule: the recipe's.
        file: JSON lines, one for each batch with its samples; None writes none.
    """

    def __init__(self, rule: OnNan, file: Path | None = None) -> None:
        self._rule = rule
        self._file = file
        self._last: tuple[str, int] | None = None
        self._skipped = self._rollbacks = 0

    def decide(
        self, state: TrainState, step: StepBatches, loss: float, norm: float, *, spoilt: bool
    ) -> OnNan:
        """Return whether to skip the batch or to roll back behind it.

        Args:
            state: where the run stands; the batch was for the step after it.
            step: the batch.
            loss: its loss over all ranks.
            norm: norm of its gradient.
            spoilt: whether the weights or the optimizer are not finite themselves; to skip a batch
                cannot mend that, so the run goes back then.

        Raises:
            TrainingError: the run must stop; the message names step and samples.
            MachineError: the file cannot be written.
        """
        self._write(state, step, loss, norm)
        names = ", ".join(itertools.islice(step.samples, 3))
        others = len(step.samples) - 3
        harm = (
            "the weights or the optimizer are not finite any more and are not saved"
            if spoilt
            else "the weights were not touched"
        )
        what = (
            f"stage {state.stage!r} step {state.step + 1}: the loss is {loss:g}, the gradient norm "
            f"{norm:g}; {harm}. Samples: {names}"
            f"{f' and {others} others' if others > 0 else ''}."
        )
        advice = "Lower lr or look at them: hocket data show."
        if self._rule is OnNan.HALT:
            raise TrainingError(f"{what} {advice}")
        if spoilt or self._rule is OnNan.ROLLBACK:
            self._rollbacks += 1
            if self._rollbacks > MOST_ROLLBACKS:
                raise TrainingError(f"{what} It was rolled back {MOST_ROLLBACKS} times. {advice}")
            warn(f"{what} Going back to the last checkpoint, past this batch.")
            return OnNan.ROLLBACK
        here = (state.stage, state.step)
        self._skipped = self._skipped + 1 if here == self._last else 1
        self._last = here
        if self._skipped > MOST_SKIPPED:
            raise TrainingError(f"{what} {MOST_SKIPPED} batches before it were skipped. {advice}")
        warn(f"{what} The batch is skipped.")
        return OnNan.SKIP

    def _write(self, state: TrainState, step: StepBatches, loss: float, norm: float) -> None:
        if self._file is None:
            return
        line = json.dumps(
            {
                "stage": state.stage,
                "step": state.step + 1,
                "cursor": step.after.cursor,
                "loss": f"{loss:g}",
                "grad_norm": f"{norm:g}",
                "on_nan": self._rule.value,
                "samples": step.samples,
            }
        )
        try:
            # A run that was killed meets the same batch again.
            known = self._file.read_text("utf-8").splitlines() if self._file.exists() else []
            if line not in known:
                with self._file.open("a", encoding="utf-8") as stream:
                    stream.write(line + "\n")
        except OSError as error:
            raise machine_error(self._file, error) from error

"""One stage of training: the loop itself and nothing else.

The loss of a step is the sum over every supervised token of all micro-batches and ranks, divided
by their number: the same number whichever way the step is cut. Hooks do everything else (logging,
progress, saving, samples); they see the state and a report after each step.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

import torch
from torch import Tensor, nn

from hocket._log import warn
from hocket.data.decoder import StepBatches
from hocket.data.seed import generator
from hocket.tokens.batch import IGNORED, Batch
from hocket.train.objective import Learned, Objective
from hocket.train.optim import set_learning_rate
from hocket.train.runtime import Runtime
from hocket.train.state import TrainState


@dataclass(frozen=True, slots=True)
class Report:
    """What one optimizer step did.

    Attributes:
        loss: mean loss of a supervised token over all ranks, weighted as the stage says.
        parts: plain mean loss of each data set and kind of sample in the step, by name, and that of
            heads where the stage has some.
        grad_norm: norm of the gradient before clipping.
        lr_share: learning rate as a share of the peak.
        tokens: real tokens on all ranks.
        targets: supervised tokens on all ranks.
        padding: padded positions over all positions on this rank.
        step_seconds: wall time of the step, data included.
        data_seconds: of it, waiting for data.
        fill: share of each limit of the rows that is used on all ranks, by name.
        cuts: what was cut of samples to fit them into rows since the start of the stage, by kind.
        accuracy: share of the labels that each head of the stage told right, by its name.
        rewards: of a stage of preferences, mean rewards of the step's pairs and how many of them
            are told apart: ``chosen``, ``rejected``, ``margin``, ``accuracy``.
        dropped: samples left out since the start of the stage, of this process's rows.
        lr: learning rate of each group.
        norms: what the probe measured in this step, such as ``gradient/vision``; often nothing.
        memory: bytes in use at the end of the step, by where; often nothing.
    """

    loss: float
    grad_norm: float
    lr_share: float
    tokens: int
    targets: int
    padding: float
    step_seconds: float
    data_seconds: float
    parts: dict[str, float] = field(default_factory=dict)
    fill: dict[str, float] = field(default_factory=dict)
    cuts: dict[str, int] = field(default_factory=dict)
    accuracy: dict[str, float] = field(default_factory=dict)
    rewards: dict[str, float] = field(default_factory=dict)
    dropped: int = 0
    lr: dict[str, float] = field(default_factory=dict)
    norms: dict[str, float] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)


class Measured(NamedTuple):
    """What a probe found in a step; the names are those of `Report`."""

    lr: dict[str, float]
    norms: dict[str, float]
    memory: dict[str, float]


class Probe(Protocol):
    """Looks at a step from inside and changes nothing; every process calls it."""

    def begin(self, state: TrainState) -> None:
        """Look at the state before the step; nothing of it has been read."""
        ...

    def updated(self, grad_norm: float) -> Measured:
        """Look at the weights behind the optimizer's step; the clipped gradients are still there.

        Args:
            grad_norm: norm of the gradient before it was clipped.
        """
        ...


class _Blind:
    def begin(self, state: TrainState) -> None:
        pass

    def updated(self, grad_norm: float) -> Measured:
        return Measured({}, {}, {})


Hook = Callable[[TrainState, Report], None]
NotFiniteRule = Callable[[TrainState, StepBatches, float, float], TrainState]
Keep = Callable[[TrainState, StepBatches, Report], TrainState]


def _go_on(state: TrainState, step: StepBatches, report: Report) -> TrainState:
    return state


class Hooks(NamedTuple):
    """What a loop calls.

    Attributes:
        after_step: called in order after every step.
        not_finite: called in place of a step whose loss or gradient is not finite, with the state
            before it, the batch, the loss and the gradient's norm; returns where to go on, or
            raises.
        probe: looks at each step.
        keep: called last behind every step, with its batch; saves where that is due and returns
            where to go on, which is earlier where the weights were not fit to be saved.
    """

    after_step: Sequence[Hook]
    not_finite: NotFiniteRule
    probe: Probe = _Blind()
    keep: Keep = _go_on


def fit(
    model: nn.Module,
    batches: Iterator[StepBatches],
    optimizer: torch.optim.Optimizer,
    *,
    objective: Objective,
    runtime: Runtime,
    state: TrainState,
    seed: int,
    hooks: Hooks,
) -> TrainState:
    """Run steps to the end of the stage; one that is not finite is not taken."""
    stage = objective.stage
    parameters = [value for value in model.parameters() if value.requires_grad]
    while state.step < stage.steps:
        started = time.perf_counter()
        runtime.begin_step(state.step + 1)
        hooks.probe.begin(state)
        step = next(batches)
        runtime.have(step.samples)
        data_seconds = time.perf_counter() - started
        for bad in step.dropped:
            warn(f"sample left out of its row: {bad.reason}")
        _seed_dropout(seed, state, runtime.rank)
        lr_share = set_learning_rate(optimizer, stage, state.step)
        targets = runtime.sum_over_ranks(sum(count_targets(batch) for batch in step.micro))
        share, learned = _accumulate(model, step, objective, runtime)
        loss = float(runtime.sum_over_ranks(share))
        norm = float(runtime.clip(parameters, stage.max_norm))
        if not (math.isfinite(loss) and math.isfinite(norm)):
            optimizer.zero_grad(set_to_none=True)
            state = hooks.not_finite(state, step, loss, norm)
            continue
        optimizer.step()
        measured = hooks.probe.updated(norm)
        optimizer.zero_grad(set_to_none=True)
        tokens = int(runtime.sum_over_ranks(step.tokens))
        seconds = time.perf_counter() - started
        state = state.advance(tokens=tokens, seconds=seconds, packer=step.after)
        report = Report(
            loss=loss,
            grad_norm=norm,
            lr_share=lr_share,
            tokens=tokens,
            targets=int(targets),
            padding=step.padding / (step.padding + step.tokens),
            step_seconds=seconds,
            data_seconds=data_seconds,
            fill=step.fill,
            cuts=step.after.cuts.counted(),
            **objective.outcome(step, learned, runtime)._asdict(),
            dropped=step.after.dropped,
            **measured._asdict(),
        )
        runtime.note("logging and saving")
        for hook in hooks.after_step:
            hook(state, report)
        state = hooks.keep(state, step, report)
    return state


def count_targets(batch: Batch) -> int:
    """Return the supervised tokens of a batch: what its loss is a sum over."""
    return int((batch["labels"][:, 1:] != IGNORED).sum())


def _accumulate(
    model: nn.Module, step: StepBatches, objective: Objective, runtime: Runtime
) -> tuple[Tensor, list[Learned]]:
    """Add up gradients of all micro-batches; return this rank's loss and what made it."""
    total = torch.zeros((), dtype=torch.float64, device=runtime.device)
    weights, whole = objective.weigh(step, runtime)
    learned = []
    heads = objective.heads.targets(step, objective.sources, runtime)
    for number, batch in enumerate(step.micro, start=1):
        weight, beside = weights[number - 1], heads[number - 1] | runtime.sharing
        with runtime.without_sync(model, last=number == len(step.micro)):
            inputs = {name: value.to(runtime.device) for name, value in batch.items()}  # type: ignore[attr-defined] # every value of a Batch is a tensor
            inputs, weight = runtime.joined(inputs, weight.to(runtime.device))
            with runtime.computing():
                found = objective.learn(model, inputs | beside, weight, whole)
            # Gradients are averaged over ranks; the loss is a sum.
            runtime.backward(found.loss * runtime.world)
        learned.append(found._replace(loss=found.loss.detach()))
        total += learned[-1].loss.to(torch.float64)
    return total, learned


def _seed_dropout(seed: int, state: TrainState, rank: int) -> None:
    """Make dropout a function of (seed, stage, step, rank), so that nothing needs saving."""
    draw = generator(seed, "dropout", state.stage, state.step, rank)
    torch.manual_seed(int(draw.integers(2**63)))

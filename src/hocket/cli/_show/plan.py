"""A plan as terminal tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hocket.plan.gpus import Gpu
from hocket.plan.make import StagePlan
from hocket.plan.measure import Measured
from hocket.plan.memory import Strategy, by_part
from hocket.plan.rows import Histogram


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """Everything that is known about one stage.

    Attributes:
        plans: label -> plan; the first is the recipe's own.
        device: what it is planned for; None compares with nothing.
        measured: two real steps, if they were taken.
        scale: measured over traced bytes of a step.
        limits: what is counted -> the most that fits.
        strategy: how devices share the run in the limits.
        speed: operations a second of a device; None where nothing is known.
    """

    plans: Sequence[tuple[str, StagePlan]]
    device: Gpu | None
    measured: Measured | None
    scale: float
    limits: Mapping[str, int]
    strategy: Strategy
    speed: float | None

    @property
    def tokens_per_second(self) -> float | None:
        """Real tokens a second of all devices, data and exchange left out."""
        plan = self.plans[0][1]
        return plan.tokens_per_step / plan.step_seconds(self.speed) if self.speed else None

    @property
    def hours(self) -> float | None:
        """Hours of the stage; None where its steps or the speed are not known."""
        plan = self.plans[0][1]
        if not self.speed or not plan.steps:
            return None
        return plan.steps * plan.step_seconds(self.speed) / 3600


def draw_stage(found: Found) -> RenderableType:
    """Return the tables of a stage."""
    plan = found.plans[0][1]
    setting = plan.setting
    devices = f"{setting.devices} device{'s' if setting.devices > 1 else ''}"
    on = found.device.name if found.device else "any device"
    parts: list[RenderableType] = [
        Text(f"stage {plan.name}: {devices}, {on}, {setting.dtype}", style="bold"),
        Text(
            f"{plan.sizes.parameters:,} parameters, {plan.sizes.training:,} train; "
            f"{plan.rows} rows in a micro-batch, {plan.traced.tokens:,} tokens with padding"
        ),
    ]
    if plan.histogram:
        parts.append(_rows(plan.histogram))
    parts += [_memory(label, one, found) for label, one in found.plans]
    if found.limits:
        parts.append(_limits(found))
    parts += [Text(line) for line in _lines(found, plan)]
    return Group(*parts, Text())


def gib(size: float) -> str:
    """Return bytes in GiB, or in MiB where that reads better."""
    return f"{size / 2**30:,.2f} GiB" if size >= 2**30 else f"{size / 2**20:,.0f} MiB"


def _rows(seen: Histogram) -> Table:
    table = Table(title=f"{seen.rows:,} rows of {seen.samples:,} samples", title_justify="left")
    for name in ("of a row", "median", "90 %", "99 %", "most"):
        table.add_column(name, justify="left" if name == "of a row" else "right")
    for name, values in seen.quantiles.items():
        table.add_row(name.replace("_", " "), *(f"{value:,}" for value in values))
    return table


def _memory(label: str, plan: StagePlan, found: Found) -> Table:
    names = ("weights", "grads", "optim", "activ", "logits", "buffers", "peak")
    table = Table(title=f"GiB of a device: {label}", title_justify="left")
    table.add_column("strategy")
    for name in names:
        table.add_column(name, justify="right")
    if found.device:
        table.add_column("fits")
    for strategy in Strategy:
        if strategy is not Strategy.SINGLE and plan.setting.devices == 1:
            continue
        if strategy is Strategy.SINGLE and plan.setting.devices > 1:
            continue
        memory = plan.memory(strategy, scale=found.scale)
        cells = [f"{value / 2**30:,.2f}" for value in by_part(memory).values()]
        if found.device:
            cells.append("yes" if memory.peak <= found.device.usable else "no")
        table.add_row(strategy.value, *cells)
    return table


def _limits(found: Found) -> Table:
    assert found.device is not None
    usable = gib(found.device.usable)
    title = f"largest that fits {usable} with {found.strategy.value}"
    table = Table(title=title, title_justify="left")
    table.add_column("what")
    table.add_column("most", justify="right")
    for what, most in found.limits.items():
        table.add_row(what, f"{most:,}" if most else "none fits")
    return table


def _lines(found: Found, plan: StagePlan) -> list[str]:
    lines = []
    if found.measured:
        taken = found.measured
        lines.append(
            f"measured on {taken.device}: peak {gib(taken.peak)}, {taken.seconds:.2f} s a step; "
            f"activations are {found.scale:.2f} of the traced ones"
        )
    if found.speed:
        lines.append(
            f"{plan.flops_per_step / 1e12:,.2f} TFLOP a step and device at "
            f"{found.speed / 1e12:,.2f} TFLOP/s: {found.tokens_per_second:,.0f} tokens a second"
        )
    if found.hours is not None:
        lines.append(f"{plan.steps:,} steps: {found.hours:,.2f} hours")
    return lines

"""A plan as terminal tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from hocket.plan.found import Found
from hocket.plan.make import StagePlan
from hocket.plan.memory import by_part
from hocket.plan.rows import Histogram
from hocket.plan.scale import Scaled

_PARTS = {
    "weights": "weights",
    "gradients": "grads",
    "optimizer": "AdamW",
    "activations": "activ",
    "logits": "logits",
    "buffers": "rest",
    "peak": "peak",
    "host": "host",
}


def draw_stage(found: Found) -> RenderableType:
    """Return the tables of a stage."""
    plan = found.plans[0][1]
    setting = plan.setting
    devices = f"{setting.devices} device{'s' if setting.devices > 1 else ''}"
    on = found.device.name if found.device else "this machine"
    again = f", recomputes {', '.join(setting.recomputed)}" if setting.recomputed else ""
    parts: list[RenderableType] = [
        Text(f"stage {plan.name}: {devices}, {on}, {setting.dtype}{again}", style="bold"),
        Text(
            f"{plan.sizes.parameters:,} parameters, {plan.sizes.training:,} train; "
            f"{plan.rows} rows in a micro-batch, {plan.traced.tokens:,} tokens with padding"
        ),
    ]
    if plan.histogram:
        parts += [Text(), _samples(plan.histogram)]
    for label, one in found.plans:
        parts += [Text(), _memory(label, one, found)]
    if found.limits:
        parts += [Text(), _limits(found)]
    if found.scaled:
        parts += [Text(), draw_scale(found.scaled)]
    parts += [Text(), *(Text(line) for line in _lines(found, plan)), Text()]
    return Group(*parts)


def size(count: float) -> str:
    """Return bytes in GiB, or in MiB where that reads better."""
    return f"{count / 2**30:,.2f} GiB" if count >= 2**30 else f"{count / 2**20:,.0f} MiB"


def _table(first: str, *others: str) -> Table:
    table = Table(
        box=None,
        pad_edge=False,
        header_style="dim",
    )
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right", no_wrap=True)
    return table


def _samples(seen: Histogram) -> Group:
    lost = f", {seen.unusable:,} of them unusable" if seen.unusable else ""
    title = f"{seen.samples:,} of {seen.epoch:,} samples{lost}; an epoch packs into "
    title += f"{seen.rows_per_epoch:,.0f} rows of {seen.mean_tokens:,.0f} tokens"
    table = _table("of a sample", "median", "95 %", "99 %", "most", "mean")
    for name, one in seen.figures.items():
        cuts = one.percentiles
        values = (cuts["p50"], cuts["p95"], cuts["p99"], one.most, one.mean)
        table.add_row(
            name, *(f"{value:,.4g}" if value < 10 else f"{value:,.0f}" for value in values)
        )
    return Group(Text(title), table)


def _memory(label: str, plan: StagePlan, found: Found) -> Group:
    rows = {one.name: by_part(plan.memory(one, scale=found.factor)) for one in found.strategies}
    names = [name for name in _PARTS if name != "host" or any(one["host"] for one in rows.values())]
    largest = max(one["peak"] for one in rows.values())
    unit, divisor = ("GiB", 2**30) if largest >= 2**30 else ("MiB", 2**20)
    heads = [_PARTS[name] for name in names]
    if found.device:
        heads.append("fits")
    title = f"{unit} of a device, {label}"
    table = _table("strategy", *heads)
    for name, parts in rows.items():
        cells = [f"{parts[key] / divisor:,.{2 if divisor == 2**30 else 0}f}" for key in names]
        if found.device:
            cells.append("yes" if parts["peak"] <= found.device.usable else "no")
        table.add_row(name, *cells)
    return Group(Text(title), table)


def _limits(found: Found) -> Group:
    assert found.device is not None
    title = f"the largest that fits {size(found.device.usable)} with {found.strategies[0].name}"
    table = _table("what", "most")
    for what, most in found.limits.items():
        table.add_row(what, f"{most:,}" if most else "none fits")
    return Group(Text(title), table)


def draw_scale(scaled: Sequence[Scaled]) -> Group:
    """Return the table of a stage on more and more devices."""
    sequence = scaled[0].strategy.sequence
    shared = f", {sequence} share a row" if sequence > 1 else ""
    title = f"on more devices, each with the same micro-batch{shared}"
    table = _table(
        "strategy",
        *("devices", "peak", "fits", "compute s", "exchange s", "tokens/s"),
    )
    for one in scaled:
        table.add_row(
            one.strategy.name,
            f"{one.strategy.devices:,}",
            size(one.peak),
            "yes" if one.fits else "no",
            f"{one.compute_seconds:,.2f}",
            f"{one.exchange_seconds:,.2f}",
            f"{one.tokens_per_second:,.0f}",
        )
    return Group(Text(title), table)


def _lines(found: Found, plan: StagePlan) -> Iterator[str]:
    if found.measured:
        taken = found.measured
        yield (
            f"measured on {taken.device}: peak {size(taken.peak)}, foretold "
            f"{size(found.predicted)} ({found.predicted / taken.peak:.2f} of it); "
            f"{taken.seconds:.2f} s a step"
        )
    if found.speed:
        yield (
            f"{plan.flops_per_step / 1e12:,.3g} TFLOP a step and device at "
            f"{found.speed / 1e12:,.3g} TFLOP/s: {found.tokens_per_second:,.0f} tokens a second"
        )
    if found.hours is not None:
        yield f"{plan.steps:,} steps: {_time(found.hours)}"


def _time(hours: float) -> str:
    return f"{hours:,.1f} hours" if hours >= 2 else f"{hours * 60:,.1f} minutes"

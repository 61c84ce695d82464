"""What a run comes to on 8 to 1,024 GPUs: memory, exchange, speed, checkpoints, data.

Every figure is a formula of a planned stage; none is measured. N devices, M of them in a machine,
S share a row; W weights, G gradients that train, in bytes.

Bytes that a device sends in a step, with the ring algorithm (Patarasuk and Yuan, 2009):

* ``ddp``: gradients are added up over all, 2 G (N - 1) / N;
* ``zero2``: weights are gathered once, gradients scattered, (W + G) (N - 1) / N;
* ``fsdp``: weights are gathered in the forward and again in the backward pass, in every
  micro-batch, (2 W + G) (N - 1) / N (ZeRO, 2020, section 7);
* ``hsdp``: the same inside a machine with N = M, then shares of gradients over N / M machines;
* sequence parallel: Ulysses sends its tokens' queries, keys, values and outputs in each layer,
  forward, backward: 2 (2 H + 2 K) T / S (S - 1) / S, H and K the widths of query and key heads
  (Jacobs et al., 2023).

Exchange runs beside computing, as FSDP2 and DDP do it, so a step takes the longer of the two.
"""

from __future__ import annotations

from dataclasses import dataclass

from hocket._errors import ConfigError
from hocket.model.config import HocketConfig
from hocket.plan.gpus import Gpu
from hocket.plan.make import StagePlan
from hocket.plan.memory import Sharing, Strategy


@dataclass(frozen=True, slots=True, kw_only=True)
class Cluster:
    """Machines of equal GPUs.

    Attributes:
        gpu: each of them.
        network_gb_s: 10^9 bytes a second that each GPU sends to other machines; 50 is 400 Gb/s.
        disk_gb_s: 10^9 bytes a second that one process writes a checkpoint with.
        share_of_peak: share of the GPU's dense speed that training reaches while it computes.
    """

    gpu: Gpu
    network_gb_s: float = 50.0
    disk_gb_s: float = 2.0
    share_of_peak: float = 0.4


@dataclass(frozen=True, slots=True, kw_only=True)
class Attending:
    """What sequence parallel sends for each token.

    Attributes:
        layers: layers of the language model.
        query_width: heads x head width of queries and outputs.
        key_width: heads x head width of keys, and of values.
    """

    layers: int
    query_width: int
    key_width: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaled:
    """A stage on so many devices.

    Attributes:
        strategy: how they share it.
        peak: bytes of a device at most.
        fits: whether the GPU holds them.
        compute_seconds: time of a step's operations.
        exchange_seconds: time of what a device sends in a step.
        tokens_per_second: of all devices together.
        tower_share: share of a step's operations that towers take; so many of the devices would
            encode if encoders had their own.
        samples_per_second: samples that the data side has to decode, of all devices; 0 without
            data.
        checkpoint_bytes: weights, and two moments of what trains.
        checkpoint_seconds: time until they are written; one process writes, training goes on.
    """

    strategy: Strategy
    peak: float
    fits: bool
    compute_seconds: float
    exchange_seconds: float
    tokens_per_second: float
    tower_share: float
    samples_per_second: float
    checkpoint_bytes: float
    checkpoint_seconds: float

    @property
    def step_seconds(self) -> float:
        """Time of a step."""
        return max(self.compute_seconds, self.exchange_seconds)


def attending(config: HocketConfig) -> Attending:
    """Return what sequence parallel sends of a model."""
    text = config.text_config
    width = text.to_dict().get("head_dim") or text.hidden_size // text.num_attention_heads
    keys = text.to_dict().get("num_key_value_heads") or text.num_attention_heads
    return Attending(
        layers=text.num_hidden_layers,
        query_width=text.num_attention_heads * width,
        key_width=keys * width,
    )


def scale(plan: StagePlan, strategy: Strategy, cluster: Cluster, heads: Attending) -> Scaled:
    """Return what a stage comes to.

    Each device keeps the micro-batch that it was planned with, so the step grows with the devices.

    Args:
        plan: of one device, or of as many as share a row.
        strategy: the devices.
        cluster: where they stand.
        heads: from `attending`.

    Raises:
        ConfigError: the GPU's speed is not known.
    """
    gpu = cluster.gpu
    top = gpu.float32_tflops if plan.setting.dtype == "float32" else gpu.bfloat16_tflops
    if not top:
        raise ConfigError(f"the speed of {gpu.name!r} is not known. Name a GPU with --gpu.")
    memory = plan.memory(strategy)
    grown = strategy.data_devices / (plan.setting.devices // plan.setting.sequence)
    flops = plan.traced.flops * plan.mean_share * plan.accumulate / strategy.sequence
    compute = flops / (top * 1e12 * cluster.share_of_peak)
    exchange = exchange_seconds(plan, strategy, cluster, heads)
    seconds = max(compute, exchange)
    tokens = plan.tokens_per_step * grown
    seen = plan.histogram
    mean_tokens = seen.figures["tokens"].mean if seen else 0.0
    kept = plan.sizes.weights + 2 * plan.sizes.trainable
    return Scaled(
        strategy=strategy,
        peak=memory.peak,
        fits=memory.peak <= gpu.usable,
        compute_seconds=compute,
        exchange_seconds=exchange,
        tokens_per_second=tokens / seconds,
        tower_share=plan.traced.tower_flops / plan.traced.flops,
        samples_per_second=tokens / seconds / mean_tokens if mean_tokens else 0.0,
        checkpoint_bytes=kept,
        checkpoint_seconds=kept / (cluster.disk_gb_s * 1e9),
    )


def exchange_seconds(
    plan: StagePlan, strategy: Strategy, cluster: Cluster, heads: Attending
) -> float:
    """Return the time of what a device sends in a step.

    A ring over several machines is as fast as its slowest link.
    """
    inside = cluster.gpu.link_gb_s * 1e9
    outside = min(inside, cluster.network_gb_s * 1e9)
    one_machine = strategy.devices <= strategy.per_machine
    link = inside if one_machine else outside
    weights, gradients = plan.sizes.computed, plan.sizes.trainable
    micro = plan.accumulate
    part = (strategy.shards - 1) / strategy.shards
    match strategy.sharing:
        case Sharing.SINGLE:
            seconds = 0.0
        case Sharing.DDP:
            seconds = 2 * gradients * _ring(strategy.devices) / link
        case Sharing.ZERO2:
            seconds = (weights + gradients) * part * micro / link
        case Sharing.FSDP:
            seconds = (2 * weights + gradients) * part * micro / link
        case Sharing.HSDP:
            seconds = (2 * weights + gradients) * part * micro / inside
            copies = strategy.devices // strategy.per_machine
            seconds += 2 * gradients / strategy.shards * _ring(copies) / outside
    return seconds + _sequence_bytes(plan, strategy, heads) / (
        inside if strategy.sequence <= strategy.per_machine else outside
    )


def _ring(devices: int) -> float:
    return (devices - 1) / devices


def _sequence_bytes(plan: StagePlan, strategy: Strategy, heads: Attending) -> float:
    """Return the bytes that Ulysses sends from one device in a step."""
    tokens = plan.traced.tokens * plan.accumulate / strategy.sequence
    width = 2 * heads.query_width + 2 * heads.key_width
    size = 4 if plan.setting.dtype == "float32" else 2
    return 2 * heads.layers * tokens * width * size * _ring(strategy.sequence)

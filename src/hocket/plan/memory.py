"""What each device holds under each way of sharing a run among devices.

Letters: W weights, G gradients and O optimizer state of all parameters that train, in bytes; N
devices that share them; A what a step makes beside them.

* ``single``: W + O + A, where gradients come up while activations go (`Traced.with_gradients`).
  AdamW keeps two moments of each parameter that trains, in its number format, so O = 2 G
  (Loshchilov and Hutter, 2019; `torch.optim.AdamW`).
* ``mixed`` on devices that hold whole weights is torch's autocast: the copies of the weights in the
  narrow format, W / 2, are among what a step makes (`hocket.plan.narrow`).
* ``ddp``: beside that G once more, the buckets that gradients are exchanged in
  (`torch.nn.parallel.DistributedDataParallel` without ``gradient_as_bucket_view``).
* ``zero2``: W computed with stays whole through a step, what rests is shared: (W + G + O) / N + W'
  (Rajbhandari et al., ZeRO, 2020, section 5; FSDP2 with ``reshard_after_forward=False``).
* ``fsdp``: (W + G + O) / N; the block that computes and the one behind it are gathered, and what
  lies in no block is throughout (ZeRO-3, section 5.3; torch's FSDP2).
* ``hsdp``: ``fsdp`` inside each machine, every machine a copy.
* sequence parallel of degree S: activations and logits are those of T / S tokens.
* offload: shares rest in host memory; the device keeps what is gathered and a block's gradients.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from enum import StrEnum

from hocket._errors import ConfigError
from hocket.plan.trace import Sizes, Traced


class Sharing(StrEnum):
    """What devices share."""

    SINGLE = "single"
    DDP = "ddp"
    ZERO2 = "zero2"
    FSDP = "fsdp"
    HSDP = "hsdp"


IN_SHARES = (Sharing.ZERO2, Sharing.FSDP, Sharing.HSDP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Strategy:
    """How devices share a run.

    Attributes:
        sharing: what they share.
        devices: how many there are.
        per_machine: how many stand in one machine.
        sequence: how many share the tokens of a row.
        offload: whether shares rest in host memory.

    Raises:
        ConfigError: the numbers do not go together.
    """

    sharing: Sharing = Sharing.SINGLE
    devices: int = 1
    per_machine: int = 8
    sequence: int = 1
    offload: bool = False

    def __post_init__(self) -> None:
        """Check that the devices can be divided so."""
        if self.devices % self.sequence:
            raise ConfigError(
                f"{self.devices} devices cannot be cut into groups of {self.sequence} that share "
                "a row. Change --gpus or --sequence."
            )
        if self.sharing is Sharing.HSDP and self.devices % self.per_machine:
            raise ConfigError(
                f"hsdp wants whole machines of {self.per_machine} devices, found {self.devices} "
                "devices. Change --gpus or --per-machine."
            )
        if self.offload and self.sharing not in IN_SHARES:
            raise ConfigError(
                f"only shares rest in host memory, and {self.sharing} has none. Use --strategy "
                "fsdp with --offload."
            )

    @property
    def shards(self) -> int:
        """Devices that hold one copy of the weights together."""
        if self.sharing is Sharing.HSDP:
            return self.per_machine
        return self.devices if self.sharing in IN_SHARES else 1

    @property
    def data_devices(self) -> int:
        """Into how many parts the rows of a step are cut."""
        return self.devices // self.sequence

    @property
    def name(self) -> str:
        """How people call it."""
        return f"{self.sharing} + offload" if self.offload else str(self.sharing)


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes of one device, by part.

    Attributes:
        weights: of them those that rest, and those gathered for computing.
        gradients: gradients at the end of the backward pass, buckets included.
        optimizer: state of the optimizer.
        activations: kept between forward and backward pass.
        logits: of the head and the loss.
        buffers: buffers of the model and the batch.
        peak: most bytes at once; less than the sum, as gradients come when activations go.
        host: what rests in host memory.
    """

    weights: float
    gradients: float
    optimizer: float
    activations: float
    logits: float
    buffers: float
    peak: float
    host: float = 0.0


def memory_of(
    sizes: Sizes,
    traced: Traced,
    strategy: Strategy,
    *,
    accumulate: int = 1,
    scale: float = 1.0,
) -> Memory:
    """Return what each device holds.

    Args:
        sizes: the model.
        traced: a micro-batch of one device, before a row is shared.
        strategy: how devices share the run.
        accumulate: micro-batches of a step; above 1 all gradients stay through a whole pass.
        scale: measured over traced bytes of a step, see `hocket.plan.measure`.
    """
    weights, gradients = float(sizes.weights), float(sizes.trainable)
    optimizer, standing, host = 2 * gradients, 0.0, 0.0
    part = scale / strategy.sequence
    together = strategy.sharing not in IN_SHARES
    if strategy.sharing is Sharing.DDP:
        standing = gradients
    if not together:
        weights, gradients, optimizer, host = _in_shares(sizes, strategy)
    apart = traced.without_gradients * part + gradients
    made = apart
    if together and accumulate == 1:
        # Gradients come up while activations go; measured are both of them.
        made = min(traced.with_gradients * part, apart)
    buffers = float(sizes.buffers + traced.inputs)
    return Memory(
        weights=weights,
        gradients=gradients + standing,
        optimizer=optimizer,
        activations=traced.activations * part,
        logits=traced.logits * part,
        buffers=buffers,
        peak=weights + max(optimizer + standing + made, optimizer + standing + gradients) + buffers,
        host=host,
    )


def _in_shares(sizes: Sizes, strategy: Strategy) -> tuple[float, float, float, float]:
    """Return the bytes of weights, gradients, optimizer and of what rests in host memory."""
    rest = sizes.weights / strategy.shards
    shares = sizes.trainable / strategy.shards
    gathered = sizes.computed
    if strategy.sharing is not Sharing.ZERO2:
        gathered = min(sizes.root + 2 * sizes.block, sizes.computed)
    # The gradients of a block are whole until they are added up over the devices.
    whole = float(min(sizes.block, sizes.trainable))
    if strategy.offload:
        return float(gathered), whole, 0.0, rest + 3 * shares
    return rest + gathered, shares + whole, 2 * shares, 0.0


def by_part(memory: Memory) -> dict[str, float]:
    """Return the bytes of each part by name."""
    return {name: float(value) for name, value in asdict(memory).items()}

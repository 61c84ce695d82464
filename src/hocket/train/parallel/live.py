"""The model as a stage trains it, beside the whole model that is saved.

Without shares they are one and the same.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from hocket.model.modeling import HocketForConditionalGeneration
from hocket.model.sequence.proof import share_rows
from hocket.tokens.processor import HocketProcessor
from hocket.train.aside import move
from hocket.train.optim import build_optimizer
from hocket.train.parallel import Sharding
from hocket.train.parallel.blocks import compile_blocks, recompute
from hocket.train.parallel.deepspeed import engine_options
from hocket.train.parallel.fsdp import ShardedModel, cut_into_shares, gathered
from hocket.train.parallel.join import MediaJoin
from hocket.train.parallel.watchdog import Watchdog
from hocket.train.parallel.zero import ZeroAdamW, ZeroModel
from hocket.train.recipe import Recipe
from hocket.train.runtime import Runtime
from hocket.train.state import OptimizerTensors, optimizer_tensors
from hocket.train.trainable import Trainable


class Live:
    """What trains, in shares if the recipe says so.

    Attributes:
        model: what the loop and the optimizer see.
        whole: what is saved; the same without shares.

    Args:
        whole: the model as the stage has prepared it: adapters, what trains, modes. Without FSDP it
            is moved to the device.
        processor: makes the blank media of ranks that lack some.
        runtime: this process.
        recipe: says how weights and rows are shared.
        out: the run's folder.
        left: towers that stay where they are without FSDP, since they may not be used.

    Raises:
        AlignmentError: the language model cannot share rows.
        ConfigError: a part cannot compute its activations again.
    """

    def __init__(
        self,
        whole: HocketForConditionalGeneration,
        processor: HocketProcessor,
        runtime: Runtime,
        recipe: Recipe,
        out: Path,
        *,
        left: Sequence[str] = (),
    ) -> None:
        self._runtime, self._recipe, self.whole = runtime, recipe, whole
        runtime.watchdog = None
        if recipe.watchdog_seconds > 0:
            runtime.watchdog = Watchdog(out, rank=runtime.rank, seconds=recipe.watchdog_seconds)
        recompute(whole, recipe.gradient_checkpointing)
        self._shares: ShardedModel | ZeroModel | None = None
        self.model = whole
        runtime.join = runtime.zero = None
        if recipe.sharding is Sharding.FSDP:
            whole.to("cpu")
            self._shares = ShardedModel(
                whole, world=runtime.world, device=runtime.device, spec=recipe.fsdp
            )
            self.model = self._shares.live
            runtime.join = MediaJoin(runtime, processor, self.model)
        elif recipe.sharding is Sharding.DEEPSPEED:
            whole.to("cpu")
            options = engine_options(recipe, width=whole.lm_head.in_features, tell=runtime.is_main)
            self._shares = runtime.zero = ZeroModel(whole, options=options)
            self.model = self._shares.live
            runtime.join = MediaJoin(runtime, processor, self.model, every=True)
        else:
            move(whole, runtime.device, but=left)
        if runtime.sequence is not None:
            share_rows(self.model, runtime.sequence)
            if self._shares is not None:
                self._shares.in_shares()
        if recipe.compile_blocks:
            compile_blocks(self.model)

    def optimizer(
        self, chosen: list[Trainable], *, betas: tuple[float, float]
    ) -> torch.optim.Optimizer:
        """Return AdamW over what trains of `model`; every process calls it.

        Args:
            chosen: the stage's groups.
            betas: decay rates.
        """
        plain = build_optimizer(self.model, chosen, betas=betas)
        return self._shares.start(plain) if isinstance(self._shares, ZeroModel) else plain

    @property
    def in_shares(self) -> bool:
        """Whether the model trains in shares."""
        return self._shares is not None

    def gather(self) -> None:
        """Bring the whole model up to date; every process calls it."""
        self._runtime.note("gathering weights for a checkpoint")
        if self._shares is not None:
            self._shares.gather()

    def close(self) -> None:
        """Stop watching, at the end of the stage or behind an error."""
        if self._runtime.watchdog is not None:
            self._runtime.watchdog.close()
        if isinstance(self._shares, ZeroModel):
            self._shares.close()

    def scatter(self) -> None:
        """Take the whole model's weights over, after they were read from a checkpoint."""
        if self._shares is not None:
            self._shares.scatter()

    def frozen_copy(self, tensors: Mapping[str, Tensor]) -> nn.Module:
        """Return a model that does not train, placed as `model` is; every process calls it.

        Args:
            tensors: name in `whole` -> what the copy holds there. What does not train is the
                model's own, except in shares.
        """
        fixed = {id(one): one for one in self.whole.parameters() if not one.requires_grad}
        frozen = copy.deepcopy(self.whole, {} if self.in_shares else dict(fixed))
        frozen.eval().requires_grad_(False)
        own = dict(frozen.named_parameters())
        with torch.no_grad():
            for name, value in tensors.items():
                own[name].copy_(value)
        if self.in_shares:
            runtime = self._runtime
            cut_into_shares(
                frozen, world=runtime.world, device=runtime.device, spec=self._recipe.fsdp
            )
            if runtime.sequence is not None:
                share_rows(frozen, runtime.sequence)
        return frozen

    def moments(self, optimizer: torch.optim.Optimizer) -> OptimizerTensors:
        """Return the optimizer's tensors whole; every process calls it, the first keeps them."""
        known = optimizer_tensors(optimizer)
        if isinstance(optimizer, ZeroAdamW):
            return known._replace(tensors=optimizer.moments())
        if self._shares is None:
            return known
        kept = {}
        for name, value in known.tensors.items():
            whole = gathered(value)
            if self._runtime.is_main:
                # One by one to the host: a device never holds more than one of them whole.
                kept[name] = whole.cpu()
        return known._replace(tensors=kept)

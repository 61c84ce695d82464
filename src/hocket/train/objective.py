"""What a step's loss is a mean over: all supervised tokens alike, or weighted parts.

With weights for parts, the loss is the weighted sum of each part's own mean, such as 0.5 x text +
0.3 x vision + 0.2 x audio, over the whole global step. Whatever the weights, the plain loss of each
source and medium is kept for the log. All of it has a weight of its own beside the losses of heads,
see `hocket.train.heads`. Source of the weighted parts: the VITA development guide.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from hocket._errors import ConfigError
from hocket.chat.states import STATES
from hocket.data.decoder import MEDIA, SampleNote, StepBatches
from hocket.model.config import HocketConfig
from hocket.model.loss import LossOptions
from hocket.tokens.batch import IGNORED, Batch
from hocket.train.heads import HeadTerms
from hocket.train.recipe import LossSpec, Stage
from hocket.train.runtime import Runtime


class Learned(NamedTuple):
    """What one micro-batch adds to a step.

    Attributes:
        loss: its share of the step's loss, ().
        samples: float32 (E,), the summed loss of each sample.
        rewards: float32 (P, 2) of the chosen and the rejected answer of each pair, if there are.
        heads: float32 (H, 3) as of `HeadLosses.each`, where heads had something to tell.
    """

    loss: Tensor
    samples: Tensor
    rewards: Tensor | None = None
    heads: Tensor | None = None


class Outcome(NamedTuple):
    """What the log says of a step; the names are those of `Report`."""

    parts: dict[str, float]
    accuracy: dict[str, float]
    rewards: dict[str, float]


class Objective:
    """What a stage learns: weights of the labels of each step, losses of sources and media.

    Args:
        stage: its settings.
        sources: data set of the stage -> how much its tokens count.
        tokenizer: knows the state tokens.
        config: of the model, which heads need.

    Raises:
        ConfigError: a part is unknown, a weight is below 0, or state tokens are to be weighted
            that the tokenizer does not have as single tokens.
    """

    def __init__(
        self,
        stage: Stage,
        sources: Mapping[str, float],
        tokenizer: PreTrainedTokenizerBase,
        config: HocketConfig | None = None,
    ) -> None:
        self.stage = stage
        self.heads = HeadTerms(stage.loss, config)
        self._spec = spec = stage.loss
        self.sources = sources
        self._names = [*(f"source/{name}" for name in sorted(sources)), *MEDIA]
        self._places = {name: at for at, name in enumerate(self._names)}
        for part, weight in spec.parts.items():
            if f"medium/{part}" not in MEDIA or not weight >= 0:
                known = ", ".join(name.partition("/")[2] for name in MEDIA)
                raise ConfigError(
                    f"loss.parts.{part} is {weight}, expected one of {known} with 0 or more."
                )
        if not spec.state_weight > 0:
            raise ConfigError(f"loss.state_weight is {spec.state_weight}, expected above 0.")
        self._states = _state_ids(tokenizer) if spec.state_weight != 1 else []

    def weigh(self, step: StepBatches, runtime: Runtime) -> tuple[list[Tensor], Tensor]:
        """Return how much each label of each batch counts, (B, T), and their sum over ranks, ()."""
        weights = [
            self._of_batch(batch, notes)
            for batch, notes in zip(step.micro, step.notes, strict=True)
        ]
        if self._spec.parts:
            weights = self._by_part(step, weights, runtime)
            whole = torch.ones((), dtype=torch.float64, device=runtime.device)
        else:
            sums = [_sum(batch, one) for batch, one in zip(step.micro, weights, strict=True)]
            whole = runtime.sum_over_ranks(sum(sums))
        if self._spec.text != 1:
            # Behind their sum: the mean itself gets a weight.
            weights = [weight * self._spec.text for weight in weights]
        return weights, whole

    def learn(
        self, model: nn.Module, inputs: Mapping[str, Any], weights: Tensor, whole: Tensor
    ) -> Learned:
        """Run a micro-batch.

        Args:
            model: the policy.
            inputs: the batch on the model's device, what heads learn of it, and options of the
                forward pass.
            weights: how much its parts count, as `weigh` returned them.
            whole: their sum over the step and all ranks.
        """
        output = model(
            **inputs,
            loss_weights=weights,
            num_items_in_batch=whole.to(torch.float32),
            loss_only=True,
        )
        heads = output.head_losses if self.stage.loss.heads else None
        return Learned(output.loss, output.sample_losses, heads=heads)

    def outcome(self, step: StepBatches, learned: Sequence[Learned], runtime: Runtime) -> Outcome:
        """Return what the log says of a step, over all ranks."""
        losses = [one.loss.detach() for one in learned]
        told = self.heads.told(losses, [one.heads for one in learned], runtime)
        means = self.means(step, [one.samples for one in learned], runtime)
        return Outcome(means | told.losses, told.accuracy, self.rewards(learned, runtime))

    def rewards(self, learned: Sequence[Learned], runtime: Runtime) -> dict[str, float]:
        """Return means of the rewards over the step's pairs on all ranks; none without pairs."""
        return {}

    def means(
        self, step: StepBatches, samples: Sequence[Tensor], runtime: Runtime
    ) -> dict[str, float]:
        """Return the plain mean loss of each source and medium that the step has on any rank.

        Args:
            step: the step.
            samples: float32 (E,) summed losses of the samples of each micro-batch.
            runtime: adds up over ranks.
        """
        sums = torch.zeros(2, len(self._names), dtype=torch.float64)
        for batch, notes, losses in zip(step.micro, step.notes, samples, strict=True):
            # A sample behind the last label of a batch has no entry.
            costs = torch.zeros(len(notes), dtype=torch.float64)
            costs[: len(losses)] = losses.double().cpu()[: len(notes)]
            counts = _counts(batch, len(notes))
            for note, cost, count in zip(notes, costs, counts, strict=True):
                for name in (f"source/{note.source}", note.medium):
                    sums[:, self._places[name]] += torch.stack([cost, count])
        total, count = runtime.sum_over_ranks(sums.to(runtime.device)).cpu()
        return {
            name: float(total[at] / count[at]) for name, at in self._places.items() if count[at]
        }

    def _of_batch(self, batch: Batch, notes: Sequence[SampleNote]) -> Tensor:
        """Return the weight of each label from its sample and, for states, its token, (B, T)."""
        of_sample = torch.tensor(
            [note.weight * self.sources[note.source] for note in notes], dtype=torch.float32
        )
        weights = of_sample[batch["sample_index"]]
        for token in self._states:
            weights = torch.where(
                batch["labels"] == token, weights * self._spec.state_weight, weights
            )
        return weights

    def _by_part(
        self, step: StepBatches, weights: Sequence[Tensor], runtime: Runtime
    ) -> list[Tensor]:
        """Divide each label's weight by the sum of its part's, over the whole step."""
        parts = [
            torch.tensor([MEDIA.index(note.medium) for note in notes])[batch["sample_index"]]
            for batch, notes in zip(step.micro, step.notes, strict=True)
        ]
        sums = torch.zeros(len(MEDIA), dtype=torch.float64)
        for batch, weight, part in zip(step.micro, weights, parts, strict=True):
            wanted = batch["labels"][:, 1:] != IGNORED
            sums.index_add_(0, part[:, 1:][wanted], weight[:, 1:][wanted].double())
        sums = runtime.sum_over_ranks(sums.to(runtime.device)).cpu()
        share = torch.tensor([self._spec.parts.get(one.partition("/")[2], 1.0) for one in MEDIA])
        scale = (share / sums.clamp(min=1e-12)).float()
        return [weight * scale[part] for weight, part in zip(weights, parts, strict=True)]


def loss_options(spec: LossSpec, tokenizer: PreTrainedTokenizerBase) -> LossOptions:
    """Return what is added to the cross entropy, with the ids of this tokenizer.

    Raises:
        ConfigError: time tokens are to be soft, but the tokenizer has none.
    """
    vocabulary: Mapping[str, int] = tokenizer.get_vocab()
    first, count = vocabulary.get("<t0>", -1), 0
    while vocabulary.get(f"<t{count}>", -1) == first + count and first >= 0:
        count += 1
    if spec.moment_std and not count:
        raise ConfigError(
            "loss.moment_std is set, but the model has no time tokens. Set model.tokenizer.moments."
        )
    return LossOptions(
        label_smoothing=spec.label_smoothing,
        z_loss=spec.z_loss,
        moment_first=first,
        moments=count,
        moment_std=spec.moment_std,
    )


def _state_ids(tokenizer: PreTrainedTokenizerBase) -> list[int]:
    found = [tokenizer.encode(state, add_special_tokens=False) for state in STATES]
    if any(len(ids) != 1 for ids in found):
        raise ConfigError(
            "loss.state_weight is set, but the tokenizer writes state tokens as several. Use a "
            "tokenizer that has them, such as Qwen2's."
        )
    return [ids[0] for ids in found]


def _sum(batch: Batch, weights: Tensor) -> float:
    wanted = batch["labels"][:, 1:] != IGNORED
    return float(weights[:, 1:][wanted].sum(dtype=torch.float64))


def _counts(batch: Batch, samples: int) -> Tensor:
    """Return the supervised tokens of each sample, float64 (E)."""
    wanted = batch["labels"][:, 1:] != IGNORED
    owners = batch["sample_index"][:, 1:][wanted]
    return torch.bincount(owners, minlength=samples).double()

"""What a stage of preferences learns: to find the chosen answer likelier than the rejected one.

The loss of a pair compares how far the policy has moved from a reference on either answer, in
log-probabilities summed over the answer's tokens. Its mean over all pairs of the global step is the
loss, whichever way the step is cut. Sources: DPO (Rafailov et al. 2023), its conservative form with
label smoothing (Mitchell 2023), IPO (Azar et al. 2023) over mean log-probabilities, as TRL has it.

The reference is the policy as it was when the stage began. Where nothing but fresh adapters trains
it is the model without them; else a copy, which shares every frozen tensor with the model.

Letters: P pairs, E = 2 P samples of a batch, the halves of a pair side by side, chosen first.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import torch
from einops import rearrange
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from transformers import PreTrainedTokenizerBase

from hocket._errors import ConfigError
from hocket.checkpoint.manifest import verify_directory, write_directory
from hocket.data.decoder import SampleNote, StepBatches
from hocket.model.adapters.attach import without_adapters
from hocket.model.adapters.kinds import is_residual
from hocket.model.modeling import HocketForConditionalGeneration
from hocket.tokens.batch import IGNORED
from hocket.train.objective import Learned, Objective, loss_options
from hocket.train.parallel.live import Live
from hocket.train.recipe import LossSpec, PreferenceKind, PreferenceSpec, ReferenceKind, Stage
from hocket.train.runtime import Runtime

FOLDER = "reference"
_FILE = "trained.safetensors"


class StageStart(NamedTuple):
    """How a stage begins.

    Attributes:
        folder: where a copy of its reference is kept.
        resumed: whether it has been begun before.
        inherited: adapters that were trained before the stage.
        runtime: the processes, of which one writes.
    """

    folder: Path
    resumed: bool
    inherited: Collection[str]
    runtime: Runtime


class Reference:
    """The policy that another one is held against; always in evaluation mode.

    Args:
        frozen: a model of its own; None switches the adapters of the policy off.
    """

    def __init__(self, frozen: nn.Module | None = None) -> None:
        self._frozen = frozen

    def costs(self, policy: nn.Module, inputs: Mapping[str, Any]) -> Tensor:
        """Return the summed loss of each sample, float32 (E), without a gradient."""
        model = self._frozen or policy
        training = [module for module in model.modules() if module.training]
        with torch.no_grad(), nullcontext() if self._frozen else without_adapters(policy):
            model.eval()
            try:
                return model(**inputs, loss_only=True).sample_losses
            finally:
                for module in training:
                    module.training = True


class PreferenceObjective(Objective):
    """What a stage of preferences learns.

    Args:
        stage: its settings, `Stage.preference` among them.
        sources: data set of the stage -> how much its pairs count.
        tokenizer: as of `Objective`.
        reference: what the policy is held against; None for none.
    """

    def __init__(
        self,
        stage: Stage,
        sources: Mapping[str, float],
        tokenizer: PreTrainedTokenizerBase,
        reference: Reference | None,
    ) -> None:
        super().__init__(stage, sources, tokenizer)
        assert stage.preference is not None
        self._preference = stage.preference
        self._reference = reference

    def weigh(self, step: StepBatches, runtime: Runtime) -> tuple[list[Tensor], Tensor]:
        """Return how much each pair of each batch counts, (P,), and their sum over ranks, ()."""
        weights = [self._of_pairs(notes) for notes in step.notes]
        total = sum(float(one.sum(dtype=torch.float64)) for one in weights)
        return weights, runtime.sum_over_ranks(total)

    def learn(
        self, model: nn.Module, inputs: Mapping[str, Any], weights: Tensor, whole: Tensor
    ) -> Learned:
        """Return what a batch of pairs adds to the step's loss, and the rewards of each answer."""
        output = model(**inputs, loss_only=True)
        policy = output.sample_losses
        reference = self._reference.costs(model, inputs) if self._reference else 0.0
        # A loss is a negative log-probability.
        ratios = rearrange(reference - policy, "(pairs half) -> pairs half", half=2)
        lengths = _lengths(inputs["labels"], inputs["sample_index"], len(policy))
        losses = pair_losses(ratios, self._preference, lengths=lengths)
        # Where every weight is 0 there is nothing to divide by.
        share = (losses * weights).sum() / torch.where(whole > 0, whole, 1.0).float()
        # A batch in which nothing that trains took part still owes the others its zero gradients.
        loss = share + 0.0 * output.loss
        rewards = (self._preference.beta * ratios).detach()
        return Learned(loss, policy.detach(), rewards)

    def rewards(self, learned: Sequence[Learned], runtime: Runtime) -> dict[str, float]:
        """Return means over the step's pairs on all ranks.

        Returns:
            ``chosen`` and ``rejected``: beta times how much likelier an answer has become;
            ``margin``: their difference; ``accuracy``: share of pairs whose margin is above 0.
        """
        each = torch.cat([one.rewards for one in learned if one.rewards is not None]).double()
        margin = each[:, 0] - each[:, 1]
        columns = (each[:, 0], each[:, 1], margin, (margin > 0).double(), torch.ones_like(margin))
        sums = runtime.sum_over_ranks(torch.stack([column.sum() for column in columns]))
        means = (sums[:-1] / sums[-1]).tolist()
        return dict(zip(("chosen", "rejected", "margin", "accuracy"), means, strict=True))

    def _of_pairs(self, notes: Sequence[SampleNote]) -> Tensor:
        return torch.tensor(
            [note.weight * self.sources[note.source] for note in notes[::2]], dtype=torch.float32
        )


def pair_losses(ratios: Tensor, spec: PreferenceSpec, *, lengths: Tensor) -> Tensor:
    """Return the loss of each pair, float32 (P,).

    Args:
        ratios: (P, 2) log-probability of the chosen and the rejected answer, less the reference's.
        spec: which loss.
        lengths: (P, 2) learned tokens of the answers.
    """
    if spec.kind is PreferenceKind.IPO:
        means = ratios / lengths
        return (means[:, 0] - means[:, 1] - 1 / (2 * spec.beta)).square()
    margin = spec.beta * (ratios[:, 0] - ratios[:, 1])
    right, wrong = nn.functional.logsigmoid(margin), nn.functional.logsigmoid(-margin)
    return -(1 - spec.label_smoothing) * right - spec.label_smoothing * wrong


def open_objective(
    live: Live,
    stage: Stage,
    sources: Mapping[str, float],
    tokenizer: PreTrainedTokenizerBase,
    start: StageStart,
) -> Objective:
    """Return what a stage learns and set the model's ``loss_options`` for it.

    Args:
        live: the policy, its trainable parameters chosen.
        stage: its settings.
        sources: data set of the stage -> how much its tokens, or pairs, count.
        tokenizer: as of `Objective`.
        start: how the stage begins.

    Raises:
        ConfigError: an option is out of its range, or does not fit the others.
        CheckpointError: the copy of the reference is missing or damaged.
        MachineError: it cannot be written.
    """
    options = loss_options(stage.loss, tokenizer)
    if stage.preference is None:
        live.model.loss_options = options
        return Objective(stage, sources, tokenizer, live.model.config)
    check_preference(stage.preference, stage.loss)
    live.model.loss_options = replace(options, compare_samples=True)
    reference = open_reference(live, stage.preference, start)
    return PreferenceObjective(stage, sources, tokenizer, reference)


def open_reference(live: Live, spec: PreferenceSpec, start: StageStart) -> Reference | None:
    """Return the reference of a stage; a resumed stage gets the very one that it began with.

    A copy is kept beside the run, as far as it differs from the model: `StageStart.folder` holds
    the tensors that train as they were before the first step.

    Args:
        live: the policy, its trainable parameters chosen.
        spec: the stage's options.
        start: how the stage begins.

    Raises:
        ConfigError: the adapters cannot be switched off to find the reference.
        CheckpointError: the copy is missing or damaged.
        MachineError: it cannot be written.
    """
    kind, folder, runtime = spec.reference, start.folder, start.runtime
    model = live.whole
    if kind is ReferenceKind.NONE:
        return None
    trained = {name for name, value in model.named_parameters() if value.requires_grad}
    obstacle = _obstacle(model, trained, start.inherited)
    if obstacle and kind is ReferenceKind.ADAPTERS:
        raise ConfigError(
            f"preference.reference is 'adapters', but {obstacle}, so the model without adapters is "
            "not the policy that the stage began with. Set it to 'copy'."
        )
    # A stage goes on with what it began with, whatever is known of its adapters by now.
    kept = start.resumed and folder.exists()
    if kind is not ReferenceKind.COPY and not obstacle and not kept:
        if runtime.is_main:
            shutil.rmtree(folder, ignore_errors=True)
        return Reference()
    if not start.resumed and runtime.is_main:
        begun = {name: value for name, value in model.named_parameters() if name in trained}
        write_directory(folder, partial(_write, tensors=begun))
    runtime.wait()
    verify_directory(folder)
    return Reference(live.frozen_copy(load_file(folder / _FILE)))


def _obstacle(
    model: HocketForConditionalGeneration, trained: set[str], inherited: Collection[str]
) -> str:
    """Return why the model without its adapters is not the policy of before; empty if it is."""
    adapted = {name for one in model.adapters.values() for name in one.trainable}
    if others := sorted(trained - adapted):
        return f"{others[0]} trains too"
    for name, one in model.adapters.items():
        if is_residual(one.spec.kind, one.spec.options):
            return f"the adapter {name!r} ({one.spec.kind}) has taken something from the weights"
        if name in inherited:
            return f"the adapter {name!r} was trained before"
    return ""


def _write(folder: Path, *, tensors: Mapping[str, Tensor]) -> None:
    save_file(
        {name: value.detach().contiguous() for name, value in tensors.items()}, folder / _FILE
    )


def check_preference(spec: PreferenceSpec, loss: LossSpec) -> None:
    """Check the options of a stage of preferences.

    Raises:
        ConfigError: one is out of its range, or belongs to supervised stages.
    """
    if not spec.beta > 0:
        raise ConfigError(f"preference.beta is {spec.beta}, expected above 0; 0.1 is usual.")
    if not 0 <= spec.label_smoothing < 0.5:
        raise ConfigError(
            f"preference.label_smoothing is {spec.label_smoothing}, expected 0 to below 0.5: the "
            "share of pairs whose answers are the wrong way round."
        )
    if spec.label_smoothing and spec.kind is not PreferenceKind.DPO:
        raise ConfigError("preference.label_smoothing is for kind: dpo alone. Remove it.")
    if loss != LossSpec():
        raise ConfigError(
            "the stage has both 'loss' and 'preference', and a preference has a loss of its own. "
            "Remove the options under 'loss'."
        )


def _lengths(labels: Tensor, samples: Tensor, count: int) -> Tensor:
    """Return the learned tokens of each answer, (P, 2)."""
    owners = samples[:, 1:][labels[:, 1:] != IGNORED]
    counts = torch.bincount(owners, minlength=count)
    return rearrange(counts, "(pairs half) -> pairs half", half=2)

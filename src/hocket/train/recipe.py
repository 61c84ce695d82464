"""What a training run is, as plain data: stages in order, each with data and a budget."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from hocket._errors import UnknownNameError
from hocket.data.spec import FeatureDtype
from hocket.model.adapters import AdapterSpec
from hocket.model.sequence import SequenceSpec
from hocket.train.parallel import ComputeDtype, FsdpSpec, Sharding


class Schedule(StrEnum):
    """Shape of the learning rate after the warm-up.

    ``flat_linear`` stays at the peak for half of the steps and falls linearly to `final_share`.
    """

    CONSTANT = "constant"
    LINEAR = "linear"
    COSINE = "cosine"
    FLAT_LINEAR = "flat_linear"


class FeaturePolicy(StrEnum):
    """Whether a stage takes features of frozen towers from the disk."""

    AUTO = "auto"
    ON = "on"
    OFF = "off"

    @classmethod
    def _missing_(cls, value: object) -> FeaturePolicy | None:
        """Take what YAML makes of ``on`` and ``off``."""
        if value is True:
            return cls.ON
        return cls.OFF if value is False else None


class OnNan(StrEnum):
    """What happens to a batch whose loss or gradient is not finite; its step is never taken.

    ``skip`` leaves the batch out, ``rollback`` also goes back to the last checkpoint, ``halt``
    stops the run. Where the weights themselves are not finite any more, ``skip`` goes back too.
    """

    SKIP = "skip"
    ROLLBACK = "rollback"
    HALT = "halt"


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Parameters that train together.

    Attributes:
        match: name of a part, such as ``language``, ``vision`` or ``vision.last_block``, or a
            shell-style pattern on parameter names, such as ``model.vision_tower.*``.
        lr: peak learning rate.
        weight_decay: decoupled weight decay; never applied to biases, norms and embeddings.
        schedule: shape of this group's learning rate; null takes the stage's.
        warmup_steps: steps of this group's warm-up; null takes the stage's.
    """

    match: str
    lr: float
    weight_decay: float = 0.0
    schedule: Schedule | None = None
    warmup_steps: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter(AdapterSpec):
    """An adapter that trains.

    Attributes:
        lr: peak learning rate.
        weight_decay: decoupled weight decay.
    """

    lr: float = 2e-4
    weight_decay: float = 0.0


class HeadMedia(StrEnum):
    """Which media a head tells; ``vision`` is pictures and videos."""

    VISION = "vision"
    IMAGE = "image"
    VIDEO = "video"
    AUDIO = "audio"


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadSpec:
    """A linear classifier of media, which trains beside the words of a stage.

    Attributes:
        label: key of the data's rows that holds the class of their media: a number from 0 to below
            `classes` for all of them, or a list with one for each. -100, null and rows without the
            key are not learned.
        classes: number of classes.
        weight: weight of the mean loss of all labels of a step.
        media: ``vision``, ``image``, ``video`` or ``audio``; null takes the head's name.
        lr: peak learning rate of the classifier itself.
        weight_decay: decoupled weight decay of it.
    """

    label: str
    classes: int
    weight: float = 1.0
    media: HeadMedia | None = None
    lr: float = 1e-3
    weight_decay: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class LossSpec:
    """What the loss of a stage is made of.

    Attributes:
        label_smoothing: share of the probability that the target gives to all tokens alike.
        z_loss: weight of the squared logarithm of the softmax's sum; 1e-4 is usual.
        moment_std: spread of the target around a time token, in tokens; 0 for hard targets.
        state_weight: how much VITA's state tokens count, beside 1 for others.
        parts: weight of the mean loss of each kind of sample: ``text``, ``vision``, ``audio`` and
            ``both``, 1 where one is missing; empty takes one mean over all tokens.
        text: weight of the language model's loss, whatever it is a mean over, beside `heads`.
        heads: name -> classifier of media whose loss is added.
    """

    label_smoothing: float = 0.0
    z_loss: float = 0.0
    moment_std: float = 0.0
    state_weight: float = 1.0
    parts: dict[str, float] = field(default_factory=dict)
    text: float = 1.0
    heads: dict[str, HeadSpec] = field(default_factory=dict)


class PreferenceKind(StrEnum):
    """Which loss compares a chosen and a rejected answer."""

    DPO = "dpo"
    IPO = "ipo"


class ReferenceKind(StrEnum):
    """What a policy of preferences is held against.

    ``adapters`` switches the adapters off, ``copy`` keeps the trained tensors as they were when the
    stage began, ``auto`` takes the first where it is exact, ``none`` learns without.
    """

    AUTO = "auto"
    ADAPTERS = "adapters"
    COPY = "copy"
    NONE = "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class PreferenceSpec:
    """How a stage learns from pairs of a chosen and a rejected answer.

    Attributes:
        kind: ``dpo`` or ``ipo``.
        beta: how dear it is to move away from the reference.
        label_smoothing: share of pairs that are thought to be the wrong way round (cDPO).
        reference: what the policy is held against.
    """

    kind: PreferenceKind = PreferenceKind.DPO
    beta: float = 0.1
    label_smoothing: float = 0.0
    reference: ReferenceKind = ReferenceKind.AUTO


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """One stage of a recipe.

    Attributes:
        data: data set names -> weight of each in an epoch.
        mixture: the same as an expression or the name of one in ``data.mixtures``, in its place.
        trainable: group name -> parameters that train; everything else is frozen.
        train_modules: the same in one line, in its place: ``visual_tokenizer.head:1e-4|llm:2e-5``.
        lr: peak learning rate of items of `train_modules` that name none.
        weight_decay: weight decay of all items of `train_modules`.
        loss: what the loss is made of.
        preference: learn from pairs of answers, read with ``dpo``; null learns every answer.
        adapters: name -> adapter that is added to a part and trains; one that the next stage does
            not name again is merged into the weights.
        steps: optimizer steps; 0 takes as many as `epochs` needs.
        epochs: how often the data are seen, where `steps` is 0.
        rows: packed rows in the global batch of one optimizer step.
        tokens_per_row: length of a packed row in tokens.
        patches_per_row: patches that a row may give the vision tower; 0 for no limit.
        audio_frames_per_row: encoder frames that a row may give the audio tower; 0 for no limit.
        packing: whether samples share rows; off gives each a row of its own beside others of about
            its cost, for language models that cannot keep packed samples apart.
        accumulate: micro-batches that one optimizer step is cut into.
        warmup_steps: steps of linear warm-up.
        warmup_share: the same as a share of the stage's steps, in its place; 0 takes the steps.
        schedule: shape of the learning rate after the warm-up.
        final_share: learning rate at the end, as a share of the peak.
        max_norm: gradient norm above which gradients are scaled down.
        feature_cache: whether features of frozen towers come from the disk; null takes the run's.
    """

    data: dict[str, float] = field(default_factory=dict)
    mixture: str = ""
    trainable: dict[str, Group] = field(default_factory=dict)
    train_modules: str = ""
    lr: float = 2e-5
    weight_decay: float = 0.0
    adapters: dict[str, Adapter] = field(default_factory=dict)
    loss: LossSpec = field(default_factory=LossSpec)
    preference: PreferenceSpec | None = None
    steps: int = 0
    epochs: float = 0.0
    rows: int = 8
    tokens_per_row: int = 512
    patches_per_row: int = 0
    audio_frames_per_row: int = 0
    packing: bool = True
    accumulate: int = 1
    warmup_steps: int = 30
    warmup_share: float = 0.0
    schedule: Schedule = Schedule.FLAT_LINEAR
    final_share: float = 0.03
    max_norm: float = 1.0
    feature_cache: FeaturePolicy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A whole run.

    Attributes:
        stages: stage name -> stage, in the order in which they run.
        only: the one stage that runs, from the checkpoint of the stages before it in the run's
            folder or else from the start; empty runs all.
        seed: seed of the data order, the augmentations and dropout.
        betas: AdamW's decay rates.
        save_every: optimizer steps between checkpoints; 0 saves at the end of each stage only.
        keep: checkpoints kept; the newest is never deleted.
        workers: processes that decode media; 0 decodes in the training process.
        pool: samples the packer may look ahead to fill a row.
        cache_mb: memory for decoded media, in megabytes; 0 decodes each time.
        stop_after_minutes: time in a stage after which the run saves and stops with code 124, to
            be started again; 0 sets no limit.
        monitor_step: steps between records of every parameter in ``monitor.jsonl`` and histograms;
            the first also reports what ought to train and has not moved. 0 for neither.
        log_every: steps between norms of gradients, updates and embeddings in the log; 0 for none.
        report_to: writers beside ``log.jsonl``: ``tensorboard``, ``wandb``.
        dashboard: port of this machine on which the run shows a page of itself; 0 shows none.
            ``dashboard.html`` in the run's folder is written in any case.
        previews: questions that the model answers at each save; 0 for none.
        eval_every: optimizer steps of a stage between evaluations, whose scores are curves in
            ``dashboard.html``; 0 evaluates only afterwards, with ``hocket eval``.
        eval_tasks: what is asked then: names of tasks or patterns; none asks the held-out rows.
        eval_data: folder with a folder for each task; empty asks their twins.
        eval_limit: questions of each at most.
        on_nan: what happens to a batch whose loss or gradient is not finite: ``halt``, ``skip`` or
            ``rollback``; its samples are listed in ``bad_batches.jsonl``.
        init_from: checkpoint directory whose weights the first stage starts from.
        sequence_parallel: how many processes share the tokens of a row.
        sharding: what processes share beside that: ``none``, ``ddp``, ``fsdp`` or ``deepspeed``.
        fsdp: options of ``fsdp``.
        compute_dtype: number format that the model computes in: ``float32`` or ``bfloat16``;
            weights, gradients and moments keep theirs, the same at each start of the run.
        gradient_checkpointing: parts whose activations are computed again in the backward pass, of
            ``language``, ``vision``, ``video`` and ``audio``.
        compile_blocks: whether torch.compile makes each layer fast.
        deepspeed: a JSON file of DeepSpeed's, whose options take the place of the ones above; with
            ``sharding: deepspeed`` DeepSpeed itself reads it.
        watchdog_seconds: time without a finished step after which each process writes its stacks
            into the run's folder and ends with code 86; 0 waits for ever.
        feature_cache: whether features of frozen towers come from the disk: ``on``, ``off``, or
            ``auto`` where that saves time.
        feature_dtype: number format of these features.
    """

    stages: dict[str, Stage]
    only: str = ""
    seed: int = 0
    betas: tuple[float, float] = (0.9, 0.98)
    save_every: int = 0
    keep: int = 2
    workers: int = 0
    pool: int = 64
    cache_mb: int = 256
    stop_after_minutes: float = 0.0
    monitor_step: int = 100
    log_every: int = 10
    report_to: list[str] = field(default_factory=list)
    dashboard: int = 0
    previews: int = 4
    eval_every: int = 0
    eval_tasks: list[str] = field(default_factory=list)
    eval_data: str = ""
    eval_limit: int = 64
    on_nan: OnNan = OnNan.HALT
    init_from: str = ""
    sequence_parallel: SequenceSpec = field(default_factory=SequenceSpec)
    sharding: Sharding = Sharding.DDP
    fsdp: FsdpSpec = field(default_factory=FsdpSpec)
    compute_dtype: ComputeDtype = ComputeDtype.FLOAT32
    gradient_checkpointing: list[str] = field(default_factory=list)
    compile_blocks: bool = False
    deepspeed: str = ""
    watchdog_seconds: float = 0.0
    feature_cache: FeaturePolicy = FeaturePolicy.AUTO
    feature_dtype: FeatureDtype = FeatureDtype.BFLOAT16

    def to_run(self) -> dict[str, Stage]:
        """Return the stages that run: all of them, or the one that `only` names.

        Raises:
            UnknownNameError: no stage has that name.
        """
        if not self.only:
            return self.stages
        if self.only not in self.stages:
            raise UnknownNameError("stage", self.only, self.stages)
        return {self.only: self.stages[self.only]}

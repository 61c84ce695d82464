"""The parts of `benchmarks/gpu.py`: each makes its model on the device and tells what it found."""

from __future__ import annotations

import inspect
import statistics
import time
from collections.abc import Callable
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from typing import Any

import torch
from engine import questions, together
from peers.assets import SIZES, model_spec
from techniques.bench import at_supervised
from techniques.device import ALL, Kit, Setting, data_of, matrix_rate, work, write
from techniques.step import fused_loss
from torch import Tensor
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    LlavaConfig,
    LlavaForConditionalGeneration,
    Trainer,
    TrainerCallback,
    TrainingArguments,
)

from hocket import Engine, Sampling
from hocket.data.spec import DataSpec
from hocket.infer.options import EngineOptions
from hocket.model.build import build
from hocket.model.documents import attend_alone
from hocket.tokens.batch import pack_batch, pad_batch
from hocket.train.loop import Report
from hocket.train.optim import build_optimizer
from hocket.train.parallel import ComputeDtype
from hocket.train.parallel.blocks import compile_blocks
from hocket.train.recipe import FeaturePolicy, Recipe, Stage
from hocket.train.run import Run, train
from hocket.train.state import TrainState
from hocket.train.trainable import select_trainable, set_modes

WARM = 3
VARLEN = "benchmark_varlen"


@dataclass(frozen=True)
class Variant:
    """A way to train.

    Attributes:
        attention: ``mask``, ``varlen``, ``flex`` or, on CPUs, ``documents``.
        compiled: whether blocks are compiled.
        fused: whether the loss is `techniques.step.LinearLoss`.
        narrow: whether weights, gradients and moments are bfloat16.
        on: ``cuda``, ``cpu`` or ``both``: where it can be done.
    """

    attention: str
    compiled: bool = False
    fused: bool = False
    narrow: bool = False
    on: str = "cuda"


VARIANTS = {
    "mask": Variant("mask", on="both"),
    "documents": Variant("documents", on="cpu"),
    "varlen": Variant("varlen"),
    "varlen, compiled": Variant("varlen", compiled=True),
    "mask, compiled, fused loss": Variant("mask", compiled=True, fused=True, on="both"),
    "varlen, compiled, bfloat16 weights": Variant("varlen", compiled=True, narrow=True),
    "flex": Variant("flex"),
    "varlen, fused loss": Variant("varlen", fused=True),
}


def told(kit: Kit, seconds: list[float], losses: list[float], **more: Any) -> dict[str, Any]:
    """Return a part's result: speed of the counted steps, memory, and the rate of matrices."""
    step = statistics.median(seconds[WARM:])
    return {
        "step_s": step,
        "tokens_per_s": kit.tokens / step,
        "spread": (max(seconds[WARM:]) - min(seconds[WARM:])) / step,
        "first_step_s": seconds[0],
        "peak_mb": kit.setting.peak_mb(),
        "losses": losses[:3],
        "matrix_flops_per_s": matrix_rate(kit.setting),
        **more,
    }


def training(setting: Setting, variant: Variant) -> dict[str, Any]:
    """Make full steps of hocket's model on packed rows."""
    kit = Kit(setting)
    model = kit.model()
    if variant.narrow:
        model.to(torch.bfloat16)
    batch = kit.on_device(pack_batch(kit.rows, pad_id=kit.pad()))
    batch.pop("sample_index")
    labels = batch.pop("labels")
    chosen = select_trainable(model, ALL)
    set_modes(model)
    optimizer = build_optimizer(model, chosen, betas=(0.9, 0.98))
    set_attention(model, variant.attention, batch["position_ids"])
    if variant.compiled:
        compile_blocks(model)
    loss_of = fused_loss if variant.fused else at_supervised
    seconds, losses = [], []
    eager = nullcontext() if setting.gpu else torch.compiler.set_stance("force_eager")
    with eager:
        for _ in range(WARM + setting.shape[2]):
            setting.wait()
            began = time.perf_counter()
            with setting.computing():
                hidden = model.model(**batch, use_cache=False).last_hidden_state
                loss = loss_of(hidden, labels, model.lm_head)
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            losses.append(float(loss.detach()))
            setting.wait()
            seconds.append(time.perf_counter() - began)
    return told(kit, seconds, losses)


def set_attention(model: Any, kind: str, positions: Tensor) -> None:
    """Set how packed samples are kept apart."""
    if kind == "documents":
        assert attend_alone(model)
    elif kind == "flex":
        model.set_attn_implementation({"text_config": "flex_attention"})
    elif kind == "varlen":
        register_varlen(positions)
        model.set_attn_implementation({"text_config": VARLEN})


def register_varlen(positions: Tensor) -> None:
    """Make torch's kernel for samples of unequal length known, for rows with these positions."""
    from torch.nn.attention.varlen import varlen_attn

    flat = positions.flatten()
    starts = torch.nonzero(flat == 0).flatten()
    bounds = torch.cat([starts, starts.new_tensor([len(flat)])]).to(torch.int32)
    longest = int(bounds.diff().max())
    names = inspect.signature(varlen_attn).parameters
    # torch 2.10 calls it so.
    causal = {"window_size": (-1, 0)} if "window_size" in names else {"is_causal": True}

    def attend(
        module: Any, query: Tensor, key: Tensor, value: Tensor, mask: Any, **options: Any
    ) -> tuple[Tensor, None]:
        rows, heads, length, width = query.shape
        times = heads // key.shape[1]
        if times > 1:
            key, value = (one.repeat_interleave(times, dim=1) for one in (key, value))
        first, second, third = (
            one.transpose(1, 2).reshape(-1, heads, width).to(torch.bfloat16)
            for one in (query, key, value)
        )
        out = varlen_attn(first, second, third, bounds, bounds, longest, longest, **causal)
        assert isinstance(out, Tensor)  # nothing beside it was asked for
        return out.view(rows, length, heads, width).to(value.dtype), None

    AttentionInterface.register(VARLEN, attend)
    AttentionMaskInterface.register(VARLEN, lambda *_, **__: None)


class Clock(TrainerCallback):  # type: ignore[misc] # transformers ships no types
    """Notes the end of each step of the Trainer."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self.ends = [time.perf_counter()]

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """Note a step."""
        self._setting.wait()
        self.ends.append(time.perf_counter())


def trainer(setting: Setting) -> dict[str, Any]:
    """Train transformers' model on the same samples, padded."""
    kit = Kit(setting)
    config = LlavaConfig(
        vision_config=kit.config.vision_config,
        text_config=kit.config.text_config,
        image_token_index=kit.config.image_token_id,
        vision_feature_layer=-2,
        vision_feature_select_strategy="default",
    )
    torch.manual_seed(0)
    with torch.device(setting.device):
        model = LlavaForConditionalGeneration(config)
    batch: dict[str, Any] = dict(pad_batch(kit.examples, pad_id=kit.pad(), side="right"))
    batch.pop("image_spans")
    clock, steps = Clock(setting), WARM + setting.shape[2]
    arguments = TrainingArguments(
        output_dir=str(setting.folder / "trainer"),
        per_device_train_batch_size=len(kit.examples),
        max_steps=steps,
        learning_rate=1e-4,
        lr_scheduler_type="constant",
        optim="adamw_torch_fused",
        logging_steps=1,
        disable_tqdm=True,
        save_strategy="no",
        report_to="none",
        bf16=setting.gpu,
        use_cpu=not setting.gpu,
        remove_unused_columns=False,
        dataloader_pin_memory=False,
    )
    run = Trainer(
        model=model,
        args=arguments,
        train_dataset=list(range(steps * len(kit.examples))),
        data_collator=lambda _: dict(batch),
        callbacks=[clock],
    )
    run.train()
    seconds = [after - before for before, after in zip(clock.ends, clock.ends[1:], strict=False)]
    losses = [one["loss"] for one in run.state.log_history if "loss" in one]
    padding = 1 - float(batch["attention_mask"].float().mean())
    return told(kit, seconds, losses, padding=padding)


def generation(setting: Setting) -> dict[str, Any]:
    """Return tokens per second of the engine and of `generate`, at so many requests."""
    kit = Kit(setting)
    model = kit.model().eval()
    if setting.gpu:
        model.to(torch.bfloat16)
    counts, tokens = ((1, 8, 64), 128) if setting.gpu else ((1, 2), 3)
    options = EngineOptions(
        max_rows=max(counts), prefix_mb=0, encoder_mb=0, kv_mb=32_768 if setting.gpu else 256
    )
    engine = Engine(model, kit.processor, options)
    sampling = Sampling(max_new_tokens=tokens, min_new_tokens=tokens)
    found: dict[str, Any] = {"new_tokens": tokens}
    for count in counts:
        asked = questions(count)
        runs: dict[str, list[float]] = {"engine": [], "generate": []}
        for number in range(3 if setting.gpu else 2):
            fast = together(engine, asked, sampling).tokens_per_s
            plain = batch_generate(kit, model, asked, tokens)
            if number:  # the first of each warms up
                runs["engine"].append(fast)
                runs["generate"].append(plain)
        found[str(count)] = {way: statistics.median(speeds) for way, speeds in runs.items()}
    return found | {"peak_mb": setting.peak_mb()}


def batch_generate(kit: Kit, model: Any, asked: list[Any], tokens: int) -> float:
    """Return the tokens per second of transformers' `generate` over one padded batch."""
    kit.setting.wait()
    began = time.perf_counter()
    examples = [kit.processor.encode(one, for_answer=True) for one in asked]
    batch = kit.on_device(pad_batch(examples, pad_id=kit.pad(), side="left"))
    batch.pop("labels")
    with torch.inference_mode():
        out = model.generate(**batch, max_new_tokens=tokens, min_new_tokens=tokens, do_sample=False)
    kit.setting.wait()
    made = out.numel() - batch["input_ids"].numel()
    return float(made / (time.perf_counter() - began))


class BrokenOffError(Exception):
    """What ends a run in the middle of a step."""


def resume(setting: Setting) -> dict[str, Any]:
    """Return how far the losses of a run that broke off are from one that did not."""
    folder, size = setting.folder / "resume", "bench" if setting.gpu else "tiny"
    write(folder, SIZES[size], 24)
    stage = Stage(data={"rows": 1.0}, trainable=ALL, steps=4, rows=1, tokens_per_row=1536)
    recipe = Recipe(
        stages={"one": stage},
        save_every=2,
        feature_cache=FeaturePolicy.OFF,
        compute_dtype=ComputeDtype.BFLOAT16 if setting.gpu else ComputeDtype.FLOAT32,
    )

    def losses(out: str, until: int) -> dict[int, float]:
        found: dict[int, float] = {}

        def note(state: TrainState, report: Report) -> None:
            found[state.step] = report.loss
            if state.step == until:
                raise BrokenOffError

        data = DataSpec(datasets={"rows": data_of(folder)})
        built = build(model_spec(SIZES[size], folder / "tokenizer"))
        with suppress(BrokenOffError):
            train(Run(recipe=recipe, data=data, out=setting.folder / out), *built, [note])
        return found

    whole, broken, rest = losses("whole", 0), losses("broken", 3), losses("broken", 0)
    worst = max(abs(whole[step] - loss) for step, loss in (broken | rest).items())
    return {"model": size, "went_on_at": min(rest), "loss_difference": worst, "losses": whole}


def part_of(setting: Setting, name: str) -> dict[str, Any]:
    """Return what a part found."""
    others: dict[str, Callable[[Setting], dict[str, Any]]] = {
        "work": work,
        "trainer": trainer,
        "generation": generation,
        "resume": resume,
    }
    return others[name](setting) if name in others else training(setting, VARIANTS[name])

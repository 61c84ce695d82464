"""Techniques of forward and backward: packing, attention, the loss, towers, what is frozen."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import torch
from techniques.bench import Bench, Found, Pair, Technique, at_supervised
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from hocket.model import loss as hocket_loss
from hocket.model.documents import attend_alone, attend_together
from hocket.tokens.batch import IGNORED
from hocket.tokens.span import Modality


def packing(bench: Bench) -> Pair:
    """Compare one packed row with a padded row for each sample."""
    bench.train("*")
    return Pair(lambda: bench.step(bench.packed), lambda: bench.step(bench.padded), _padding(bench))


def _padding(bench: Bench) -> Any:
    mask = bench.padded["attention_mask"]
    return lambda: f"{1 - float(mask.float().mean()):.0%} of the padded rows is padding"


def documents(bench: Bench) -> Pair:
    """Compare attention of each sample by itself with transformers' mask over the row."""
    bench.train("*")

    def masked() -> Found:
        attend_together(bench.model)
        try:
            return bench.step(bench.packed)
        finally:
            attend_alone(bench.model)

    return Pair(lambda: bench.step(bench.packed), masked)


def supervised(bench: Bench) -> Pair:
    """Compare logits at supervised positions with all logits."""
    bench.train("*")

    def at_all(hidden: Tensor, labels: Tensor, head: nn.Module) -> Tensor:
        logits = head(hidden)[:, :-1].flatten(0, 1).float()
        return nn.functional.cross_entropy(logits, labels[:, 1:].flatten(), ignore_index=IGNORED)

    def share() -> str:
        return f"{float((bench.packed['labels'] != IGNORED).float().mean()):.0%} supervised"

    plain = lambda: bench.step(bench.packed, loss=at_all)  # noqa: E731 # one of many like it
    return Pair(lambda: bench.step(bench.packed), plain, share)


def chunked(bench: Bench) -> Pair:
    """Compare a loss in chunks that are computed twice with one chunk."""
    bench.train("*")
    count = int((bench.packed["labels"][:, 1:] != IGNORED).sum())

    def cut(size: int) -> Found:
        with patch.object(hocket_loss, "CHUNK", size):
            return bench.step(bench.packed)

    vocab = bench.model.config.text_config.vocab_size
    quarter = -(-count // 4)
    saved = 3 * 4 * vocab * (count - quarter) / 2**20
    return Pair(lambda: cut(quarter), lambda: cut(count), lambda: f"{saved:.0f} MiB less at once")


class LinearLoss(torch.autograd.Function):
    """Cross entropy of a head, summed, whose forward pass makes both gradients (Liger's way)."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, matrix: Tensor, goals: Tensor, chunk: int) -> Tensor:
        """Return the sum, (), over states (N, D) and a head (V, D)."""
        for_states, for_matrix = torch.empty_like(states), torch.zeros_like(matrix)
        wide = torch.promote_types(matrix.dtype, torch.float32)
        total = states.new_zeros((), dtype=wide)
        for at in range(0, len(states), chunk):
            part, goal = slice(at, at + chunk), goals[at : at + chunk, None]
            raw = states[part] @ matrix.T
            logits = raw.to(wide)
            aim = logits.gather(1, goal)
            most = logits.amax(dim=1, keepdim=True)
            sums = logits.sub_(most).exp_().sum(dim=1, keepdim=True)
            total += (sums.log() - (aim - most)).sum()
            logits.div_(sums).scatter_add_(1, goal, torch.full_like(aim, -1.0))
            pull = logits.to(raw.dtype)
            for_states[part] = pull @ matrix.to(raw.dtype)
            if raw.dtype == matrix.dtype:
                for_matrix.addmm_(pull.T, states[part])
            else:
                for_matrix += pull.T @ states[part].to(raw.dtype)
        ctx.save_for_backward(for_states, for_matrix)
        return total

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Scale what is there already."""
        for_states, for_matrix = ctx.saved_tensors
        return for_states * grad, for_matrix * grad, None, None


def fused_loss(hidden: Tensor, labels: Tensor, head: Any, chunk: int = 2048) -> Tensor:
    """Return the mean loss by `LinearLoss`."""
    target = labels[:, 1:]
    wanted = target != IGNORED
    states = hidden[:, :-1][wanted]
    total: Tensor = LinearLoss.apply(states, head.weight, target[wanted], chunk)  # type: ignore[no-untyped-call] # torch gives none
    return total / max(1, len(states))


def fused(bench: Bench) -> Pair:
    """Compare the fused loss with hocket's in a whole step."""
    bench.train("*")
    mine = lambda: bench.step(bench.packed, loss=fused_loss)  # noqa: E731 # one of many like it
    return Pair(mine, lambda: bench.step(bench.packed))


def fused_alone(bench: Bench, dtype: torch.dtype) -> Pair:
    """Compare the fused loss with hocket's over states that are known."""
    states, labels = bench.hidden()
    head = nn.Linear(states.shape[-1], len(bench.model.lm_head.weight), bias=False, dtype=dtype)
    head.weight.data.copy_(bench.model.lm_head.weight)
    states = states.to(dtype).requires_grad_()

    def by(loss: Any) -> Found:
        with patch.object(Tensor, "float", lambda value: value.to(dtype)):
            total = loss(states, labels, head)
        for_states, for_head = torch.autograd.grad(total, (states, head.weight))
        return {"loss": total.detach(), "states": for_states, "head": for_head}

    return Pair(lambda: by(fused_loss), lambda: by(at_supervised))


def no_grad(bench: Bench) -> Pair:
    """Compare a frozen tower under ``no_grad`` with hocket's, which only has nothing to train."""
    bench.train("connector")
    pixels, rest = bench.packed["pixel_values"], _without(bench.packed, "pixel_values")

    def guarded() -> Found:
        with torch.no_grad():
            features = bench.model.model.encode(Modality.IMAGE, pixels, rest["image_spans"])
        return bench.step(rest | {"image_features": features})

    return Pair(guarded, lambda: bench.step(bench.packed))


def kept_graph(bench: Bench) -> Pair:
    """Compare a frozen tower that keeps nothing with one whose input asks for a gradient."""
    bench.train("connector")
    asking = bench.packed | {"pixel_values": bench.packed["pixel_values"].clone().requires_grad_()}
    return Pair(lambda: bench.step(bench.packed), lambda: bench.step(asking))


def together(bench: Bench) -> Pair:
    """Compare one call of the tower for a row with one for each picture."""
    bench.train("connector")
    pixels = bench.packed["pixel_values"]

    def alone() -> dict[str, Tensor]:
        return {"x": torch.cat([_encode(bench, one[None]) for one in pixels])}

    return Pair(lambda: {"x": _encode(bench, pixels)}, alone)


def once(bench: Bench) -> Pair:
    """Compare a tower that sees equal pictures once with one that sees all, each there twice."""
    bench.train("connector")
    pixels = torch.cat([bench.packed["pixel_values"]] * 2)

    def distinct() -> Found:
        places: dict[bytes, int] = {}
        names = [hashlib.sha256(one.numpy()).digest() for one in pixels]
        index = [places.setdefault(name, len(places)) for name in names]
        first = [index.index(number) for number in range(len(places))]
        return {"x": _encode(bench, pixels[first])[index]}

    def repeated() -> str:
        own = bench.packed["pixel_values"]
        return f"here {len(own) - len({one.numpy().tobytes() for one in own})} of {len(own)} repeat"

    return Pair(distinct, lambda: {"x": _encode(bench, pixels)}, repeated)


def memory_format(bench: Bench) -> Pair:
    """Compare pictures with channels last with those in usual order."""
    bench.train("connector")
    pixels = bench.packed["pixel_values"]
    last = pixels.contiguous(memory_format=torch.channels_last)
    return Pair(lambda: {"x": _encode(bench, last)}, lambda: {"x": _encode(bench, pixels)})


def frozen_weights(bench: Bench) -> Pair:
    """Compare frozen layers without weight gradients with ones that have them to no use."""

    def step(match: str) -> Found:
        bench.train(match)
        return bench.step(bench.packed)

    return Pair(lambda: step("connector"), lambda: step("*"))


def lowest(bench: Bench) -> Pair:
    """Compare a backward pass that ends where the upper half trains with one to the input."""
    layers = bench.model.model.language_model.layers
    for value in bench.model.parameters():
        value.requires_grad_(False)
    for layer in layers[len(layers) // 2 :]:
        layer.requires_grad_(True)

    @contextmanager
    def asking() -> Iterator[None]:
        # What PEFT and gradient checkpointing set by `enable_input_require_grads`.
        table = bench.model.get_input_embeddings()
        hook = table.register_forward_hook(lambda _, __, rows: rows.requires_grad_())
        try:
            yield
        finally:
            hook.remove()

    whole = lambda: bench.step(bench.packed, computing=asking())  # noqa: E731 # as above
    return Pair(lambda: bench.step(bench.packed), whole)


def cache(bench: Bench) -> Pair:
    """Compare features that are known with those that the frozen tower makes."""
    bench.train("connector")
    features = _encode(bench, bench.packed["pixel_values"])
    known = _without(bench.packed, "pixel_values") | {"image_features": features}
    return Pair(lambda: bench.step(known), lambda: bench.step(bench.packed))


def bfloat16(bench: Bench) -> Pair:
    """Compare bfloat16 by autocast with float32."""
    bench.train("*")
    narrow = lambda: bench.step(  # noqa: E731 # as above
        bench.packed, computing=torch.autocast("cpu", dtype=torch.bfloat16)
    )
    return Pair(narrow, lambda: bench.step(bench.packed))


def _encode(bench: Bench, pixels: Tensor) -> Tensor:
    with torch.no_grad():
        return bench.model.model.encode(Modality.IMAGE, pixels)


def _without(batch: dict[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in batch.items() if key != name}


LOSS = "tests/model/test_loss.py"
STEP = "tests/train/test_step_techniques.py"
TECHNIQUES = (
    Technique(
        "packed rows, not padded ones",
        "kept",
        "no position is padding",
        packing,
        tests=f"tests/model/test_packing.py, {STEP}",
    ),
    Technique(
        "each packed sample attended to by itself",
        "kept",
        "on CPUs; see gpu.py for GPUs",
        documents,
        tests="tests/model/test_documents.py",
    ),
    Technique(
        "logits at supervised positions",
        "kept",
        "prompts and media need none",
        supervised,
        tests=LOSS,
    ),
    Technique(
        "loss in 4 chunks, logits made twice",
        "option",
        "for memory, above 2,048 supervised positions",
        chunked,
        tests=LOSS,
    ),
    Technique(
        "fused linear cross entropy",
        "not kept",
        "nothing on `bench`, a few percent on `small`",
        fused,
    ),
    Technique(
        "the same, head and loss alone",
        "not kept",
        "saves passes over the logits; the products stay",
        lambda bench: fused_alone(bench, torch.float32),
        judged=False,
    ),
    Technique(
        "the same in float64",
        "not kept",
        "shows that the formula is right",
        lambda bench: fused_alone(bench, torch.float64),
        judged=False,
    ),
    Technique(
        "a frozen tower keeps nothing for the backward pass",
        "kept",
        "autograd sees to it",
        kept_graph,
        tests=STEP,
    ),
    Technique(
        "no_grad around a frozen tower", "not kept", "autograd keeps nothing anyway", no_grad
    ),
    Technique(
        "one call of the tower for a row's pictures",
        "kept",
        "larger matrices",
        together,
        tests=STEP,
    ),
    Technique(
        "equal pictures of a row encoded once (all are twice)",
        "not kept",
        "rare within a row; the cache keeps each once",
        once,
        judged=False,
    ),
    Technique("channels last", "not kept", "one convolution of a tower", memory_format),
    Technique(
        "no weight gradients in frozen layers",
        "kept",
        "frozen is `requires_grad=False`",
        frozen_weights,
        tests=STEP,
    ),
    Technique(
        "backward pass ends at the lowest layer that trains",
        "kept",
        "nothing asks for a gradient below",
        lowest,
        tests=STEP,
    ),
    Technique(
        "feature cache",
        "option",
        "`auto` decides by cost; see feature_cache.py",
        cache,
        tests="tests/train/test_features.py",
    ),
    Technique(
        "bfloat16 by autocast",
        "option",
        "pays where the processor has it",
        bfloat16,
        exact=False,
        tests="tests/train/test_precision.py",
    ),
)

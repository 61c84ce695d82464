"""Compares an imported checkpoint with what the original system recorded."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from hocket.chat.conversation import Conversation, Message, Part, Role, Text
from hocket.checkpoint.directory import Loaded, load_checkpoint
from hocket.media.image import Image
from hocket.media.video import Video
from hocket.tokens.batch import pad_batch
from hocket.tokens.span import Modality

GOLDEN = Path(__file__).parents[2] / "golden"
IMAGE = -200  # how the originals write a picture's place
TIE = 1e-3


def recorded(item: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the cases and the tensors of a recording."""
    cases = json.loads((GOLDEN / item / "cases.json").read_text("utf-8"))
    return cases, load_file(GOLDEN / item / "outputs.safetensors")


def reopen(folder: Path) -> Loaded:
    return load_checkpoint(folder)


def ask(loaded: Loaded, question: str, pictures: Sequence[Image | Video]) -> dict[str, Tensor]:
    """Return the batch of a question in which ``<image>`` stands for each picture or video."""
    queue = iter(pictures)
    parts: list[Part] = [
        next(queue) if one == "<image>" else Text(one)
        for one in re.split("(<image>)", question)
        if one
    ]
    talk = Conversation(id="0", messages=(Message(Role.USER, tuple(parts)),), source="test")
    example = loaded.processor.encode(talk, for_answer=True)
    pad = loaded.processor.tokenizer.pad_token_id
    batch = dict(pad_batch([example], pad_id=pad, side="left"))
    batch.pop("labels")
    return {name: value for name, value in batch.items() if value is not None}


def as_recorded(loaded: Loaded, ids: Tensor, rows: int) -> list[int]:
    """Return ids (1, T) with one `IMAGE` in the place of the `rows` placeholders of a picture."""
    image = loaded.processor.placeholder_ids[Modality.IMAGE]
    short: list[int] = []
    run = 0
    for token in ids[0].tolist():
        run = run + 1 if token == image else 0
        if token != image or run % rows == 1 or rows == 1:
            short.append(IMAGE if token == image else token)
    return short


def expand(loaded: Loaded, ids: Tensor, rows: int) -> Tensor:
    """Return recorded ids (1, T) with `rows` placeholders in the place of each `IMAGE`."""
    image = loaded.processor.placeholder_ids[Modality.IMAGE]
    return torch.tensor(
        [
            [
                one
                for token in ids[0].tolist()
                for one in ([image] * rows if token == IMAGE else [token])
            ]
        ]
    )


@torch.no_grad()
def logits_of(loaded: Loaded, batch: dict[str, Tensor]) -> Tensor:
    return loaded.model(**batch).logits


def difference(ours: Tensor, theirs: Tensor, stage: str = "") -> float:
    """Return the largest difference over the original's columns; note it for a stage."""
    found = float((ours[..., : theirs.shape[-1]] - theirs).abs().max())
    if stage:
        note(stage, found)
    return found


def note(stage: str, measured: float) -> None:
    """Write down what was measured, where ``python -m tests.compat`` asks for it."""
    log = os.environ.get("HOCKET_COMPAT_LOG")
    if log:
        test = os.environ["PYTEST_CURRENT_TEST"]
        line = json.dumps({"test": test, "stage": stage, "measured": measured})
        with Path(log).open("a", encoding="utf-8") as file:
            file.write(line + "\n")


@torch.no_grad()
def check_greedy(
    loaded: Loaded, batch: dict[str, Tensor], wanted: Sequence[int], margins: Sequence[float]
) -> None:
    """Check that greedy decoding gives the recorded tokens, up to the first tie."""
    made = loaded.model.generate(**batch, max_new_tokens=len(wanted), do_sample=False)
    ours = made[0, batch["input_ids"].shape[1] :].tolist()
    for step, (token, margin) in enumerate(zip(wanted, margins, strict=False)):
        if margin < TIE:
            break
        assert ours[step] == token, f"step {step}: {ours} for {list(wanted)}"
    note("greedy", 0.0)

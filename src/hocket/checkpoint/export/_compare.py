"""Open an export in the class it is meant for, and compare its answers with the checkpoint's.

Letters: T tokens, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor

from hocket._errors import CheckpointError
from hocket.checkpoint.directory import load_checkpoint
from hocket.checkpoint.export import Source, Verification

Inputs = dict[str, Any]
_UNOPENABLE = (OSError, ValueError, RuntimeError, TypeError, KeyError, SafetensorError)
TEXT = "\nWhat is this? Say it in 12 words."


def random_picture() -> np.ndarray:
    """Return a wide picture of noise, uint8 (60, 84, 3)."""
    return np.random.default_rng(7).integers(0, 256, (60, 84, 3), dtype=np.uint8)


def random_wave(rate: int) -> np.ndarray:
    """Return a second of quiet noise, float32 (rate,)."""
    return 0.1 * np.random.default_rng(7).standard_normal(rate, dtype=np.float32)


def question(source: Source, medium: str) -> str:
    """Return a question about a picture or a sound as the checkpoint's chat template writes it."""
    content = [{"type": medium}, {"type": "text", "text": TEXT}]
    return str(
        source.processor.apply_chat_template(
            [{"role": "user", "content": content}], add_generation_prompt=True, tokenize=False
        )
    )


def compare_answers(
    source: Source,
    twin: Any,
    media: Inputs,
    *,
    text: str,
    adapt: Callable[[Inputs], Inputs],
    theirs: Callable[[Inputs], Inputs] | None = None,
    remark: str = "",
) -> Verification:
    """Run the checkpoint and its export on one sample and compare the logits.

    Args:
        source: the checkpoint.
        twin: the export, opened.
        media: media of the sample as our processor takes them.
        text: text of the sample, with its placeholder.
        adapt: turns our inputs into those of the export's class.
        theirs: prepares the inputs with the export's own processor, beside ours; None where there
            is none.
        remark: what to say of that processor.
    """
    model = load_checkpoint(source.folder).model
    inputs: Inputs = dict(source.processor(text=[text], **media).items())
    with torch.inference_mode():
        ours = model(**inputs).logits[0]
    same = _gap(ours, _logits(twin, adapt(inputs)))
    own: float | None = None
    if theirs is not None:
        given = theirs(inputs)
        expected, found = adapt(inputs)["input_ids"], given["input_ids"]
        if torch.equal(expected, found):
            own = _gap(ours, _logits(twin, given))
        else:
            own = float("inf")
            remark = (
                f"it makes {found.shape[1]} tokens of the sample, the checkpoint's "
                f"{expected.shape[1]}, and they differ"
            )
    return Verification(
        opened_in=type(twin).__name__,
        same_inputs=same,
        own_inputs=own,
        largest=float(ours.abs().max()),
        remark=remark,
    )


def open_strictly(cls: Any, folder: Path) -> Any:
    """Open a folder with a class of transformers on the CPU: every tensor fits, and no other.

    Raises:
        CheckpointError: it does not open, or names differ.
    """
    try:
        model, report = cls.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, output_loading_info=True
        )
    except _UNOPENABLE as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise CheckpointError(f"{cls.__name__} does not open {folder}: {reason}.") from error
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if report[problem]:
            names = sorted(str(key) for key in report[problem])
            raise CheckpointError(
                f"{cls.__name__} opens {folder} with {problem.replace('_', ' ')}: "
                f"{', '.join(names[:3])} ({len(names)} in all)."
            )
    return model.eval()


def _logits(twin: Any, inputs: Inputs) -> Tensor:
    with torch.inference_mode():
        return twin(**inputs).logits[0]


def _gap(ours: Tensor, theirs: Tensor) -> float:
    """Return the largest difference of (T, V) logits; infinite when the lengths differ."""
    if ours.shape != theirs.shape:
        return float("inf")
    return float((ours - theirs).abs().nan_to_num(nan=torch.inf).max())

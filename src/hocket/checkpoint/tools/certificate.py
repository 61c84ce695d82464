"""A certificate of parity: what a checkpoint answers to a few fixed inputs, kept beside it.

Made when the checkpoint is saved, replayed wherever it is opened. The hash of the logits proves
that nothing changed on a machine like the first. Other machines, thread counts and versions round
otherwise, so samples of the logits themselves are kept too, with the distance that they may have.

Letters: T tokens, V vocabulary.
"""

from __future__ import annotations

import hashlib
import json
import platform
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hocket._errors import CheckpointError
from hocket.checkpoint.tools.tensors import CERTIFICATE
from hocket.model.modeling import HocketForConditionalGeneration
from hocket.tokens.processor import HocketProcessor

_VERSION = 1
_POSITIONS = 8
_TOKENS = 64
# Largest difference allowed elsewhere, as a share of the largest logit of the case: a few hundred
# roundings of each type.
_TOLERANCE = {torch.float64: 1e-6, torch.float32: 1e-4, torch.float16: 0.02, torch.bfloat16: 0.1}


@dataclass(frozen=True, slots=True)
class CaseResult:
    """One replayed case.

    Attributes:
        name: the media of the case, such as ``image``.
        inputs: whether tokens and encoder inputs have the recorded hash.
        exact: whether the logits have the recorded hash.
        most: largest difference of a sampled logit; infinite when the shapes differ.
        allowed: the largest difference that counts as equal.
    """

    name: str
    inputs: bool
    exact: bool
    most: float
    allowed: float

    @property
    def close(self) -> bool:
        """Whether the case passes: the same tokens, and logits that are near enough."""
        return self.exact or self.most <= self.allowed


@dataclass(frozen=True, slots=True)
class Replay:
    """A replayed certificate.

    Attributes:
        cases: one result for each case.
        made_on: versions and device of the machine that made the certificate.
        here: the same of this machine.
    """

    cases: tuple[CaseResult, ...]
    made_on: dict[str, str]
    here: dict[str, str]

    @property
    def close(self) -> bool:
        """Whether every case passes."""
        return all(one.close for one in self.cases)

    @property
    def exact(self) -> bool:
        """Whether every case gave the recorded bits."""
        return all(one.exact and one.inputs for one in self.cases)


def make_certificate(
    model: HocketForConditionalGeneration, processor: HocketProcessor
) -> dict[str, Any]:
    """Run a model on fixed inputs and return what ``certificate.json`` holds.

    The model runs where it is, in its own type, and is left as it was; no random state is touched.

    Args:
        model: the composite.
        processor: its processor.
    """
    training = model.training
    model.eval()
    try:
        cases = [
            _record(name, _logits(model, inputs), inputs)
            for name, inputs in _cases(processor).items()
        ]
    finally:
        model.train(training)
    return {
        "version": _VERSION,
        "dtype": str(model.dtype).removeprefix("torch."),
        "relative_tolerance": _TOLERANCE.get(model.dtype, 0.1),
        "made_on": _machine(model.device),
        "cases": cases,
    }


def write_certificate(
    folder: Path, model: HocketForConditionalGeneration, processor: HocketProcessor
) -> None:
    """Write ``certificate.json`` into an existing folder."""
    text = json.dumps(make_certificate(model, processor), indent=1)
    (folder / CERTIFICATE).write_text(text + "\n", encoding="utf-8")


def dtype_of(document: dict[str, Any]) -> str:
    """Return the type of the weights that a certificate was made with, such as ``float32``.

    Raises:
        CheckpointError: the certificate is damaged or of another version.
    """
    if document.get("version") != _VERSION:
        raise CheckpointError(
            f"{CERTIFICATE} has the version {document.get('version')!r}, expected {_VERSION}. "
            "Make it again with this version of hocket."
        )
    kinds = [str(kind).removeprefix("torch.") for kind in _TOLERANCE]
    if document.get("dtype") not in kinds:
        raise CheckpointError(
            f"{CERTIFICATE} names the type {document.get('dtype')!r}, expected one of "
            f"{', '.join(kinds)}. Make it again."
        )
    return str(document["dtype"])


def replay_certificate(
    document: dict[str, Any], model: HocketForConditionalGeneration, processor: HocketProcessor
) -> Replay:
    """Run the cases of a certificate again and compare.

    Args:
        document: what `make_certificate` returned.
        model: the model, in evaluation mode, where it shall run.
        processor: its processor.

    Raises:
        CheckpointError: the certificate is damaged, or lacks a case.
    """
    dtype_of(document)
    try:
        recorded = {case["name"]: case for case in document["cases"]}
        # A model opened in a coarser type than it was saved in may be as far off as that type is.
        share = max(float(document["relative_tolerance"]), _TOLERANCE.get(model.dtype, 0.1))
        results = [
            _compare(recorded[name], _logits(model, inputs), inputs, share)
            for name, inputs in _cases(processor).items()
        ]
        made_on = {str(key): str(value) for key, value in document["made_on"].items()}
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as error:
        raise CheckpointError(f"{CERTIFICATE} is damaged: {error}. Make it again.") from error
    return Replay(tuple(results), made_on, _machine(model.device))


def _cases(processor: HocketProcessor) -> dict[str, dict[str, Tensor]]:
    """Return name -> batch: text alone, and text with each medium that the model takes."""
    rng = np.random.default_rng(20)
    picture = rng.integers(0, 256, (60, 84, 3), dtype=np.uint8)
    frames = rng.integers(0, 256, (6, 48, 40, 3), dtype=np.uint8)
    media: dict[str, dict[str, Any]] = {"text": {}}
    if processor.images:
        media["image"] = {"images": [picture]}
    if processor.sampler:
        media["video"] = {"videos": [frames]}
    if processor.sounds:
        wave = 0.1 * rng.standard_normal(processor.sounds.rate, dtype=np.float32)
        media["audio"] = {"audio": [wave]}
    return {
        name: dict(processor(text=[_text(name)], **given).items()) for name, given in media.items()
    }


def _text(name: str) -> str:
    placeholder = "" if name == "text" else f"<{name}>\n"
    return f"{placeholder}What is this? Say it in 12 words."


def _logits(model: HocketForConditionalGeneration, inputs: dict[str, Tensor]) -> Tensor:
    """Return float32 (T, V) on the CPU."""
    there = {
        name: value.to(model.device, model.dtype if value.is_floating_point() else value.dtype)
        for name, value in inputs.items()
        if name != "frame_times"
    }
    if "frame_times" in inputs:
        there["frame_times"] = inputs["frame_times"].to(model.device)
    with torch.inference_mode():
        return model(**there, use_cache=False).logits[0].float().cpu()


def _record(name: str, logits: Tensor, inputs: dict[str, Tensor]) -> dict[str, Any]:
    positions, tokens = _sampled(logits)
    return {
        "name": name,
        "inputs_sha256": _hash(inputs),
        "logits_sha256": _hash({"logits": logits}),
        "shape": list(logits.shape),
        "positions": positions,
        "tokens": tokens,
        "logits": logits[positions][:, tokens].tolist(),
    }


def _compare(
    case: dict[str, Any], logits: Tensor, inputs: dict[str, Tensor], share: float
) -> CaseResult:
    known = torch.tensor(case["logits"])
    most = float("inf")
    if list(logits.shape) == case["shape"]:
        gap = (logits[case["positions"]][:, case["tokens"]] - known).abs()
        most = float(gap.nan_to_num(nan=torch.inf).max())
    return CaseResult(
        name=case["name"],
        inputs=_hash(inputs) == case["inputs_sha256"],
        exact=_hash({"logits": logits}) == case["logits_sha256"],
        most=most,
        allowed=share * float(known.abs().max()),
    )


def _sampled(logits: Tensor) -> tuple[list[int], list[int]]:
    """Return positions and token ids, spread evenly, whose logits are kept."""
    spread = [np.linspace(0, size - 1, min(size, most)) for size, most in _sizes(logits)]
    positions, tokens = (sorted({round(float(at)) for at in one}) for one in spread)
    return positions, tokens


def _sizes(logits: Tensor) -> list[tuple[int, int]]:
    return list(zip(logits.shape, (_POSITIONS, _TOKENS), strict=True))


def _hash(tensors: dict[str, Tensor]) -> str:
    total = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        total.update(json.dumps([name, str(value.dtype), list(value.shape)]).encode())
        total.update(value.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return total.hexdigest()


def _machine(device: torch.device) -> dict[str, str]:
    return asdict(
        _Machine(
            device=device.type,
            processor=platform.machine(),
            threads=str(torch.get_num_threads()),
            torch=version("torch"),
            transformers=version("transformers"),
        )
    )


@dataclass(frozen=True)
class _Machine:
    """What bits of logits depend on beside the weights."""

    device: str
    processor: str
    threads: str
    torch: str
    transformers: str

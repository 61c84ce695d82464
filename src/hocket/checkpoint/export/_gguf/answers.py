"""What written GGUF files answer beside the checkpoint, in transformers and in llama.cpp itself."""

from __future__ import annotations

import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile
import torch
from PIL import Image as Pil
from transformers import AutoConfig, AutoModelForCausalLM

from hocket import _env
from hocket._errors import CheckpointError
from hocket.checkpoint.directory import load_checkpoint
from hocket.checkpoint.export import Source, Verification
from hocket.checkpoint.export._compare import (
    TEXT,
    Inputs,
    compare_answers,
    random_picture,
)
from hocket.checkpoint.export._gguf.audio import marks_around_sound
from hocket.checkpoint.export._gguf.language import FAMILIES
from hocket.checkpoint.export._gguf.server import Server, served
from hocket.tokens.tokenizer import AUDIO, IMAGE

_TOKENS = 16
_RATE = 16000
# A share of the largest logit that the rounding of all matrices explains.
_CLOSE = {"f32": 1e-3, "f16": 1e-2, "bf16": 5e-2, "q8_0": 1e-1}


class Prompt(NamedTuple):
    """A question to both.

    Attributes:
        name: what is in it.
        text: what we are given.
        media: its media as our processor takes them.
        files: its media as files.
    """

    name: str
    text: str
    media: Inputs
    files: list[bytes]


class Agreement(NamedTuple):
    """What a prompt made llama.cpp and the checkpoint say.

    Attributes:
        name: what was in the prompt.
        same: tokens of llama.cpp's answer up to the first that the checkpoint would not have said.
        said: tokens of llama.cpp's answer.
        gap: largest difference of a token's log probability among `same`.
        theirs: tokens of the prompt in llama.cpp.
        ours: tokens of the prompt here.
    """

    name: str
    same: int
    said: int
    gap: float
    theirs: int
    ours: int

    def __str__(self) -> str:
        """Say it in half a line."""
        sizes = f", {self.theirs} prompt tokens for {self.ours}" if self.theirs != self.ours else ""
        return f"{self.name} {self.same} of {self.said} tokens ({self.gap:.1e}{sizes})"


def compare_text(source: Source, file: Path, *, numbers: str, remark: str) -> Verification:
    """Open the language model's file with transformers and compare logits of a text.

    Args:
        source: the checkpoint.
        file: the language model's file.
        numbers: type of its matrices.
        remark: what else is known.

    Raises:
        CheckpointError: transformers cannot read it.
    """
    try:
        twin = AutoModelForCausalLM.from_pretrained(
            file.parent,
            gguf_file=file.name,
            config=_config(source),
            dtype=torch.float32,
            local_files_only=True,
        ).eval()
    except (OSError, ValueError, RuntimeError, KeyError, TypeError) as error:
        reason = str(error).strip().partition("\n")[0].rstrip(".")
        raise CheckpointError(f"transformers cannot read {file}: {reason}.") from error
    found = compare_answers(source, twin, {}, text=TEXT, adapt=_text_inputs, remark=remark)
    return Verification(
        opened_in=f"{found.opened_in}, from {file.name}",
        same_inputs=found.same_inputs,
        own_inputs=None,
        largest=found.largest,
        remark=remark,
        close=_CLOSE[numbers],
    )


def _config(source: Source) -> Any:
    """Return the configuration of the family that llama.cpp runs the language model as."""
    fields = source.config.text_config.to_dict()
    return AutoConfig.for_model(FAMILIES[fields.pop("model_type")], **fields)


def compare_greedy(source: Source, model: Path, mmproj: Path | None) -> str:
    """Ask llama.cpp a text, a picture and a sound, and say how far the checkpoint agrees.

    Args:
        source: the checkpoint.
        model: file of the language model.
        mmproj: file of the towers, or None.

    Raises:
        CheckpointError: the server does not start or answer.
    """
    program = _env.llama_server() or shutil.which("llama-server")
    if program is None:
        return "llama-server is neither in HOCKET_LLAMA_SERVER nor on the PATH, so was not asked"
    files = ["-m", str(model)] + (["--mmproj", str(mmproj)] if mmproj else [])
    with served(program, files) as server:
        found = list(agreements(source, server))
    return "llama-server's answers: " + ", ".join(map(str, found))


def agreements(source: Source, server: Server) -> Iterator[Agreement]:
    """Yield how far both agree, for each kind of prompt that the checkpoint takes."""
    model = load_checkpoint(source.folder).model.to(torch.float32)
    for prompt in _prompts(source):
        marked = prompt.text.replace(IMAGE, server.marker)
        for mark in marks_around_sound(source):
            marked = marked.replace(mark, "")
        marked = marked.replace(AUDIO, server.marker)
        theirs = server.complete(marked, prompt.files, tokens=_TOKENS)
        inputs: Inputs = dict(source.processor(text=[prompt.text], **prompt.media).items())
        length = inputs["input_ids"].shape[1]
        answer = torch.tensor([theirs.tokens])
        inputs["input_ids"] = torch.cat([inputs["input_ids"], answer], dim=1)
        inputs["attention_mask"] = torch.ones_like(inputs["input_ids"])
        with torch.inference_mode():
            scores = model(**inputs).logits[0, length - 1 : -1].log_softmax(-1)
        best = scores.argmax(-1).tolist()
        pairs = zip(best, theirs.tokens, strict=True)
        same = next((n for n, (ours, said) in enumerate(pairs) if ours != said), len(best))
        gaps = [
            abs(float(row[token]) - logprob)
            for row, token, logprob in zip(scores, theirs.tokens, theirs.logprobs, strict=False)
        ]
        yield Agreement(
            prompt.name, same, len(best), max(gaps[:same], default=0.0), theirs.prompt, length
        )


def _prompts(source: Source) -> Iterator[Prompt]:
    yield Prompt("text", TEXT, {}, [])
    # Square, for both make other squares of what is not.
    picture = random_picture()[:, :60]
    # Loud, for what llama.cpp hears of quiet sounds is not Whisper's.
    wave = 0.5 * np.sin(np.linspace(0.0, 440 * np.pi, _RATE, dtype=np.float32))
    start, end = marks_around_sound(source) or ("", "")
    seen, heard = source.processor.images is not None, source.processor.sounds is not None
    sound = f"{start}{AUDIO}{end}"
    if seen:
        yield Prompt("picture", IMAGE + TEXT, {"images": [picture]}, [_png(picture)])
    if heard:
        yield Prompt("sound", sound + TEXT, {"audio": [wave]}, [_wav(wave)])
    if seen and heard:
        media: Inputs = {"images": [picture], "audio": [wave]}
        yield Prompt("both", IMAGE + sound + TEXT, media, [_png(picture), _wav(wave)])


def _png(picture: np.ndarray) -> bytes:
    room = io.BytesIO()
    Pil.fromarray(picture).save(room, format="PNG")
    return room.getvalue()


def _wav(wave: np.ndarray) -> bytes:
    room = io.BytesIO()
    soundfile.write(room, wave, _RATE, format="WAV", subtype="FLOAT")
    return room.getvalue()


def _text_inputs(inputs: Inputs) -> Inputs:
    return {name: inputs[name] for name in ("input_ids", "attention_mask")}

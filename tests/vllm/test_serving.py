"""vLLM gives the tokens that transformers gives, where vLLM is installed: 30 s, no part of CI."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.toy import EYES, SPEC, TEXTS, WIDTH

from hocket.checkpoint.directory import load_checkpoint, write_checkpoint
from hocket.checkpoint.manifest import write_directory
from hocket.model.build import build
from hocket.model.spec import LanguageSpec

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(importlib.util.find_spec("vllm") is None, reason="needs vLLM"),
    # transformers older than ours warns of what ours does not.
    pytest.mark.filterwarnings("default"),
]
TALK = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
SETTINGS = {
    "VLLM_CPU_KVCACHE_SPACE": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
}
CASES = {
    "text": ("Two plus two?", {}),
    "picture": ("<image>\nWhat is this?", {"image": 1}),
    "sound": ("<audio>\nListen.", {"audio": 1}),
    "video": ("<video>\nAnd?", {"video": 1}),
    "all": ("<image>or<audio><image>?<video>", {"image": 2, "audio": 1, "video": 1}),
}


def saved(folder: Path) -> Path:
    # vLLM's attention on a CPU has no head of 16, and its transformers no vision_use_head.
    text = LanguageSpec(model_type="llama", config=WIDTH | {"hidden_size": 64, "head_dim": 32})
    eyes = {name: value for name, value in EYES.config.items() if name != "vision_use_head"}
    spec = replace(SPEC, language=text, vision=replace(EYES, config=eyes))
    model, processor = build(spec, TEXTS)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for value in model.parameters():
            value.add_(0.1 * torch.randn(value.shape, generator=generator))
    write_directory(folder, lambda into: write_checkpoint(into, model, processor))
    return folder


def media(kind: str, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    if kind == "audio":
        return 0.1 * rng.standard_normal(9000 + 4321 * seed, dtype=np.float32)
    shape = (20, 30 + seed, 3) if kind == "image" else (4, 24, 18, 3)
    return rng.integers(0, 256, shape, dtype=np.uint8)


def test_tokens_are_those_of_transformers(tmp_path: Path) -> None:
    checkpoint = saved(tmp_path / "model")
    questions, given = [], []
    for text, counts in CASES.values():
        arrays = {kind: [media(kind, n) for n in range(count)] for kind, count in counts.items()}
        files: dict[str, list[str]] = {}
        for kind, values in arrays.items():
            for number, value in enumerate(values):
                file = tmp_path / f"{len(questions)}-{kind}-{number}.npy"
                np.save(file, value)
                files.setdefault(kind, []).append(str(file))
        questions.append([TALK.format(text), files])
        given.append(arrays)
    asked, answered = tmp_path / "questions.json", tmp_path / "answers.json"
    asked.write_text(json.dumps(questions), encoding="utf-8")
    program = Path(__file__).with_name("serve.py")
    done = subprocess.run(
        [sys.executable, str(program), str(checkpoint), str(asked), str(answered)],
        env=os.environ | SETTINGS,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    model, processor = load_checkpoint(checkpoint)
    answers = json.loads(answered.read_text("utf-8"))
    for (prompt, _), arrays, (ids, tokens) in zip(questions, given, answers, strict=True):
        inputs = processor(
            text=prompt,
            images=arrays.get("image"),
            videos=arrays.get("video"),
            audio=arrays.get("audio"),
        )
        made = model.generate(
            **inputs, max_new_tokens=12, do_sample=False, eos_token_id=None, pad_token_id=0
        )[0].tolist()
        assert ids == made[: len(ids)], prompt
        assert tokens == made[len(ids) :], prompt

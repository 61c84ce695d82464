"""Answers questions with vLLM: a program of its own, since vLLM sets up its process for good.

python serve.py CHECKPOINT QUESTIONS ANSWERS, where questions are prompts and .npy files of media.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
from vllm import LLM, SamplingParams


def main(checkpoint: str, questions: Path, answers: Path) -> None:
    model = LLM(checkpoint, dtype="float32", max_model_len=512, enforce_eager=True, seed=0)
    requests = []
    for prompt, media in json.loads(questions.read_text("utf-8")):
        loaded = {kind: [np.load(file) for file in files] for kind, files in media.items()}
        requests.append({"prompt": prompt, "multi_modal_data": loaded})
    options = SamplingParams(temperature=0, max_tokens=12, ignore_eos=True, detokenize=False)
    found = [
        [list(one.prompt_token_ids or ()), list(one.outputs[0].token_ids)]
        for one in model.generate(requests, options)
    ]
    answers.write_text(json.dumps(found), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))

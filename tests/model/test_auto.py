"""A saved directory is an ordinary checkpoint of transformers."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.toy import inputs, mixed, questions, toy
from transformers import AutoConfig, AutoModelForMultimodalLM, AutoProcessor

from hocket._errors import CheckpointError
from hocket.checkpoint.directory import load_checkpoint, write_checkpoint
from hocket.infer.engine import Engine
from hocket.infer.sampling import Sampling
from hocket.model.config import HocketConfig
from hocket.tokens.batch import pad_batch
from hocket.tokens.processor import HocketProcessor

CHILD = """
import sys
{imports}
import torch
from safetensors.torch import load_file
folder = sys.argv[1]
assert AutoConfig.from_pretrained(folder).model_type == "hocket"
model = AutoModelForMultimodalLM.from_pretrained(folder, dtype=torch.float32).eval()
processor = AutoProcessor.from_pretrained(folder)
batch = load_file(folder + "/batch.st")
logits = batch.pop("logits")
with torch.inference_mode():
    assert torch.equal(model(**batch).logits, logits)
assert processor(text="a<image>b", images=torch.zeros(9, 9, 3, dtype=torch.uint8).numpy())
print("equal")
"""
AUTO = "from transformers import AutoConfig, AutoModelForMultimodalLM, AutoProcessor"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a checkpoint directory, with a batch and its logits beside it."""
    model, processor = toy()
    out = tmp_path_factory.mktemp("checkpoint")
    write_checkpoint(out, model, processor)
    examples = [processor.encode(one) for one in mixed()]
    batch = inputs(pad_batch(examples, pad_id=0, side="right"), "labels")
    with torch.inference_mode():
        save_file(batch | {"logits": model(**batch).logits}, out / "batch.st")
    return out


def test_auto_classes_reopen_it_with_bitwise_equal_logits(folder: Path) -> None:
    assert isinstance(AutoConfig.from_pretrained(folder), HocketConfig)
    processor = AutoProcessor.from_pretrained(folder)
    assert isinstance(processor, HocketProcessor)
    model = AutoModelForMultimodalLM.from_pretrained(folder, dtype=torch.float32).eval()
    batch = load_file(folder / "batch.st")
    logits = batch.pop("logits")
    with torch.inference_mode():
        assert torch.equal(model(**batch).logits, logits)
    for one in mixed():
        assert processor.measure(one) == toy().processor.measure(one)


@pytest.mark.slow
@pytest.mark.parametrize(
    "imports", [f"import hocket\n{AUTO}", f"{AUTO}\nimport hocket"], ids=["before", "after"]
)
def test_it_opens_in_a_new_process_whatever_is_imported_first(folder: Path, imports: str) -> None:
    child = subprocess.run(
        [sys.executable, "-c", CHILD.format(imports=imports), str(folder)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert child.stdout.strip() == "equal", child.stderr


def test_generate_of_transformers_says_what_the_engine_says(folder: Path) -> None:
    model, processor = load_checkpoint(folder)
    asked = questions(mixed())
    examples = [processor.encode(one, for_answer=True) for one in asked]
    assert len({len(example.outline.input_ids) for example in examples}) > 2
    pad = processor.tokenizer.pad_token_id
    batch = inputs(pad_batch(examples, pad_id=pad, side="left"), "labels")
    made = model.generate(**batch, max_new_tokens=8, do_sample=False)
    answers = Engine(model, processor).answer(asked, Sampling(max_new_tokens=8, temperature=0))
    for row, answer in zip(made[:, batch["input_ids"].shape[1] :].tolist(), answers, strict=True):
        end = processor.tokenizer.eos_token_id
        assert tuple(row[: row.index(end)] if end in row else row) == answer.tokens


@pytest.mark.parametrize("change", ["missing", "renamed", "added", "reshaped"])
def test_a_tensor_that_does_not_fit_is_an_error(folder: Path, tmp_path: Path, change: str) -> None:
    for file in folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = load_file(tmp_path / "model.safetensors")
    name = "model.multi_modal_projector.linear_2.bias"
    value = weights[name] if change == "added" else weights.pop(name)
    if change in ("renamed", "added"):
        weights["model.multi_modal_projector.linear_3.bias"] = value.clone()
    if change == "reshaped":
        weights[name] = value[:-1].clone()
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(CheckpointError, match=r"linear_[23]\.bias"):
        load_checkpoint(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(
    "code",
    [
        "import hocket; from transformers import AutoConfig; AutoConfig.for_model('hocket')",
        "from transformers import AutoConfig; import hocket; AutoConfig.for_model('hocket')",
        "import hocket; from transformers import AutoModelForMultimodalLM as Auto\n"
        "from hocket import HocketConfig\nassert HocketConfig in Auto._model_mapping",
        "import transformers, hocket; transformers.AutoModelForImageTextToText\n"
        "from hocket import HocketConfig, build\n"
        "assert HocketConfig in transformers.AutoModel._model_mapping",
        "from hocket.model.modeling import HocketModel; from transformers import AutoProcessor",
    ],
)
def test_every_auto_class_knows_us_whichever_is_imported_first(code: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr

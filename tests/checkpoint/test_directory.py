"""A checkpoint opens again bit for bit, and anything else is refused in one line."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tests.train.toy_run import build_model, data_spec, write_rows
from torch import Tensor
from transformers import AutoModelForMultimodalLM, AutoProcessor

from hocket._errors import CheckpointError
from hocket.checkpoint.directory import find_checkpoint, load_checkpoint, write_checkpoint
from hocket.checkpoint.manifest import write_directory
from hocket.data.mixture import open_source
from hocket.model.build import Built
from hocket.model.modeling import HocketForConditionalGeneration
from hocket.tokens.batch import pad_batch
from hocket.tokens.processor import HocketProcessor

REPOSITORY = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("data")
    write_rows(made)
    return made


@pytest.fixture(scope="module")
def built(rows: Path) -> Built:
    return build_model(rows)


@pytest.fixture(scope="module")
def saved(built: Built, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("run") / "model"
    write_directory(
        target,
        lambda folder: write_checkpoint(
            folder, *built, recipe="seed: 1\n", provenance={"step": 7, "stage": "joint"}
        ),
    )
    return target


def logits_of(
    model: HocketForConditionalGeneration, processor: HocketProcessor, rows: Path
) -> Tensor:
    """Return the logits of a batch with pictures, sounds, a video and text."""
    source = open_source("media", data_spec(rows).datasets["media"])
    examples = [processor.encode(source[row]) for row in range(6)]
    batch = pad_batch(examples, pad_id=processor.tokenizer.pad_token_id, side="right")
    with torch.inference_mode():
        return model.eval()(**batch).logits


def test_logits_are_bitwise_equal(built: Built, saved: Path, rows: Path) -> None:
    model, processor = load_checkpoint(saved)
    assert not model.training
    assert torch.equal(logits_of(*built, rows), logits_of(model, processor, rows))
    again = load_checkpoint(saved.parent)
    assert torch.equal(logits_of(*built, rows), logits_of(*again, rows))


def test_transformers_opens_it(built: Built, saved: Path, rows: Path) -> None:
    model = AutoModelForMultimodalLM.from_pretrained(saved, local_files_only=True)
    processor = AutoProcessor.from_pretrained(saved, local_files_only=True)
    assert isinstance(model, HocketForConditionalGeneration)
    assert isinstance(processor, HocketProcessor)
    assert torch.equal(logits_of(*built, rows), logits_of(model, processor, rows))


def test_what_is_beside_the_weights(saved: Path) -> None:
    assert (saved / "recipe.yaml").read_text(encoding="utf-8") == "seed: 1\n"
    provenance = json.loads((saved / "provenance.json").read_text(encoding="utf-8"))
    assert provenance == {"stage": "joint", "step": 7}
    # Tied weights are written once.
    assert "lm_head.weight" not in load_file(saved / "model.safetensors")


@pytest.mark.slow
def test_the_shim_opens_it_where_nobody_imports_hocket(saved: Path, tmp_path: Path) -> None:
    code = """
import sys
from transformers import AutoModelForMultimodalLM, AutoProcessor
assert not any(name.startswith("hocket") for name in sys.modules)
model = AutoModelForMultimodalLM.from_pretrained(sys.argv[1], trust_remote_code=True)
processor = AutoProcessor.from_pretrained(sys.argv[1], trust_remote_code=True)
batch = processor(text=["What is 2 plus one?"])
print(type(model).__module__, type(processor).__module__, tuple(model(**batch).logits.shape))
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(saved)],
        env=os.environ
        | {
            "PYTHONPATH": str(REPOSITORY / "src"),
            "HF_HOME": str(tmp_path),
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    model, processor, shape = done.stdout.strip().split(" ", 2)
    assert (model, processor) == ("hocket.model.modeling", "hocket.tokens.processor")
    assert shape.startswith("(1, ")


def test_a_run_folder_is_its_model(saved: Path) -> None:
    assert find_checkpoint(saved.parent) == saved
    assert find_checkpoint(str(saved)) == saved


def test_what_holds_no_checkpoint(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no folder .*nowhere\. Give a checkpoint"):
        find_checkpoint(tmp_path / "nowhere")
    with pytest.raises(CheckpointError, match=r"holds no config\.json, nor does .*model\. Give"):
        find_checkpoint(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(CheckpointError, match=r"file holds no config\.json"):
        find_checkpoint(tmp_path / "file")


def config(**changes: Any) -> Callable[[Path], None]:
    """Return a change of ``config.json``; ``a__b`` is the key b of the object a."""

    def change(folder: Path) -> None:
        file = folder / "config.json"
        document = json.loads(file.read_text(encoding="utf-8"))
        for name, value in changes.items():
            outer, _, inner = name.partition("__")
            if inner:
                document[outer][inner] = value
            else:
                document[outer] = value
        file.write_text(json.dumps(document), encoding="utf-8")

    return change


def cut(name: str) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).write_bytes((folder / name).read_bytes()[:-60])

    return change


def gone(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def holds(name: str, data: bytes) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).write_bytes(data)

    return change


def without_tensor(folder: Path) -> None:
    file = folder / "model.safetensors"
    tensors = load_file(file)
    del tensors["model.language_model.norm.weight"]
    save_file(tensors, file, metadata={"format": "pt"})


DAMAGES = [
    (config(model_type="llava"), "holds a model of the type 'llava'; expected 'hocket'"),
    (config(model_type=None), "of the type None; expected 'hocket'"),
    (cut("config.json"), r"config\.json is damaged"),
    (holds("config.json", b""), r"config\.json is damaged"),
    (holds("config.json", b"[1]"), r"config\.json holds no JSON object"),
    (holds("config.json", b"\xff\xfe"), r"config\.json is damaged"),
    (config(vision_connector=None), r"unexpected keys: model\.multi_modal_projector"),
    (config(text_config="x"), "cannot be opened"),
    (config(audio_config=None), r"unexpected keys: model\.audio_projector.* \(\d+ in all\)"),
    (config(text_config__intermediate_size=96), r"mismatched keys: .*\(32, 64\), expected \(32"),
    (without_tensor, r"missing keys: model\.language_model\.norm\.weight \(1 in all\)"),
    (cut("model.safetensors"), "cannot be opened: .* not fully covered"),
    (holds("model.safetensors", b""), "cannot be opened"),
    (gone("model.safetensors"), "cannot be opened: Error no file named model"),
    (cut("tokenizer.json"), r"tokenizer\.json is damaged"),
    (gone("tokenizer.json"), r"lacks tokenizer\.json"),
    (cut("processor_config.json"), r"processor_config\.json is damaged"),
    (holds("processor_config.json", b"[]"), r"processor_config\.json holds no JSON object"),
    (gone("processor_config.json"), r"lacks processor_config\.json"),
    (gone("chat_template.jinja"), r"lacks chat_template\.jinja"),
]


@pytest.mark.parametrize(("change", "message"), DAMAGES)
def test_damage_without_a_manifest_is_one_line(
    saved: Path, tmp_path: Path, change: Callable[[Path], None], message: str
) -> None:
    folder = shutil.copytree(saved, tmp_path / "copy")
    (folder / "manifest.json").unlink()
    change(folder)
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def test_the_manifest_finds_what_is_cut(saved: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(saved, tmp_path / "copy")
    cut("tokenizer_config.json")(folder)
    with pytest.raises(CheckpointError, match=r"tokenizer_config\.json holds \d+ bytes; \d+ were"):
        load_checkpoint(folder)

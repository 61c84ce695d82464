from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest
import torch
from tests.toy import toy

import hocket
from hocket._errors import ConfigError, MissingExtraError
from hocket.checkpoint.directory import find_checkpoint, load_checkpoint, write_checkpoint
from hocket.checkpoint.loading import DTYPES, Placement


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models") / "toy"
    folder.mkdir()
    write_checkpoint(folder, *toy())
    return folder


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "float16"])
def test_the_number_format_is_the_one_asked_for(saved: Path, dtype: str) -> None:
    model = load_checkpoint(saved, Placement(dtype=dtype)).model
    assert {value.dtype for value in model.parameters()} == {DTYPES[dtype]}


def test_meta_reads_no_weights(saved: Path, tmp_path: Path) -> None:
    for file in saved.iterdir():
        if file.suffix != ".safetensors":
            (tmp_path / file.name).write_bytes(file.read_bytes())
    model, processor = load_checkpoint(tmp_path, Placement(device="meta"))
    assert {value.device.type for value in model.parameters()} == {"meta"}
    whole = toy().model
    assert model.num_parameters() == whole.num_parameters()
    assert len(processor.tokenizer) == len(toy().processor.tokenizer)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_attention_kernels_agree(saved: Path, attention: str) -> None:
    ids = torch.tensor([[5, 6, 7, 8]])
    model = load_checkpoint(saved, Placement(attention=attention)).model
    assert model.model.language_model.config._attn_implementation == attention
    with torch.inference_mode():
        expected = toy().model.eval()(input_ids=ids).logits
        torch.testing.assert_close(model(input_ids=ids).logits, expected, rtol=0, atol=1e-5)


@pytest.mark.skipif(
    importlib.util.find_spec("flash_attn") is not None, reason="flash attention is installed"
)
def test_a_kernel_that_is_not_installed_falls_back_and_says_so(
    saved: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model = load_checkpoint(saved, Placement(attention="flash_attention_2")).model
    assert model.model.language_model.config._attn_implementation == "sdpa"
    assert "flash_attn, which is not installed: using sdpa" in caplog.text


@pytest.mark.skipif(
    importlib.util.find_spec("bitsandbytes") is not None, reason="bitsandbytes is installed"
)
@pytest.mark.parametrize("option", ["load_8bit", "load_4bit"])
def test_quantising_names_the_extra(saved: Path, option: str) -> None:
    with pytest.raises(MissingExtraError, match=r"hocket\[quantise\]"):
        hocket.load(saved, **{option: True})


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"dtype": "float23"},
            r"dtype is 'float23'. Did you mean 'float32'\? Known: auto, f",
        ),
        ({"attention": "spda"}, r"Did you mean 'sdpa'"),
        ({"device": "gpu"}, r"device is 'gpu', expected cpu, cuda"),
        ({"device": "cuda:99"}, r"this machine has \d+ GPUs"),
        ({"devices": [98, 99]}, r"devices: GPU 98 was asked for, but this machine has \d+"),
        ({"load_8bit": True, "load_4bit": True}, r"Choose one"),
    ],
)
def test_what_cannot_be_is_refused(saved: Path, options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        hocket.load(saved, **options)  # type: ignore[arg-type] # wrong on purpose


def test_checkpoints_are_found_in_the_users_folders(
    saved: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOCKET_MODELS", f"{tmp_path / 'none'}:{saved.parent}")
    assert find_checkpoint("toy") == saved

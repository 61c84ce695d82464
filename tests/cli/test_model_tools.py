"""``hocket model export`` and the tools for weights, as they are typed."""

from __future__ import annotations

from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file
from tests.checkpoint.export.toys import clip, save

from hocket.checkpoint.tools.tensors import CERTIFICATE
from hocket.cli.main import main


def run(*words: str | Path) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    assert isinstance(left.value.code, int)
    return left.value.code


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save(tmp_path_factory.mktemp("run") / "model", vision=clip(), text="qwen2")


def test_export_and_verify(saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("model", "export", saved, tmp_path / "out", "--to", "llava", "--verify") == 0
    shown = capsys.readouterr().out
    assert "written for llava" in shown
    assert "opened in LlavaForConditionalGeneration" in shown
    assert "same inputs: logits differ by at most 0.00e+00" in shown
    assert run("model", "export", "--list") == 0
    assert "llava_onevision" in capsys.readouterr().out
    assert run("model", "export", saved) == 2
    assert "model export DIR OUT" in capsys.readouterr().err
    assert run("model", "export", saved, tmp_path / "no", "--to", "internvl") == 2
    assert "internvl cannot express model.vision.model_type" in capsys.readouterr().err


def test_inspect(saved: Path, capsys: pytest.CaptureFixture[str]) -> None:
    # A run's folder is its model.
    assert run("model", "inspect", saved.parent) == 0
    shown = capsys.readouterr().out
    assert "hocket, 86 tensors" in shown
    assert "model.multi_modal_projector" in shown
    assert "picture 640 x 480: 16 tokens" in shown
    assert "manifest: good" in shown
    assert "code: hub_hocket.py is hocket's own shim" in shown
    assert "RISK" not in shown


def test_diff_average_consolidate_delta(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    tuned = tmp_path / "tuned"
    tuned.mkdir()
    tensors = load_file(saved / "model.safetensors")
    name = "model.multi_modal_projector.linear_1.bias"
    save_file(tensors | {name: tensors[name] + 1}, tuned / "model.safetensors")
    assert run("model", "diff", saved, tuned) == 1
    shown = capsys.readouterr().out
    assert f"{name}: most 1.000e+00, mean 1.000e+00, 32 of 32, float32" in shown
    assert "85 tensors equal, 1 changed" in shown
    assert run("model", "diff", saved, saved) == 0

    assert run("model", "average", tuned, tuned, tmp_path / "mean", "--weights", "1,3") == 0
    assert run("model", "diff", tuned, tmp_path / "mean") == 0
    assert run("model", "average", tuned, tuned, tmp_path / "mean", "--weights", "1,x") == 2

    assert run("model", "consolidate", saved, tmp_path / "many", "--shard-gb", "0.00004") == 0
    assert len(list((tmp_path / "many").glob("*.safetensors"))) > 2
    assert run("model", "diff", saved, tmp_path / "many") == 0

    assert run("model", "delta", "make", saved, tuned, tmp_path / "delta") == 0
    assert run("model", "delta", "apply", saved, tmp_path / "delta", tmp_path / "again") == 0
    assert run("model", "diff", tuned, tmp_path / "again") == 0
    capsys.readouterr()
    assert run("model", "delta", "apply", tuned, tmp_path / "delta", tmp_path / "no") == 2
    assert "is not the base of" in capsys.readouterr().err


def test_certify_and_verify(
    saved: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    proven = tmp_path / "proven"
    assert run("model", "certify", saved, proven) == 0
    assert run("model", "verify", proven) == 0
    assert "image: bit for bit" in capsys.readouterr().out
    certificate = (proven / CERTIFICATE).read_text(encoding="utf-8")
    other = save(tmp_path / "other", vision=clip(), text="qwen2", rms_norm_eps=0.1)
    (other / CERTIFICATE).write_text(certificate, encoding="utf-8")
    assert run("model", "verify", other) == 2
    caught = capsys.readouterr()
    assert "does not answer as it did when it was saved: text, image" in caught.err

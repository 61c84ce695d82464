"""``hocket model import``, as it is typed."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from hocket.checkpoint.directory import load_checkpoint
from hocket.cli.main import main

GOLDEN = Path(__file__).parents[1] / "golden"


def run(*words: str | Path) -> int:
    with pytest.raises(SystemExit) as left:
        main([str(word) for word in words])
    assert isinstance(left.value.code, int)
    return left.value.code


def test_import_says_what_became_of_every_tensor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = GOLDEN / "navila/navila-tiny", tmp_path / "out"
    assert run("model", "import", "auto", source, out) == 0
    shown = capsys.readouterr().out
    assert "vila: 91 source tensors fill 91 of the model" in shown
    assert "3 rows added, the mean of the 628 others" in shown
    assert "import_report.json" in shown
    assert load_checkpoint(out).model.config.vision_connector["order"] == "column_major"
    assert run("model", "verify", out) == 0
    assert "image: bit for bit" in capsys.readouterr().out
    assert run("model", "import", "auto", source, out) == 2
    assert "exists already" in capsys.readouterr().err


def test_a_certificate_may_be_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    source = GOLDEN / "navila/navila-tiny"
    assert run("model", "import", "vila", source, tmp_path / "a", "--no-certificate") == 0
    assert "no certificate" not in capsys.readouterr().out
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1000))
    assert run("model", "import", "vila", source, tmp_path / "b") == 0
    assert "note: no certificate: the weights take 0.0 GB" in capsys.readouterr().out
    assert "no certificate" in (tmp_path / "b/import_report.json").read_text("utf-8")
    for name in ("a", "b"):
        assert run("model", "verify", tmp_path / name) == 2
        assert "hocket model certify" in capsys.readouterr().err


def test_import_takes_base_search_and_template(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home = GOLDEN / "llava15"
    words = ["model", "import", "llava", home / "llava-tiny-lora", tmp_path / "out"]
    options = ["--base", home / "base-llm", "--search", home, "--template", "llava_v1"]
    assert run(*words, *options) == 0
    shown = capsys.readouterr().out
    assert "LoRA merged" in shown and "chat template llava_v1, as asked for" in shown


def test_unknown_kinds_and_folders_are_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = GOLDEN / "llava15/openai/clip-tiny"
    assert run("model", "import", "lava", source, tmp_path / "out") == 2
    assert "Did you mean 'llava'?" in capsys.readouterr().err
    assert run("model", "import", "auto", source, tmp_path / "out") == 2
    assert "it is none of" in capsys.readouterr().err

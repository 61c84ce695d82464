from __future__ import annotations

import json
from pathlib import Path

import pytest

from hocket._errors import CheckpointError
from hocket.checkpoint.import_.kinds import detect_kind
from hocket.checkpoint.import_.origin import Origin


def tower(folder: Path) -> Path:
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}", encoding="utf-8")
    return folder


def test_folders_are_found_beside_here_and_where_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tower(tmp_path / "runs/one")
    near = tower(tmp_path / "runs/openai/near")
    far = tower(tmp_path / "models/far")
    here = tower(tmp_path / "here/own")
    monkeypatch.chdir(tmp_path / "here")
    origin = Origin.open(source, search=[tmp_path / "models"])
    assert origin.find("openai/near", "tower") == near
    assert origin.find("openai/far", "tower") == far
    assert origin.find("own", "tower") == here
    assert origin.find(str(far), "tower") == far
    with pytest.raises(CheckpointError, match=r"the tower 'openai/none' .*--search"):
        origin.find("openai/none", "tower")


def test_kind_is_judged_by_content(tmp_path: Path) -> None:
    source = tower(tmp_path / "llava-v1.5-7b")
    with pytest.raises(CheckpointError, match="it is none of"):
        detect_kind(Origin.open(source))
    config = {"mm_vision_tower": "x", "mm_projector_type": "linear", "model_type": "llava"}
    (source / "config.json").write_text(json.dumps(config), encoding="utf-8")
    assert detect_kind(Origin.open(source.rename(tmp_path / "vila"))) == "llava"


def test_damaged_configuration_is_an_error(tmp_path: Path) -> None:
    source = tower(tmp_path / "one")
    (source / "config.json").write_text("{", encoding="utf-8")
    with pytest.raises(CheckpointError, match="damaged"):
        Origin.open(source)
    with pytest.raises(CheckpointError, match="no folder"):
        Origin.open(tmp_path / "two")

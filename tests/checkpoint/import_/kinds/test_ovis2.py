"""Ovis 2 is told apart from Ovis 2.5, and refused by naming what is missing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from hocket._errors import CheckpointError
from hocket.checkpoint.import_.engine import import_checkpoint

OWN = {"model_type": "ovis", "llm_config": {}, "visual_tokenizer_config": {}}
NATIVE = {
    "model_type": "ovis2",
    "text_config": {},
    "vision_config": {},
    "visual_indicator_token_ids": [1, 2, 3, 4, 5],
}


@pytest.mark.parametrize("config", [OWN, NATIVE])
def test_both_forms_are_refused_by_name(config: dict[str, Any], tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(config), encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"Ovis 2: no image layout .* no arrange part"):
        import_checkpoint("auto", tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()

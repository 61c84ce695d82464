"""VITA's other ways with videos against its recordings: slow and fast frames, shared positions."""

from __future__ import annotations

import copy
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from safetensors.torch import load_file
from tests.checkpoint.import_.parity import check_greedy, difference, logits_of, reopen
from tests.checkpoint.import_.vita_folders import BY_NAME, HOME, batch_of, copy_of, lay_out

from hocket._errors import CheckpointError
from hocket.checkpoint.import_.engine import import_checkpoint
from hocket.parts.arrange import build_arrange
from hocket.tokens.layout import layout_from, options_of

OUT = load_file(HOME / "video.safetensors")
# As recorded; the prompt and the sound are those of this case.
CASE: dict[str, Any] = copy.deepcopy(BY_NAME["video_audio"])
TURNS = [12, 7, 7, 7]


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lay_out(tmp_path_factory.mktemp("vita15"))


def test_slow_and_fast_frames_are_the_recorded_ones(home: Path, tmp_path: Path) -> None:
    import_checkpoint("auto", home / "vita-1.5-tiny", tmp_path / "out")
    loaded = reopen(tmp_path / "out")
    model, processor = loaded.model.model, loaded.processor
    model.image_arrange = build_arrange({"kind": "slow_fast", "turns": TURNS}, width=48)
    options = options_of(processor.films) | {"turns": TURNS}
    processor.media = replace(processor.media, films=layout_from(options))
    batch = batch_of(loaded, CASE)
    assert batch["input_ids"].shape[1] == OUT["video_sf.inputs_embeds_rowsum"].shape[1]
    ours = logits_of(loaded, batch)
    assert difference(ours[:, -8:], OUT["video_sf.logits_tail"], "logits") <= 1e-4
    wanted = OUT["video_sf.generated_ids"][0].tolist()
    check_greedy(loaded, batch, wanted, [1.0] * len(wanted))


def test_shared_positions_give_the_recorded_logits(home: Path, tmp_path: Path) -> None:
    folder = copy_of(home, tmp_path, shared_v_pid_stride=4)
    import_checkpoint("auto", folder, tmp_path / "out")
    loaded = reopen(tmp_path / "out")
    assert loaded.model.config.shared_positions == 4
    batch = batch_of(loaded, CASE)
    ours = logits_of(loaded, batch)
    assert difference(ours[:, -8:], OUT["video_pid4.logits_tail"], "logits") <= 1e-4
    sharing = loaded.model.model._positions
    made, _ = sharing.share(batch["input_ids"], batch["attention_mask"], None, None, ours.dtype)
    assert made.tolist() == OUT["video_pid4.position_ids"].tolist()


def test_the_first_channel_is_heard(home: Path, tmp_path: Path) -> None:
    import_checkpoint("auto", home / "vita-1.5-tiny", tmp_path / "out")
    document = json.loads((tmp_path / "out" / "processor_config.json").read_text("utf-8"))
    assert document["audio_layout"]["mix"] == "first"


def test_pictures_joined_on_their_channels_are_refused_by_name(home: Path, tmp_path: Path) -> None:
    folder = copy_of(home, tmp_path, mm_hidden_size=5 * 128)
    with pytest.raises(CheckpointError, match=re.escape("mm_hidden_size is 640, five times")):
        import_checkpoint("auto", folder, tmp_path / "out")

"""Flags of the originals' trainers become config keys, or are refused by name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hocket._errors import ConfigError
from hocket.cli._aliases import translate
from hocket.cli._compose import compose_run, options_of
from hocket.train.recipe import Schedule

GUIDES = {
    "Ovis": "--llm_name_or_path Q --vit_name_or_path V --data_path rows.json --image_folder pics "
    "--train_modules visual_tokenizer.head:1e-4|llm:2e-5 --output_dir out/x --num_train_epochs 3 "
    "--per_device_train_batch_size 1 --gradient_accumulation_steps 16 --learning_rate 2e-5 "
    "--multimodal_max_length 4096 --bf16 --report_to tensorboard --stage 3 --monitor_step 50",
    "NaVILA": "--model_name_or_path m --vision_tower v --mm_projector_type mlp "
    "--num_video_frames 8 --mm_vision_select_layer -2 --learning_rate 1e-4 "
    "--lr_scheduler_type cosine --warmup_ratio 0.03 --weight_decay 0.0 --save_strategy epoch "
    "--save_total_limit 2 --save_steps 1000 --per_device_train_batch_size=10",
    "VITA": "--data_path rows.jsonl --stage2_ckpt s --output_dir o --num_gpus 8 --tf32 True "
    "--lazy_preprocess True --dataloader_num_workers 4 --model_max_length 2048 "
    "--evaluation_strategy no --logging_steps 1",
}


def stages(words: list[str]) -> list[str]:
    return list(compose_run(words).train.stages)


@pytest.mark.parametrize("guide", GUIDES)
def test_the_command_of_a_guide_composes(
    guide: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    given = translate(["experiment=own_data", "train.init_from=x", *GUIDES[guide].split()], stages)
    config = compose_run(given.overrides)
    stage = config.train.stages["tune"]
    if guide == "Ovis":
        assert config.data.datasets["rows"].path == "rows.json"
        assert config.data.datasets["rows"].media_root == "pics"
        assert stage.train_modules == "visual_tokenizer.head:1e-4|llm:2e-5"
        assert (stage.trainable, stage.lr, stage.epochs, stage.steps) == ({}, 2e-5, 3, 0)
        assert (stage.accumulate, stage.rows, stage.tokens_per_row) == (16, 1, 4096)
        assert (config.out, config.train.monitor_step) == ("out/x", 50)
        assert config.model.language.path == "Q"
    elif guide == "NaVILA":
        assert (stage.train_modules, stage.lr, stage.warmup_share) == ("all", 1e-4, 0.03)
        assert (stage.schedule, stage.rows) == (Schedule.COSINE, 10)
        assert (config.train.save_every, config.train.keep) == (1000, 2)
        assert config.train.init_from == "m"
        assert config.model.vision is not None
        assert (config.model.vision.layer, config.model.vision.connector.kind) == (-2, "mlp")
    else:
        assert config.data.datasets["rows"].source == "jsonl"
        assert (config.train.init_from, config.train.workers) == ("s", 4)
        assert any("hocket launch --gpus-per-node N" in note for note in given.notes)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--learing_rate", "1"], "no flag is called --learing_rate. Did you mean 'learning_rate'"),
        (["--learning_rate"], "--learning_rate lacks its value"),
        (["--learning_rate", "train.seed=1"], "--learning_rate lacks its value"),
        (["--lr_scheduler_type", "polynomial"], "polynomial is not known here. Known: cosine"),
        (["--learning_rate", "1e-4"], "the run has the stages vision, audio, joint"),
    ],
)
def test_a_wrong_flag_says_what_is_wrong(words: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        translate(words, stages)


def test_a_stage_can_be_named() -> None:
    given = translate(["--learning_rate", "1e-4", "--stage_name", "joint"], stages)
    found = compose_run(given.overrides).train.stages
    assert (found["joint"].lr, found["joint"].train_modules) == (1e-4, "all")
    assert found["vision"].train_modules == ""


def test_every_experiment_composes() -> None:
    names = [name for name in options_of("experiment") if name not in ("own_data",)]
    assert {"llava15", "vila15", "navila", "nvila_lite", "vita15", "ovis25", "hydra"} <= set(names)
    for name in names:
        config = compose_run([f"experiment={name}"])
        for stage in config.train.stages.values():
            assert stage.steps or stage.epochs
            assert stage.trainable or stage.train_modules
            json.dumps(list(stage.data))


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("wandb", ["wandb"]),
        ("tensorboard,wandb", ["tensorboard", "wandb"]),
        ("all", ["tensorboard", "wandb"]),
        ("none", []),
    ],
)
def test_where_numbers_are_reported_to(
    value: str, found: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["experiment=own_data", "train.init_from=x", "--data_path", "a.json"]
    given = translate([*words, f"--report_to={value}"], stages)
    assert compose_run(given.overrides).train.report_to == found

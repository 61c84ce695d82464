"""Flags of the originals' trainers become config keys, or are refused by name."""

from __future__ import annotations

import json
import shlex
from functools import cache
from pathlib import Path
from string import Template

import pytest
from tests.cli.guide_commands import GUIDES

from hocket._errors import ConfigError
from hocket.cli._aliases import Translated, translate
from hocket.cli._compose import PACKAGED, RunConfig, compose_run, options_of
from hocket.model.build import build
from hocket.train.grammar import groups_of
from hocket.train.recipe import Schedule, Stage
from hocket.train.trainable import assign

# What the shell would have put in the place of a guide's variables.
SHELL = {"NUM_GPUS": "8", "DATA_PATH": "rows.json", "OUTPUT_DIR": "out/x"}
PROGRAMS = ("python", "bash", "deepspeed", "-m", "torch.distributed.launch", "#")


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "zero2.json").write_text('{"zero_optimization": {"stage": 2}}')


def run_of(words: str) -> RunConfig:
    return compose_run(translate(shlex.split(words)).overrides)


@cache
def guide(name: str) -> tuple[Translated, RunConfig]:
    run, printed = GUIDES[name]
    words = [
        word
        for word in shlex.split(Template(printed).substitute(SHELL).replace("\\\n", " "))
        if word not in PROGRAMS and not word.endswith((".py", ".sh"))
    ]
    given = translate([*shlex.split(run), *words])
    return given, compose_run(given.overrides)


@pytest.mark.parametrize("name", GUIDES)
def test_every_command_of_the_guides_is_understood(name: str) -> None:
    given, _ = guide(name)
    flags = {
        word.partition("=")[0] for word in GUIDES[name].printed.split() if word.startswith("--")
    }
    told = {note.split()[0].rstrip(":") for note in given.notes}
    assert flags <= told


def test_the_guide_of_ovis() -> None:
    _, config = guide("Ovis: start training")
    stage = config.train.stages["sft"]
    assert (stage.data, config.data.datasets["rows"].reader) == ({"rows": 1.0}, "ovis")
    rows = config.data.datasets["rows"]
    assert (rows.path, rows.media_root) == ("./data/train_data.json", "./data/images")
    assert (stage.train_modules, stage.trainable, stage.lr) == ("all", {}, 2e-5)
    assert (stage.epochs, stage.steps, stage.tokens_per_row) == (3, 0, 4096)
    assert (stage.accumulate, stage.rows) == (16, 16)
    assert config.train.stages["eyes"] == run_of("experiment=ovis25").train.stages["eyes"]
    vision = config.model.vision
    assert vision is not None and vision.connector is not None
    assert (config.model.language.path, config.train.init_from) == ("Qwen/Qwen3-8B", "")
    assert vision.path == "google/siglip2-so400m-patch16-512"
    assert vision.connector.options["vocab"] == 65536
    assert vision.layout.options == {
        "min_pixels": 200704,
        "max_pixels": 2408448,
        "several_max_pixels": 802816,
        "video_max_pixels": 802816,
    }


def test_the_parts_of_ovis() -> None:
    _, config = guide("Ovis: model arguments")
    vision = config.model.vision
    assert vision is not None and vision.connector is not None
    assert vision.connector.options["stride"] == 2
    expected = {
        "hidden_stride": 2,
        "window_size": 112,
        "temporal_patch_size": 1,
        "preserve_original_pe": True,
        "use_rope": True,
    }
    assert expected.items() <= vision.config.items()
    given, config = guide("Ovis: training arguments")
    assert config.train.stages["sft"].train_modules == "visual_tokenizer.head:1e-4|llm:2e-5"
    assert (config.train.only, config.train.compute_dtype) == ("", "bfloat16")
    assert any("--stage is not used" in note for note in given.notes)


def test_the_guide_of_vita() -> None:
    given, config = guide("VITA: training script")
    stage = config.train.stages["vision"]
    assert stage.rows == 4 * 4 * 8
    assert any("processes with rows of their own: 8" in note for note in given.notes)
    assert any("hocket launch --gpus-per-node N" in note for note in given.notes)
    assert config.train.init_from == "/path/to/base_model"
    assert config.train.gradient_checkpointing == ["language"]
    _, config = guide("VITA: stage 3")
    assert (config.train.only, config.train.init_from) == ("multimodal", "/path/to/stage2_output")
    assert config.train.stages["multimodal"].data == {"rows": 1.0}
    _, config = guide("VITA: continual training")
    assert (config.train.init_from, config.out) == ("/path/to/vita-1.5", "out/x")
    _, config = guide("VITA: stage 2")
    assert config.model.audio is not None and config.model.vision is not None
    assert config.model.audio.path.startswith("audio-encoder-Qwen2-7B")
    assert config.model.vision.path == "InternViT-300M-448px"
    assert (config.model.language.path, config.train.init_from) == ("VITA1.5_ckpt", "")


def test_the_guide_of_navila() -> None:
    _, config = guide("NaVILA: sft_8frames.sh")
    stage, vision = config.train.stages["sft"], config.model.vision
    assert list(stage.data) == ["r2r", "rxr", "envdrop", "human", "scanqa"]
    assert config.model.language.path == "meta-llama/Meta-Llama-3-8B-Instruct"
    assert (config.train.init_from, stage.rows) == ("", 10)
    assert vision is not None and vision.connector is not None
    assert vision.path == "google/siglip-so400m-patch14-384"
    assert (vision.layer, vision.connector.kind) == (-2, "mlp_downsample")
    _, config = guide("NaVILA: a small trial")
    assert (config.train.stages["sft"].steps, config.train.save_every) == (10, 5)
    _, config = guide("NaVILA: learning rate and saves")
    assert config.train.stages["sft"].schedule is Schedule.COSINE
    assert (config.train.keep, config.train.save_every) == (2, 1000)


def test_the_command_of_llava() -> None:
    _, config = guide("LLaVA: pretrain.sh")
    stage, other = (config.train.stages[name] for name in ("pretrain", "finetune"))
    # What trains stays what it was: the connector alone.
    assert stage.train_modules == ""
    (group,) = stage.trainable.values()
    assert (group.match, group.lr, group.weight_decay) == ("connector", 1e-3, 0.0)
    assert (stage.data, stage.rows, other.data) == ({"rows": 1.0}, 32, {"dialogues": 1.0})
    vision = config.model.vision
    assert config.model.language.path == "lmsys/vicuna-13b-v1.5"
    assert vision is not None and vision.connector is not None
    assert (vision.connector.kind, vision.connector.options) == ("mlp", {"depth": 2})


def rates(stage: Stage) -> dict[str, float]:
    found = {name: group.lr for name, group in stage.trainable.items()}
    return found | {name: adapter.lr for name, adapter in stage.adapters.items()}


def test_a_rate_is_for_the_groups_that_are_there() -> None:
    before = run_of("experiment=vita15").train.stages["negative"]
    after = run_of("experiment=vita15 --stage_name negative --learning_rate 3e-6").train.stages
    assert after["negative"].trainable.keys() == before.trainable.keys()
    assert rates(after["negative"]) == {"adapter": 3e-6, "language": 3e-6}
    assert rates(after["vision"])["eyes"] == 2e-6
    lora = run_of("experiment=llava15_lora --stage_name finetune --learning_rate 3e-6")
    assert rates(lora.train.stages["finetune"]) == {"connector": 3e-6, "words": 3e-6}
    line = run_of("experiment=ovis25 --stage_name words --learning_rate 3e-6").train.stages
    found = line["words"]
    assert (found.train_modules, found.lr) == ("visual_tokenizer.head|vte", 3e-6)
    alone = run_of(
        "experiment=llava15 --stage_name finetune --tune_mm_mlp_adapter True --learning_rate 1e-3"
    ).train.stages["finetune"]
    assert (alone.train_modules, alone.trainable, alone.lr) == ("mm_projector", {}, 1e-3)


def test_decay_and_warm_up_hold_too() -> None:
    words = "experiment=vita15 --stage_name vision --weight_decay 0.1 --warmup_steps 7"
    stage = run_of(words).train.stages["vision"]
    assert {group.weight_decay for group in stage.trainable.values()} == {0.1}
    assert (stage.warmup_steps, stage.warmup_share) == (7, 0.0)
    own = "experiment=own_data train.init_from=x --lr_scheduler_type linear --warmup_ratio 0"
    stage = run_of(own).train.stages["tune"]
    assert (stage.final_share, stage.warmup_steps, stage.warmup_share) == (0.0, 0, 0.0)


@pytest.mark.parametrize(
    ("words", "env", "rows"),
    [
        ("", None, 6),
        ("--num_gpus 4", None, 24),
        ("--num_gpus 4", "8", 48),
        ("--nproc_per_node=4 train.sequence_parallel.ulysses=2", None, 12),
        ("train.stages.tune.accumulate=5 --accumulate=2", None, 4),
    ],
)
def test_rows_of_a_whole_step(
    words: str, env: str | None, rows: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if env:
        monkeypatch.setenv("WORLD_SIZE", env)
    own = "experiment=own_data train.init_from=x train.stages.tune.accumulate=3"
    stage = run_of(f"{own} --per_device_train_batch_size 2 {words}").train.stages["tune"]
    assert stage.rows == rows


@pytest.mark.parametrize("experiment", ["navila", "vita15"])
def test_rows_of_a_file_are_for_the_stage_that_is_meant(experiment: str) -> None:
    before = run_of(f"experiment={experiment}").train.stages
    last = list(before)[-1]
    config = run_of(
        f"experiment={experiment} --stage_name {last} --data_path a.parquet --image_folder pics"
    )
    rows = config.data.datasets["rows"]
    assert (rows.path, rows.source, rows.media_root) == ("a.parquet", "parquet", "pics")
    for name, stage in config.train.stages.items():
        assert stage.data == ({"rows": 1.0} if name == last else before[name].data)


def test_a_folder_may_hold_the_files_of_a_stage(tmp_path: Path) -> None:
    file = tmp_path / "mine" / "vision.json"
    file.parent.mkdir()
    file.write_text("[]")
    words = f"experiment=vita15 --stage_name vision --data_path {file.parent}"
    config = run_of(words)
    assert config.train.stages["vision"].data == {"vision": 1.0}
    found = config.data.datasets
    assert (found["vision"].path, found["speech"].path) == (str(file), "data/vita/speech.json")
    assert run_of(f"{words} --image_folder pics").data.datasets["vision"].media_root == "pics"


def test_folders_of_media() -> None:
    words = "experiment=navila --image_folder all/ --video_folder all"
    assert {one.media_root for one in run_of(words).data.datasets.values()} == {"all"}
    with pytest.raises(ConfigError, match="--image_folder a and --video_folder b differ"):
        run_of("experiment=navila --image_folder a --video_folder b")


def checkpoint(folder: Path, model_type: str) -> None:
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps({"model_type": model_type}))


def test_parts_beside_a_checkpoint_are_refused(tmp_path: Path) -> None:
    checkpoint(tmp_path / "whole", "hocket")
    checkpoint(tmp_path / "words", "llama")
    assert run_of("experiment=navila --model_name_or_path words").train.init_from == "words"
    both = run_of("experiment=navila --model_name_or_path words --vision_tower v")
    assert (both.model.language.path, both.train.init_from) == ("words", "")
    for words in (
        "experiment=navila --model_name_or_path whole --vision_tower v",
        "experiment=navila train.init_from=whole --vision_tower v",
        "experiment=vita15 --stage2_ckpt whole --vision_tower v --model_name_or_path words",
    ):
        with pytest.raises(ConfigError, match=r"--vision_tower has no effect: .*checkpoint whole"):
            run_of(words)
    mine = tmp_path / "configs" / "experiment" / "mine.yaml"
    mine.parent.mkdir(parents=True)
    mine.write_text(
        "# @package _global_\ndefaults: [{override /train: navila}, {override /data: navila}]\n"
        "train: {init_from: base}\n"
    )
    with pytest.raises(ConfigError, match=r"--num_video_frames has no effect: .*checkpoint base"):
        run_of("experiment=mine --num_video_frames 8")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--learing_rate 1", "no flag is called --learing_rate. Did you mean 'learning_rate'"),
        ("--learning_rate", "--learning_rate lacks its value"),
        ("--learning_rate train.seed=1", "--learning_rate lacks its value"),
        ("--lr_scheduler_type polynomial", "polynomial is not known here. Known: cosine"),
        ("--learning_rate 1e-4", "the run has the stages vision, audio, joint"),
        ("--stage_name joynt --learning_rate 1", "no stage is called 'joynt'. Did you mean"),
        ("--stage joynt", "no stage is called 'joynt'. Did you mean 'joint'"),
        ("--stage joint --per_device_train_batch_size two", "is 'two', expected a whole number"),
        ("--gradient_checkpointing maybe", "is 'maybe', expected True or False"),
        ("train.only=joynt", "train.only is 'joynt': no stage has that name. Did you mean 'joint'"),
    ],
)
def test_a_wrong_flag_says_what_is_wrong(words: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run_of(words)


def test_a_stage_can_be_named() -> None:
    config = run_of("--learning_rate 1e-4 --stage_name joint")
    found = config.train.stages
    assert (rates(found["joint"]), rates(found["vision"])) == ({"all": 1e-4}, {"all": 1.5e-3})
    assert config.train.only == ""
    alone = run_of("--learning_rate 1e-4 --stage joint")
    assert (alone.train.only, alone.train.stages) == ("joint", found)
    assert list(alone.train.to_run()) == ["joint"]


@pytest.mark.parametrize(
    ("value", "found"), [("True", "bfloat16"), ("1", "bfloat16"), ("False", "float32")]
)
def test_a_number_format_that_is_asked_for_is_had(value: str, found: str) -> None:
    for own in ("float32", "bfloat16"):
        run = run_of(f"train.compute_dtype={own} --bf16 {value} --stage joint")
        assert run.train.compute_dtype == found


def test_every_experiment_composes() -> None:
    names = [name for name in options_of("experiment") if name not in ("own_data",)]
    assert {"llava15", "vila15", "navila", "nvila_lite", "vita15", "ovis25", "hydra"} <= set(names)
    for name in names:
        config = compose_run([f"experiment={name}"])
        for stage in config.train.stages.values():
            assert stage.steps or stage.epochs
            assert stage.trainable or stage.train_modules
            json.dumps(list(stage.data))


@pytest.mark.parametrize("name", [one for one in options_of("experiment") if one != "own_data"])
def test_every_stage_of_an_experiment_trains_what_its_model_has(name: str) -> None:
    config = compose_run([f"experiment={name}"])
    model = build(config.model, ["a picture"], weights=False).model
    names = [one for one, _ in model.named_parameters()]
    for stage in config.train.stages.values():
        assert all(assign(groups_of(stage, model), names).values())


def test_every_preset_has_an_experiment() -> None:
    presets = {name for name in options_of("model") if name not in ("tiny", "llava15_tiny")}
    files = [PACKAGED / "experiment" / f"{name}.yaml" for name in options_of("experiment")]
    text = "".join(file.read_text(encoding="utf-8") for file in files)
    assert {name for name in presets if f"/model: {name}\n" not in text} == set()


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("wandb", ["wandb"]),
        ("tensorboard,wandb", ["tensorboard", "wandb"]),
        ("all", ["tensorboard", "wandb"]),
        ("none", []),
    ],
)
def test_where_numbers_are_reported_to(value: str, found: list[str]) -> None:
    own = "experiment=own_data train.init_from=x --data_path a.json"
    assert run_of(f"{own} --report_to={value}").train.report_to == found


HEADS = (
    "+train.stages.joint.loss.heads={vision: {label: a, classes: 2}, audio: {label: b, classes: 2}}"
)


def test_the_weights_of_a_loss_of_several_heads() -> None:
    words = ["--alpha", "0.5", "--beta=0.3", "--gamma", "0.2", "--stage_name", "joint"]
    given = translate([HEADS, *words])
    loss = compose_run(given.overrides).train.stages["joint"].loss
    assert (loss.text, *(one.weight for one in loss.heads.values())) == (0.5, 0.3, 0.2)
    assert "--beta: train.stages.joint.loss.heads.vision.weight=0.3" in given.notes
    with pytest.raises(ConfigError, match="--beta is the weight of the head 'vision', which the"):
        translate(words)

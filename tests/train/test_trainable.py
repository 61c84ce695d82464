"""What trains, what stays frozen, and what weight decay may touch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.train.toy_run import build_model, data_spec, recipe, train_toy, write_rows

from hocket._errors import ConfigError, MachineError
from hocket.model.build import Built
from hocket.train.grammar import groups_of
from hocket.train.optim import build_optimizer, set_learning_rate
from hocket.train.recipe import Group, Schedule, Stage
from hocket.train.run import Run, train
from hocket.train.trainable import describe_trainable, select_trainable, set_modes, write_table

ALL = Group(match="*", lr=1e-3, weight_decay=0.1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("data")
    write_rows(made)
    return made


@pytest.fixture
def built(folder: Path) -> Built:
    return build_model(folder)


def test_a_pattern_that_matches_nothing_is_an_error(built: Built) -> None:
    groups = {"all": ALL, "towers": Group(match="model.vision.*", lr=1e-3)}
    with pytest.raises(ConfigError, match=r"group 'towers' matches no parameter with 'model\.vis"):
        select_trainable(built.model, groups)
    lost = {"all": ALL, "more": Group(match="model.vision_tower.*", lr=1e-3)}
    with pytest.raises(ConfigError, match="group 'more' matches no parameter"):
        select_trainable(built.model, lost)


def test_the_first_match_counts(built: Built) -> None:
    groups = {"audio": Group(match="model.audio_tower.*", lr=5e-4), "rest": ALL}
    audio, rest = select_trainable(built.model, groups)
    of_audio = {
        name for name, _ in built.model.named_parameters() if name.startswith("model.audio_tower.")
    }
    # Sinusoidal positions are never trained.
    assert {*audio.decayed, *audio.plain} == of_audio - {"model.audio_tower.embed_positions.weight"}
    assert not of_audio & {*rest.decayed, *rest.plain}
    trained = {name for name, value in built.model.named_parameters() if value.requires_grad}
    assert trained == {*audio.decayed, *audio.plain, *rest.decayed, *rest.plain}


def test_nothing_else_trains(built: Built) -> None:
    select_trainable(built.model, {"eyes": Group(match="model.multi_modal_projector.*", lr=1e-3)})
    for name, parameter in built.model.named_parameters():
        assert parameter.requires_grad is name.startswith("model.multi_modal_projector.")


def test_weight_decay_touches_matrices_only(built: Built) -> None:
    (chosen,) = select_trainable(built.model, {"all": ALL})
    layers = dict(built.model.named_modules())
    for name in chosen.decayed:
        owner = layers[name.rpartition(".")[0]]
        assert isinstance(owner, torch.nn.Linear | torch.nn.Conv1d | torch.nn.Conv2d), name
        assert name.endswith(".weight")
    for name in (
        "model.language_model.embed_tokens.weight",
        "model.vision_tower.embeddings.position_embedding.weight",
        "model.vision_tower.embeddings.patch_embedding.bias",
        "model.language_model.norm.weight",
        "model.multi_modal_projector.layer_norm.weight",
    ):
        assert name in chosen.plain


def test_tables_that_are_no_embedding_layers_do_not_decay() -> None:
    class Eye(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cls_token = torch.nn.Parameter(torch.zeros(1, 1, 4))
            self.position_embeddings = torch.nn.Parameter(torch.zeros(1, 5, 4))
            self.gate_up_proj = torch.nn.Parameter(torch.zeros(2, 4, 4))

    (chosen,) = select_trainable(Eye(), {"all": ALL})
    assert chosen.decayed == ("gate_up_proj",)
    assert set(chosen.plain) == {"cls_token", "position_embeddings"}


def test_frozen_parts_are_in_eval_mode(built: Built) -> None:
    built.model.eval()
    select_trainable(built.model, {"ears": Group(match="model.audio_*", lr=1e-3)})
    set_modes(built.model)
    parts = dict(built.model.model.named_children())
    assert {name: part.training for name, part in parts.items()} == {
        "vision_tower": False,
        "multi_modal_projector": False,
        "audio_tower": True,
        "audio_projector": True,
        "language_model": False,
    }
    assert not any(module.training for module in parts["language_model"].modules())
    select_trainable(built.model, {"all": ALL})
    set_modes(built.model)
    assert all(module.training for module in built.model.modules())


def test_the_table_of_what_trains(built: Built) -> None:
    groups = {
        "eyes": Group(match="model.multi_modal_projector.*", lr=2e-3),
        "words": Group(
            match="model.language_model.*",
            lr=1e-4,
            weight_decay=0.05,
            schedule=Schedule.COSINE,
            warmup_steps=0,
        ),
    }
    stage = Stage(trainable=groups, warmup_steps=7, schedule=Schedule.LINEAR)
    chosen = select_trainable(built.model, groups)
    counts = [
        sum(value.numel() for value in part.parameters())
        for part in (built.model.model.multi_modal_projector, built.model.model.language_model)
        if part is not None
    ]
    eyes = ("eyes", "model.multi_modal_projector.*", f"{counts[0]:,}", "0.002", "0")
    words = ("words", "model.language_model.*", f"{counts[1]:,}", "0.0001", "0.05")
    assert describe_trainable(built.model, chosen, stage) == [
        (*eyes, "linear", "7"),
        (*words, "cosine", "0"),
    ]


def test_the_table_is_saved_for_each_stage(folder: Path, tmp_path: Path) -> None:
    shown: list[list[tuple[str, ...]]] = []
    run = Run(
        recipe=recipe(steps=(1, 1), save_every=0),
        data=data_spec(folder),
        out=tmp_path,
        on_stage=lambda name, stage, table: shown.append(table),
    )
    train(run, *build_model(folder))
    for stage, table in zip(("align", "joint"), shown, strict=True):
        lines = (tmp_path / f"trainable-{stage}.tsv").read_text("utf-8").splitlines()
        assert lines[0] == "group\tpattern\tcount\trate\tdecay\tschedule\twarm-up"
        assert [tuple(line.split("\t")) for line in lines[1:]] == table
    assert shown[0][1][:2] == ("towers", "model.*_tower.*")


def test_a_table_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(MachineError, match=r"trainable-one\.tsv"):
        write_table(tmp_path / "none", "one", [])


def test_frozen_parts_keep_every_bit(folder: Path, tmp_path: Path) -> None:
    whole = recipe(save_every=0)
    only = replace(whole, stages={"align": whole.stages["align"]})
    before = build_model(folder).model.state_dict()
    after = load_file(train_toy(folder, tmp_path, only) / "model.safetensors")
    changed = {name for name, value in after.items() if not torch.equal(value, before[name])}
    assert changed
    for name in after:
        frozen = "language_model" in name or "embed_positions" in name
        assert (name in changed) is not frozen, name


@pytest.mark.parametrize(
    ("name", "prefixes"),
    [
        ("llm", ("model.language_model.", "lm_head.")),
        ("vision", ("model.vision_tower.",)),
        ("vision.last_block", ("model.vision_tower.encoder.layers.1.",)),
        ("language.last_block", ("model.language_model.layers.1.",)),
        ("mm_projector", ("model.multi_modal_projector.",)),
        ("visual_tokenizer", ("model.vision_tower.", "model.multi_modal_projector.")),
        ("audio_adapter", ("model.audio_projector.",)),
        ("visual_tokenizer.backbone", ("model.vision_tower.",)),
        ("visual_tokenizer.backbone.layer.0", ("model.vision_tower.encoder.layers.0.",)),
        ("visual_tokenizer.backbone.layer.-2", ("model.vision_tower.encoder.layers.0.",)),
        ("llm.layer.1", ("model.language_model.layers.1.",)),
    ],
)
def test_a_part_has_a_name(name: str, prefixes: tuple[str, ...], built: Built) -> None:
    select_trainable(built.model, {"one": Group(match=name, lr=1e-3)})
    found = {key for key, value in built.model.named_parameters() if value.requires_grad}
    assert found == {key for key, _ in built.model.named_parameters() if key.startswith(prefixes)}


def test_ovis_line_gives_the_narrower_item_its_own_rate(built: Built) -> None:
    stage = Stage(train_modules="all|llm:2e-5 | visual_tokenizer.head:1e-4", lr=3e-5, steps=1)
    chosen = select_trainable(built.model, groups_of(stage, built.model))
    rates = {key: one.group.lr for one in chosen for key in (*one.decayed, *one.plain)}
    bridge = {rate for key, rate in rates.items() if key.startswith("model.multi_modal_projector.")}
    assert bridge == {1e-4}
    assert rates["model.language_model.norm.weight"] == 2e-5
    assert rates["model.vision_tower.post_layernorm.weight"] == 3e-5
    trained = [key for key, value in built.model.named_parameters() if value.requires_grad]
    assert sorted(rates) == sorted(trained)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("lm", "'lm' matches no parameter of the model. Did you mean 'llm'"),
        ("llm|llm:1e-5", "'llm' stands twice"),
        ("llm|", "an item is empty"),
        ("llm:fast", "the learning rate of 'llm' is 'fast', expected a number"),
        ("llm:nan", "the learning rate of 'llm' is 'nan', expected a number of 0 or more"),
        ("llm:inf", "the learning rate of 'llm' is 'inf', expected a number of 0 or more"),
        ("llm:-1", "the learning rate of 'llm' is '-1', expected a number of 0 or more"),
        ("llm:", "the learning rate of 'llm' is '', expected a number of 0 or more"),
        ("vte", r"'vte' matches no parameter of the model\. Known: all,"),
        ("vision.layer.2", "'vision.layer.2' matches no parameter"),
    ],
)
def test_a_wrong_line_says_what_is_wrong(line: str, message: str, built: Built) -> None:
    with pytest.raises(ConfigError, match=message):
        groups_of(Stage(train_modules=line, steps=1), built.model)


def test_a_group_has_its_own_schedule(built: Built) -> None:
    groups = {
        "eyes": Group(match="vision", lr=1e-3, schedule=Schedule.CONSTANT, warmup_steps=0),
        "words": Group(match="language", lr=2e-3),
    }
    stage = Stage(trainable=groups, steps=10, warmup_steps=5, schedule=Schedule.LINEAR)
    optimizer = build_optimizer(
        built.model, select_trainable(built.model, groups), betas=(0.9, 0.98)
    )
    assert set_learning_rate(optimizer, stage, 0) == 0.2
    rates = {group["peak"]: group["lr"] for group in optimizer.param_groups}
    assert rates == {1e-3: 1e-3, 2e-3: pytest.approx(4e-4)}


def test_what_does_not_move_is_reported(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = recipe(steps=(2, 2))
    stages = {
        name: replace(stage, data={"text": 1.0}, trainable={"ears": Group(match="audio", lr=1e-3)})
        for name, stage in plain.stages.items()
    }
    train_toy(folder, tmp_path, replace(plain, stages=stages, monitor_step=2))
    shown = " ".join(capsys.readouterr().err.split())
    assert "of the group 'ears' have not moved by step 2, such as model.audio_tower." in shown
    train_toy(folder, tmp_path / "short", replace(plain, stages=stages, monitor_step=100))
    shown = " ".join(capsys.readouterr().err.split())
    assert shown.count("of the group 'ears' have not moved by step 2") == 2, "once for each stage"
    train_toy(folder, tmp_path / "moving", replace(recipe(steps=(2, 2)), monitor_step=2))
    assert "have not moved" not in capsys.readouterr().err

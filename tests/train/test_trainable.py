"""What trains, what stays frozen, and what weight decay may touch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from tests.train.toy_run import build_model, recipe, train_toy, write_rows

from hocket._errors import ConfigError
from hocket.model.build import Built
from hocket.train.recipe import Group
from hocket.train.trainable import describe_trainable, select_trainable, set_modes

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
        "words": Group(match="model.language_model.*", lr=1e-4, weight_decay=0.05),
    }
    chosen = select_trainable(built.model, groups)
    counts = [
        sum(value.numel() for value in part.parameters())
        for part in (built.model.model.multi_modal_projector, built.model.model.language_model)
        if part is not None
    ]
    assert describe_trainable(built.model, chosen) == [
        ("eyes", "model.multi_modal_projector.*", f"{counts[0]:,}", "0.002", "0"),
        ("words", "model.language_model.*", f"{counts[1]:,}", "0.0001", "0.05"),
    ]


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

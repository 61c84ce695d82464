"""A tower's hash changes with all that changes its features, and with nothing else."""

from __future__ import annotations

from dataclasses import replace

import torch
from tests.toy import EYES, SPEC, TEXTS, toy

from hocket.model.build import build
from hocket.model.fingerprint import is_frozen, tower_hash
from hocket.model.spec import ModelSpec, PartSpec
from hocket.tokens.span import Modality

IMAGE, VIDEO, AUDIO = Modality.IMAGE, Modality.VIDEO, Modality.AUDIO


def hashes(spec: ModelSpec) -> list[str]:
    return [tower_hash(build(spec, TEXTS).model.model, kind) for kind in (IMAGE, VIDEO, AUDIO)]


def test_it_is_that_of_weights_configuration_and_reading() -> None:
    plain = hashes(SPEC)
    assert plain[0] == plain[1] != plain[2], "videos go through the tower of pictures"
    assert hashes(SPEC) == plain
    connector = replace(EYES, connector=PartSpec(kind="linear"))
    assert hashes(replace(SPEC, vision=connector))[0] == plain[0]
    for change in (replace(EYES, layer=-2), replace(EYES, scale=0.5)):
        found = hashes(replace(SPEC, vision=change))
        assert found[0] == found[1] != plain[0] and found[2] == plain[2]


def test_one_number_of_the_weights_is_enough() -> None:
    model = build(SPEC, TEXTS).model
    before = tower_hash(model.model, IMAGE)
    assert model.model.vision_tower is not None
    with torch.no_grad():
        next(model.model.vision_tower.parameters()).flatten()[0] += 1e-3
    assert tower_hash(model.model, IMAGE) != before
    assert tower_hash(model.bfloat16().model, AUDIO) != tower_hash(toy().model.model, AUDIO)


def test_a_tower_is_frozen_when_all_of_it_is() -> None:
    model = build(SPEC, TEXTS).model
    tower = model.model.vision_tower
    assert tower is not None and not is_frozen(tower)
    tower.requires_grad_(False)
    assert is_frozen(tower)

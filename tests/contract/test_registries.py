"""Every name that a registry lists can be opened and says what it is."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest
from tests.toy import assistant, mixed, picture, talk, toy, user

from hocket._errors import DataError, UnknownNameError
from hocket._registry import Registry
from hocket.chat.readers import readers
from hocket.chat.template import read_template, template_names
from hocket.checkpoint.export import exporters
from hocket.data.augment import augmentations
from hocket.data.containers import containers
from hocket.data.mixture import open_source
from hocket.data.sources import sources
from hocket.data.spec import DatasetSpec
from hocket.data.writers import writers
from hocket.eval.metrics import metrics
from hocket.eval.task import tasks
from hocket.media.frames import sampler_from, samplers
from hocket.parts.arrange import arrangements
from hocket.parts.audio import audio_encoders
from hocket.parts.connector import connectors
from hocket.parts.joint import joints
from hocket.parts.vision import vision_encoders
from hocket.tokens.layout import layouts
from hocket.tokens.text import TextEncoder

REGISTRIES: list[Registry[Any]] = [
    exporters,
    samplers,
    arrangements,
    audio_encoders,
    augmentations,
    connectors,
    containers,
    joints,
    layouts,
    metrics,
    readers,
    sources,
    tasks,
    vision_encoders,
    writers,
]
NAMES = [(registry, name) for registry in REGISTRIES for name in registry.names()]
TEMPLATES = template_names()
SAMPLERS: dict[str, dict[str, int | float | str]] = {
    "uniform": {"frames": 3},
    "at_fps": {"rate": 2.0, "max_frames": 4},
    "history": {"frames": 3},
    "segments": {"frames": 3},
    "mid_segment": {"min_frames": 2, "max_frames": 4},
    "interval": {"seconds": 2.0, "max_frames": 4},
}


@pytest.mark.parametrize("registry", REGISTRIES, ids=lambda one: one.noun)
def test_no_registry_is_empty_and_a_wrong_name_gets_a_suggestion(registry: Registry[Any]) -> None:
    first, *_ = registry.names()
    with pytest.raises(UnknownNameError, match=rf"no {registry.noun} is called.*Did you mean"):
        registry.get(registry.names()[0] + "x")
    assert registry.get(first) is registry.get(first)


@pytest.mark.parametrize(
    ("registry", "name"), NAMES, ids=[f"{registry.noun}-{name}" for registry, name in NAMES]
)
def test_every_name_loads_and_is_documented(registry: Registry[Any], name: str) -> None:
    item = registry.get(name)
    assert inspect.getdoc(item)
    module = inspect.getmodule(item)
    assert module is not None
    assert (module.__doc__ or "").strip()
    assert "Temporary" not in (module.__doc__ or "")


@pytest.mark.parametrize("kind", samplers.names())
def test_samplers_survive_json_and_pick_frames(kind: str) -> None:
    sampler = sampler_from({"kind": kind, **SAMPLERS[kind]})
    assert sampler_from(json.loads(json.dumps(sampler.spec()))) == sampler
    for count in (1, 2, 7, 400):
        picked = sampler.pick(count, 10.0)
        assert picked
        assert all(-1 <= index < count for index in picked)
        assert picked == sorted(picked)


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_writes_the_same_for_training_and_for_answers(name: str) -> None:
    encoder = TextEncoder(toy().processor.tokenizer, read_template(name))
    for answer in ("Yes.", "", "\n\nlate", "two\nlines", "<think>"):
        prompt = talk(user(picture(), "What is this?"))
        ids = encoder.encode(prompt, for_answer=True).ids
        full = encoder.encode(talk(*prompt.messages, assistant(answer)))
        assert full.ids[: len(ids)] == ids
        assert not any(full.learned[: len(ids)])
        assert any(full.learned[len(ids) :])


@pytest.mark.parametrize("name", TEMPLATES)
def test_a_template_writes_one_placeholder_for_each_medium(name: str) -> None:
    processor = toy().processor
    encoder = TextEncoder(processor.tokenizer, read_template(name))
    with_media = [
        one for one in mixed() if all(turn.media for turn in one.messages if turn.role == "user")
    ]
    assert len(with_media) == 4
    for one in with_media:
        ids = encoder.encode(one).ids
        found = [
            kind for token in ids for kind, i in processor.placeholder_ids.items() if i == token
        ]
        assert len(found) == len(list(one.media()))


@pytest.mark.parametrize("name", sources.names())
def test_a_source_that_is_missing_is_named(name: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"nothing\.here"):
        open_source("a", DatasetSpec(path=str(tmp_path / "nothing.here"), source=name))

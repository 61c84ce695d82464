"""lmms-eval drives our engine: with stubs of its classes, and with the real one where installed."""

from __future__ import annotations

import abc
import importlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import PIL.Image
import pytest
from tests.eval.scripted import ScriptedEngine

from hocket._errors import ConfigError
from hocket.chat.conversation import Conversation, Role
from hocket.eval.lmms import MODEL, manifest
from hocket.media.audio import Audio
from hocket.media.image import Image

RED = PIL.Image.new("RGB", (8, 8), "red")


@dataclass(frozen=True)
class Manifest:
    model_id: str
    simple_class_path: str | None = None
    chat_class_path: str | None = None


class StubLmms(abc.ABC):
    """The part of ``lmms_eval.api.model.lmms`` that a model uses."""

    is_simple = True

    def __init__(self) -> None:
        self.task_dict: dict[str, Any] = {}

    @abc.abstractmethod
    def loglikelihood(self, requests: Any) -> Any: ...

    @abc.abstractmethod
    def generate_until(self, requests: Any) -> Any: ...

    @abc.abstractmethod
    def generate_until_multi_round(self, requests: Any) -> Any: ...


@pytest.fixture
def model_file(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """Our model's file, opened with stubs in the place of lmms-eval."""
    for name, members in (
        ("lmms_eval", {}),
        ("lmms_eval.api", {}),
        ("lmms_eval.api.model", {"lmms": StubLmms}),
        ("lmms_eval.models", {}),
        ("lmms_eval.models.registry_v2", {"ModelManifest": Manifest}),
    ):
        module = ModuleType(name)
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, name, module)
    sys.modules.pop("hocket.eval.lmms.model", None)
    yield importlib.import_module("hocket.eval.lmms.model")
    sys.modules.pop("hocket.eval.lmms.model", None)


class Scoring(ScriptedEngine):
    def score(self, conversations: list[Conversation], texts: list[str]) -> list[float]:
        return [-float(len(text)) for text in texts]

    def answer(self, conversations: list[Conversation], sampling: object) -> list[object]:
        return [SimpleNamespace(text=self._script(one)) for one in conversations]


def open_model(
    model_file: ModuleType, monkeypatch: pytest.MonkeyPatch, engine: ScriptedEngine
) -> Any:
    monkeypatch.setattr(model_file.Engine, "load", lambda *_: engine)
    made = model_file.HocketForLmms(pretrained="somewhere", device="cpu", batch_size="2")
    made.task_dict = {"toy": {"test": [{"q": "Which colour?"}, {"q": "And this?"}]}}
    return made


def messages(row: dict[str, str]) -> list[dict[str, Any]]:
    content = [{"type": "image", "url": RED}, {"type": "text", "text": row["q"]}]
    return [{"role": "user", "content": content}]


def request(*arguments: object) -> SimpleNamespace:
    return SimpleNamespace(args=arguments)


def test_the_entry_point_names_a_chat_model(model_file: ModuleType) -> None:
    found = manifest()
    assert found.model_id == MODEL and found.simple_class_path is None
    module, name = found.chat_class_path.rsplit(".", 1)
    assert module == model_file.__name__
    model_class = vars(model_file)[name]
    assert issubclass(model_class, StubLmms) and not model_class.is_simple


def test_both_forms_of_arguments_are_answered_in_order(
    model_file: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = ScriptedEngine(lambda one: f"{one.messages[0].text.strip()} red")
    made = open_model(model_file, monkeypatch, engine)
    new = request("text", messages, {"max_new_tokens": 4}, 1, "toy", "test")
    old = request(messages, {"max_new_tokens": 8}, 0, "toy", "test")
    assert made.generate_until([new, old]) == ["And this? red", "Which colour? red"]


def test_options_become_ours(model_file: ModuleType) -> None:
    greedy = model_file.sampling_of({"until": ["\n\n", ""], "do_sample": False, "temperature": 1})
    assert (greedy.temperature, greedy.stop, greedy.max_new_tokens) == (0.0, ("\n\n",), 128)
    drawn = model_file.sampling_of({"temperature": 0.7, "top_p": 0.9, "until": "#"})
    assert (drawn.temperature, drawn.top_p, drawn.stop) == (0.7, 0.9, ("#",))


def test_parts_become_media(model_file: ModuleType) -> None:
    sound = {"array": np.zeros(1600), "sampling_rate": 16000}
    found = model_file.conversation_of(
        [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": [*messages({"q": "?"})[0]["content"]]},
            {"role": "assistant", "content": [{"type": "text", "text": "red"}]},
            {"role": "user", "content": [{"type": "audio", "url": sound}]},
        ],
        "toy 0",
    )
    assert [one.role for one in found.messages] == [
        Role.SYSTEM,
        Role.USER,
        Role.ASSISTANT,
        Role.USER,
    ]
    assert [type(one) for one in found.media()] == [Image, Audio]
    assert found.messages[1].text == "\n?"
    with pytest.raises(ConfigError, match="type 'depth'"):
        model_file.conversation_of(
            [{"role": "user", "content": [{"type": "depth", "url": RED}]}], "toy"
        )


def test_answers_are_weighed(model_file: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    made = open_model(model_file, monkeypatch, Scoring(lambda one: "red"))
    visuals = lambda row: [RED]  # noqa: E731  # as lmms-eval hands it over
    asked = [
        request("?", "red", visuals, 0, "toy", "test"),
        request("?", lambda row: "blue", visuals, 1, "toy", "test"),
    ]
    assert made.loglikelihood(asked) == [(-3.0, True), (-4.0, False)]


def test_rounds_are_refused(model_file: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    made = open_model(model_file, monkeypatch, ScriptedEngine(lambda one: ""))
    with pytest.raises(ConfigError, match="several rounds"):
        made.generate_until_multi_round([request()])


def test_the_real_registry_takes_our_model() -> None:
    registry = pytest.importorskip("lmms_eval.models.registry_v2")
    known = registry.ModelRegistryV2()
    known.register_manifest(manifest())
    assert known.get_model_class(MODEL).__name__ == "HocketForLmms"

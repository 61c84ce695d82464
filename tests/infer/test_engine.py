"""Answers: together or one at a time, whole or in pieces, and their scores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from tests.train.toy_run import build_model, data_spec, write_rows

from hocket._errors import ConfigError, DataError
from hocket.chat.conversation import Conversation, Message, Role, Text
from hocket.chat.template import read_template
from hocket.data.mixture import open_source
from hocket.infer.draw import Drawn
from hocket.infer.engine import Engine, prompt
from hocket.infer.sampling import Sampling
from hocket.tokens.processor import HocketProcessor

SHORT = Sampling(max_new_tokens=12)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("data")
    write_rows(made)
    return made


@pytest.fixture(scope="module")
def engine(folder: Path) -> Engine:
    model, processor = build_model(folder)
    return Engine(model.eval(), processor)


@pytest.fixture(scope="module")
def questions(folder: Path) -> list[Conversation]:
    """Return prompts of different lengths: pictures, sounds, videos, text and a second turn."""
    found = []
    for name, rows in (("media", (0, 1, 2, 3, 4, 5)), ("text", (0, 5))):
        source = open_source(name, data_spec(folder).datasets[name])
        for row in rows:
            asked = source[row]
            found.append(
                Conversation(id=asked.id, messages=asked.messages[:-1], source=asked.source)
            )
    return found


def said(text: str, *, role: Role = Role.USER) -> Conversation:
    return Conversation(id="x", messages=(Message(role, (Text(text),)),), source="data row 3")


def test_together_and_one_at_a_time_are_the_same(
    engine: Engine, questions: list[Conversation]
) -> None:
    together = engine.answer(questions, SHORT)
    alone = [engine.answer([question], SHORT)[0] for question in questions]
    assert together == alone
    assert len({answer.prompt_tokens for answer in together}) > 3
    assert len({answer.tokens for answer in together}) > 3
    for question, answer in zip(questions, together, strict=True):
        measured = engine.processor.measure(question, for_answer=True)
        assert answer.prompt_tokens == len(measured.input_ids)


def test_greedy_answers_are_those_of_the_model_without_a_cache(
    engine: Engine, questions: list[Conversation]
) -> None:
    (answer,) = engine.answer([questions[4]], Sampling(max_new_tokens=4))
    example = engine.processor.encode(questions[4], for_answer=True)
    ids = list(example.outline.input_ids)
    for token in answer.tokens:
        with torch.inference_mode():
            logits = engine.model(
                input_ids=torch.tensor([ids]),
                pixel_values=example.images,
                input_features=example.sounds,
                feature_lengths=example.sound_lengths,
                use_cache=False,
            ).logits
        assert int(logits[0, -1].argmax()) == token
        ids.append(token)


def test_no_questions_no_answers(engine: Engine) -> None:
    assert engine.answer([]) == []
    assert engine.score([], []) == []


@pytest.mark.parametrize(
    "sampling",
    [SHORT, Sampling(max_new_tokens=40, temperature=3.0, seed=5), Sampling(max_new_tokens=1)],
)
def test_pieces_joined_are_the_answer(
    engine: Engine, questions: list[Conversation], sampling: Sampling
) -> None:
    for question in questions:
        (whole,) = engine.answer([question], sampling)
        pieces = list(engine.stream(question, sampling))
        assert "".join(pieces) == whole.text
        assert all(pieces)
        assert len(whole.tokens) <= sampling.max_new_tokens


def test_a_character_of_several_tokens_comes_whole(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    speak(engine, monkeypatch, "a\u00e9\u20ac\U0001f600z")
    pieces = list(engine.stream(said("x"), Sampling(max_new_tokens=40)))
    assert pieces == ["a", "\u00e9", "\u20ac", "\U0001f600", "z"]


def test_stop_ends_within_a_token(engine: Engine, questions: list[Conversation]) -> None:
    whole = engine.answer([questions[0]], SHORT)[0]
    calls = 0

    def stop() -> bool:
        nonlocal calls
        calls += 1
        return calls > 3

    pieces = list(engine.stream(questions[0], SHORT, stop=stop))
    assert calls == 4
    assert len(pieces) <= 3 and whole.text.startswith("".join(pieces))
    assert list(engine.stream(questions[0], SHORT, stop=lambda: True)) == []


@pytest.mark.parametrize(
    ("stop", "text", "finished"),
    [
        ((), "one, two. three", True),
        ((". ",), "one, two", True),
        (("two. t",), "one, ", True),
        (("three", "two"), "one, ", True),
        (("two. four", "threes"), "one, two. three", True),
        (("one",), "", True),
    ],
)
def test_stop_texts_are_cut_also_from_pieces(
    engine: Engine,
    monkeypatch: pytest.MonkeyPatch,
    stop: tuple[str, ...],
    text: str,
    finished: bool,
) -> None:
    sampling = Sampling(max_new_tokens=40, stop=stop)
    speak(engine, monkeypatch, "one, two. three")
    (answer,) = engine.answer([said("x")], sampling)
    assert (answer.text, answer.finished) == (text, finished)
    speak(engine, monkeypatch, "one, two. three")
    assert "".join(engine.stream(said("x"), sampling)) == text


def test_the_limit_is_kept_and_told(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, finished in ((3, False), (40, True)):
        speak(engine, monkeypatch, "one, two")
        (answer,) = engine.answer([said("x")], Sampling(max_new_tokens=limit))
        assert answer.finished is finished
        assert len(answer.tokens) == limit or finished
    assert engine.answer([said("x")], Sampling(max_new_tokens=0))[0].tokens == ()


def speak(engine: Engine, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Make the model say a text, one byte per token, and end."""
    tokenizer = engine.processor.tokenizer
    ids = [id for byte in text.encode() for id in tokenizer.convert_tokens_to_ids([letter(byte)])]
    assert tokenizer.decode(ids) == text

    def script() -> Iterator[int]:
        yield from ids
        while True:
            yield tokenizer.eos_token_id

    said = script()
    monkeypatch.setattr("hocket.infer.scheduler.draw", lambda *_: Drawn(next(said)))


def letter(byte: int) -> str:
    """Return the character that byte-level BPE writes for a byte."""
    plain = [*range(33, 127), *range(161, 173), *range(174, 256)]
    if byte in plain:
        return chr(byte)
    return chr(256 + [other for other in range(256) if other not in plain].index(byte))


def test_sampling_depends_on_the_seed_alone(engine: Engine, questions: list[Conversation]) -> None:
    def sample(seed: int) -> list[str]:
        chosen = Sampling(max_new_tokens=12, temperature=2.0, seed=seed)
        torch.manual_seed(seed + 7)
        return [answer.text for answer in engine.answer(questions[:3], chosen)]

    first = sample(1)
    torch.rand(3)
    assert sample(1) == first
    assert sample(2) != first


@pytest.mark.parametrize("narrow", [{"top_k": 1}, {"top_p": 1e-6}, {"temperature": 1e-4}])
def test_the_narrowest_sampling_is_greedy(
    engine: Engine, questions: list[Conversation], narrow: dict[str, float]
) -> None:
    sampling = Sampling(**({"max_new_tokens": 12, "temperature": 1.0} | narrow))  # type: ignore[arg-type]  # top_k is whole
    assert engine.answer(questions, sampling) == engine.answer(questions, SHORT)


def test_scores_are_sums_of_log_probabilities(
    engine: Engine, questions: list[Conversation]
) -> None:
    texts = ["red", "It is 6.", "", "low, and high", "red", "x", "red", "no"]
    scores = engine.score(questions, texts)
    end = engine.processor.tokenizer.eos_token_id
    for question, text, score in zip(questions, texts, scores, strict=True):
        example = engine.processor.encode(question, for_answer=True)
        answer = [*engine.processor.tokenizer(text)["input_ids"], end]
        ids = [*example.outline.input_ids, *answer]
        media = {
            "pixel_values": example.images,
            "pixel_values_videos": example.frames,
            "input_features": example.sounds,
            "feature_lengths": example.sound_lengths,
        }
        with torch.inference_mode():
            logits = engine.model(input_ids=torch.tensor([ids]), use_cache=False, **media).logits
        shares = logits[0].double().log_softmax(-1)
        at = len(ids) - len(answer)
        by_hand = sum(float(shares[at + k - 1, token]) for k, token in enumerate(answer))
        assert score == pytest.approx(by_hand, abs=1e-4)


def test_a_trained_answer_scores_above_the_others(folder: Path) -> None:
    model, processor = build_model(folder)
    source = open_source("text", data_spec(folder).datasets["text"])
    example = processor.encode(source[3])
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(25):
        loss = model(
            input_ids=torch.tensor([example.outline.input_ids]),
            labels=torch.tensor([example.outline.labels]),
        ).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    engine = Engine(model.eval(), processor)
    asked = said(source[3].messages[0].text)
    greedy = engine.answer([asked], SHORT)[0]
    assert greedy.text == "It is 4." and greedy.finished
    scores = engine.score([asked] * 4, ["It is 4.", "It is 5.", "It is 4", "red"])
    assert max(scores[1:]) < scores[0] < 0


def test_a_conversation_that_ends_with_an_answer_is_refused(engine: Engine) -> None:
    closed = said("Four.", role=Role.ASSISTANT)
    for ask in (
        lambda: engine.answer([said("What?"), closed]),
        lambda: list(engine.stream(closed)),
        lambda: engine.score([closed], ["x"]),
        lambda: engine.answer([Conversation(id="empty", messages=(), source="data row 3")]),
    ):
        with pytest.raises(DataError, match="data row 3: must end with a user turn"):
            ask()


def test_as_many_answers_as_questions(engine: Engine) -> None:
    with pytest.raises(DataError, match="2 conversations but 1 continuations"):
        engine.score([said("a"), said("b")], ["c"])


def test_a_prompt_puts_media_first(folder: Path, engine: Engine) -> None:
    picture = np.zeros((20, 30, 3), np.uint8)
    sound = np.zeros(4000, np.float32)
    made = prompt("What <image>?", images=[folder / "0.png", picture], audios=sound)
    (message,) = made.messages
    kinds = [type(part).__name__ for part in message.parts]
    assert kinds == ["Image", "Text", "Image", "Text", "Audio", "Text", "Text"]
    assert message.text == "\n\n\nWhat <image>?"
    outline = engine.processor.measure(made, for_answer=True)
    assert [span.modality.value for span in outline.spans] == ["image", "image", "audio"]
    with pytest.raises(DataError, match="a picture must be a path"):
        prompt("x", images=[3])


def test_the_answer_depends_on_the_media(engine: Engine) -> None:
    one = np.zeros((16, 16, 3), np.uint8)
    other = np.full((16, 16, 3), 255, np.uint8)
    asked = [prompt("x", images=[picture]) for picture in (one, other)]
    dark, light = engine.score(asked, ["red", "red"])
    assert dark != pytest.approx(light, abs=1e-4)


def test_a_model_without_ears_says_so(folder: Path) -> None:
    model, processor = build_model(folder)
    deaf = HocketProcessor(
        processor.tokenizer,
        image_layout=processor.image_layout,
        chat_template=processor.chat_template,
    )
    with pytest.raises(ConfigError, match="has a sound, but the model has no audio tower"):
        Engine(model, deaf).generate("x", audios=[folder / "2.wav"])


def test_thinking_is_handed_to_the_template(engine: Engine) -> None:
    old = engine.processor
    own = HocketProcessor(old.tokenizer, chat_template=read_template("ovis2_5"))
    thoughtful = Engine(engine.model, own)
    opened, closed = (
        thoughtful.answer([prompt("2 + 3?")], Sampling(max_new_tokens=1, thinking=thinking))[0]
        for thinking in (True, False)
    )
    silence = old.tokenizer("<think>\n\n</think>\n\n", add_special_tokens=False).input_ids
    assert closed.prompt_tokens - opened.prompt_tokens == len(silence)

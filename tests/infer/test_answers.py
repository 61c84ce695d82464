"""What a request may ask of its answer: scores, several choices, penalties, schemas, counts."""

from __future__ import annotations

import json
import math
import re
import sys

import pytest
import torch
from tests.toy import TEXTS, picture, sound, talk, toy, user, video

from hocket._errors import ConfigError, MissingExtraError
from hocket.infer.engine import Engine, prompt
from hocket.infer.grammar import Constraint
from hocket.infer.request import FinishReason, Piece
from hocket.infer.sampling import Sampling
from hocket.infer.tools import call_grammar
from hocket.tokens.span import Modality

HOT = Sampling(max_new_tokens=200, temperature=1.0)
ASKED = prompt("What is this?")
SCHEMA = {
    "type": "object",
    "properties": {"colour": {"enum": ["red", "blue"]}, "count": {"type": "integer"}},
    "required": ["colour", "count"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine(*toy())


def test_scores_are_the_models_own(engine: Engine) -> None:
    wanted = Sampling(max_new_tokens=5, min_new_tokens=5, logprobs=True, top_logprobs=3)
    (answer,) = engine.submit(ASKED, wanted).result().answers
    assert len(answer.scores) == len(answer.tokens) == 5
    example = engine.processor.encode(ASKED, for_answer=True)
    ids = list(example.outline.input_ids)
    for token, chosen in zip(answer.tokens, answer.scores, strict=True):
        with torch.inference_mode():
            logits = engine.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]
        shares = logits.log_softmax(-1)
        assert chosen.score.token == token
        assert chosen.score.logprob == pytest.approx(float(shares[token]), abs=1e-4)
        values, _ = shares.topk(3)
        assert [one.logprob for one in chosen.top] == pytest.approx(values.tolist(), abs=1e-4)
        ids.append(token)
    joined = b"".join(chosen.score.bytes for chosen in answer.scores)
    assert joined.decode(errors="replace") == answer.text


def test_choices_differ_and_each_is_a_function_of_its_seed(engine: Engine) -> None:
    several = Sampling(max_new_tokens=12, temperature=1.0, seed=4, n=3)
    first = engine.submit(ASKED, several).result()
    again = engine.submit(ASKED, several).result()
    assert [one.tokens for one in first.answers] == [one.tokens for one in again.answers]
    assert len({one.tokens for one in first.answers}) == 3
    alone = engine.answer([ASKED], Sampling(max_new_tokens=12, temperature=1.0, seed=4))[0]
    assert alone.tokens == first.answers[0].tokens
    assert first.usage.answer_tokens >= sum(len(one.tokens) for one in first.answers)


def test_pieces_of_all_choices_arrive(engine: Engine) -> None:
    heard: list[Piece] = []
    handle = engine.submit(
        ASKED, Sampling(max_new_tokens=9, temperature=1.0, n=2), on_token=heard.append
    )
    pieces = list(handle)
    assert pieces == heard
    done = handle.result()
    for at, answer in enumerate(done.answers):
        mine = [one for one in pieces if one.choice == at]
        assert "".join(one.text for one in mine) == answer.text
        assert [one.reason for one in mine[:-1]] == [None] * (len(mine) - 1)
        assert mine[-1].reason is answer.reason
    called: list[int] = []
    handle.add_done_callback(lambda one: called.append(one.id))
    assert called == [handle.id]


def test_usage_counts_media_by_kind(engine: Engine) -> None:
    asked = talk(user(picture(), video(), sound(seconds=0.2), "?"))
    usage = engine.submit(asked, Sampling(max_new_tokens=3, min_new_tokens=3)).result().usage
    outline = engine.processor.measure(asked, for_answer=True)
    by_hand = {span.modality: span.rows for span in outline.spans}
    assert usage.media_tokens == by_hand
    assert set(by_hand) == set(Modality)
    assert (usage.prompt_tokens, usage.answer_tokens) == (len(outline.input_ids), 3)


def test_timing_is_in_order(engine: Engine) -> None:
    timing = engine.submit(ASKED, Sampling(max_new_tokens=4)).result().timing
    assert 0 <= timing.started_s <= timing.first_token_s <= timing.done_s


def test_penalties_and_bias(engine: Engine) -> None:
    greedy = engine.answer([ASKED], Sampling(max_new_tokens=20, min_new_tokens=20))[0].tokens
    assert len(set(greedy)) < 20
    for option in ({"presence_penalty": 100.0}, {"frequency_penalty": 100.0}):
        chosen = Sampling(max_new_tokens=20, min_new_tokens=20, **option)  # type: ignore[arg-type]  # floats
        assert len(set(engine.answer([ASKED], chosen)[0].tokens)) == 20
    often = Sampling(max_new_tokens=20, min_new_tokens=20, repetition_penalty=1e4)
    said = engine.answer([ASKED], often)[0].tokens
    ids = engine.processor.measure(ASKED, for_answer=True).input_ids
    assert len(set(said)) == 20 and not set(said) & set(ids)
    forced = Sampling(max_new_tokens=3, logit_bias=((70, 1e4),))
    assert engine.answer([ASKED], forced)[0].tokens == (70, 70, 70)
    stopped = Sampling(max_new_tokens=3, logit_bias=((70, 1e4),), stop_tokens=(70,))
    (answer,) = engine.answer([ASKED], stopped)
    assert (answer.tokens, answer.finished) == ((), True)


@pytest.mark.parametrize("seed", range(4))
def test_a_schema_is_kept(engine: Engine, seed: int) -> None:
    constraint = Constraint.json_schema(SCHEMA)
    chosen = Sampling(max_new_tokens=300, temperature=1.0, seed=seed, constraint=constraint)
    other = engine.submit(ASKED, HOT)
    (answer,) = engine.submit(ASKED, chosen).result().answers
    other.cancel()
    if answer.reason is FinishReason.STOP:
        made = json.loads(answer.text)
        assert made["colour"] in ("red", "blue") and isinstance(made["count"], int)
    else:
        assert answer.text.startswith("{")


@pytest.mark.parametrize("pattern", ["(yes|no)", "[0-9]{3}-[a-c]+x"])
def test_an_expression_is_matched(engine: Engine, pattern: str) -> None:
    chosen = Sampling(max_new_tokens=60, temperature=1.0, constraint=Constraint.regex(pattern), n=3)
    for answer in engine.submit(ASKED, chosen).result().answers:
        assert answer.reason is FinishReason.LENGTH or re.fullmatch(pattern, answer.text)


def test_json_object(engine: Engine) -> None:
    chosen = Sampling(max_new_tokens=40, constraint=Constraint.json_object())
    assert engine.answer([ASKED], chosen)[0].text.lstrip().startswith("{")


def test_a_forced_call_can_be_read(engine: Engine) -> None:
    tools = [{"type": "function", "function": {"name": "paint", "parameters": SCHEMA}}]
    chosen = Sampling(
        max_new_tokens=300, temperature=1.0, constraint=Constraint.lark(call_grammar(tools))
    )
    (answer,) = engine.answer([ASKED], chosen)
    assert answer.finished, answer.text
    (call,) = answer.tool_calls
    assert call.name == "paint"
    assert json.loads(call.arguments)["colour"] in ("red", "blue")


@pytest.mark.parametrize(
    "constraint",
    [
        Constraint.regex("(["),
        Constraint.json_schema({"type": "nothing"}),
        Constraint.lark("start: nowhere"),
        Constraint("poem", "x"),
    ],
)
def test_what_cannot_be_a_constraint(engine: Engine, constraint: Constraint) -> None:
    with pytest.raises(ConfigError, match="constraint: "):
        engine.submit(ASKED, Sampling(constraint=constraint))


def test_division_that_takes_too_long_is_refused_at_once(engine: Engine) -> None:
    def numbers(*given: float | bool | str) -> dict[str, object]:
        return {"anyOf": [{"type": "number", "multipleOf": one} for one in given]}

    for found in (numbers(999_983), numbers(997, 991), numbers(10**400, 3), numbers(0.00017, 7919)):
        with pytest.raises(ConfigError, match="no common multiple up to 65536"):
            Constraint.json_schema(found)
        with pytest.raises(ConfigError, match="no common multiple up to 65536"):
            call_grammar([{"name": "f", "parameters": found}])
    odd = numbers(True, "x", -1, float("inf"), 1e-300)
    for allowed in (numbers(0.01, 5), numbers(*range(2, 11)), odd):
        Constraint.json_schema(allowed)
    matcher = engine._grammars.matcher(Constraint.json_schema(numbers(0.25, 60)))
    assert bool(matcher.allowed().any())


def test_without_the_library_the_extra_is_named(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(MissingExtraError, match=r"hocket\[serve\]"):
        engine.submit(ASKED, Sampling(constraint=Constraint.regex("a")))


def test_a_thought_comes_before_the_constraint(engine: Engine) -> None:
    chosen = Sampling(
        max_new_tokens=200,
        thinking=True,
        thinking_budget=3,
        constraint=Constraint.regex("(red|blue)"),
    )
    (answer,) = engine.answer([ASKED], chosen)
    assert answer.response in ("red", "blue")
    assert answer.thought.endswith("</think>")


def test_a_text_is_continued_as_it_is(engine: Engine) -> None:
    done = engine.submit(TEXTS[1], Sampling(max_new_tokens=3, min_new_tokens=3)).result()
    ids = engine.processor.tokenizer(TEXTS[1])["input_ids"]
    assert done.usage.prompt_tokens == len(ids)
    for token in done.answers[0].tokens:
        with torch.inference_mode():
            logits = engine.model(input_ids=torch.tensor([ids]), use_cache=False).logits[0, -1]
        assert math.isclose(float(logits[token]), float(logits.max()), abs_tol=1e-3)
        ids.append(token)

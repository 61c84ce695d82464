"""A thought ends at its budget: once, in its own row, and only where one is open."""

from __future__ import annotations

import pytest
from tests.toy import TEXTS, toy

from hocket._errors import ConfigError
from hocket.infer.engine import Engine, prompt
from hocket.infer.sampling import Sampling
from hocket.infer.thinking import HURRY, THINK_END, ThinkingBudget, split_thought
from hocket.tokens.tokenizer import build_tokenizer

WORDS = build_tokenizer([*TEXTS, HURRY], vocab_size=400)
FORCED = WORDS(HURRY, add_special_tokens=False)["input_ids"]
CLOSED = WORDS(f"a{THINK_END}", add_special_tokens=False)["input_ids"]
PLAIN = WORDS("a", add_special_tokens=False)["input_ids"][0]
END = int(WORDS.eos_token_id)


def run(rows: list[list[int]], *, limit: int) -> list[list[int]]:
    """Return what is said where the model would choose these tokens."""
    said = []
    for row in rows:
        budget = ThinkingBudget(WORDS, limit=limit, ends={END})
        said.append([budget.apply(token) for token in row])
    return said


def test_every_row_is_cut_for_itself() -> None:
    limit, steps = len(CLOSED), len(CLOSED) + len(FORCED) + 3
    rows = [
        [PLAIN] * steps,
        CLOSED + [PLAIN] * (steps - limit),
        [PLAIN] * (limit - 1) + [END] + [PLAIN] * (steps - limit),
    ]
    open_, closed, ended = run(rows, limit=limit)
    assert open_ == [PLAIN] * limit + FORCED + [PLAIN] * 3
    assert closed == rows[1]
    assert ended == rows[2]


def test_a_thought_that_ends_a_token_too_late_is_cut() -> None:
    row = CLOSED + [PLAIN] * len(FORCED)
    (made,) = run([row], limit=len(CLOSED) - 1)
    assert made[: len(CLOSED) - 1] == CLOSED[:-1]
    assert made[len(CLOSED) - 1 :] == [*FORCED, PLAIN]


@pytest.fixture(scope="module")
def engine() -> Engine:
    model, processor = toy()
    return Engine(model.eval(), processor)


def test_engine_forces_the_end_and_goes_on(engine: Engine) -> None:
    forced = engine.processor.tokenizer(HURRY, add_special_tokens=False)["input_ids"]
    talk = prompt("What is this?")
    free = engine.answer([talk], Sampling(max_new_tokens=2, thinking=True))[0]
    assert len(free.tokens) == 2, "the toy must say something for this test"
    asked = Sampling(max_new_tokens=2 + len(forced) + 4, thinking=True, thinking_budget=2)
    (answer,) = engine.answer([talk], asked)
    assert list(answer.tokens[: 2 + len(forced)]) == [*free.tokens, *forced]
    assert answer.thought.endswith(THINK_END)
    assert answer.response == answer.text.partition(THINK_END)[2].strip()
    assert "".join(engine.stream(talk, asked)) == answer.text
    short = Sampling(max_new_tokens=5, thinking=True, thinking_budget=2)
    assert engine.answer([talk], short)[0].tokens == answer.tokens[:5]


def test_budget_without_thinking_changes_nothing(engine: Engine) -> None:
    talk = prompt("What is this?")
    plain, budget = (Sampling(max_new_tokens=6, thinking_budget=limit) for limit in (0, 2))
    assert engine.answer([talk], plain) == engine.answer([talk], budget)


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("<think>\nred\n</think>\n\nA chair.", ("<think>\nred\n</think>", "A chair.")),
        (" A chair.\n", ("", "A chair.")),
        ("<think>red", ("", "<think>red")),
    ],
)
def test_thought_and_answer(text: str, parts: tuple[str, str]) -> None:
    assert split_thought(text) == parts


def test_negative_budgets_are_refused() -> None:
    with pytest.raises(ConfigError, match="thinking_budget is -1"):
        Sampling(thinking_budget=-1)

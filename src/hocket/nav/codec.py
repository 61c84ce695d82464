r"""Between a model's words and steps: what an answer does, and what an expert would have said.

`navila` reads as NaVILA's evaluation does: "stop" anywhere wins, then forward, left, right; a
number that is not a whole number of steps goes to the nearest of one, two or three; multiples
beyond three are walked in full. `strict` takes the ten sentences NaVILA is trained on and nothing
else. Neither raises: what cannot be read is None, and the caller's policy decides.
"""

from __future__ import annotations

from enum import StrEnum

from hocket.eval.metrics.action_match import read_action
from hocket.nav.environment import Decision as Decision
from hocket.nav.environment import NavAction

# NaVILA's wording, the number's unit in the singular included.
_STOP = "The next action is stop."
_FORWARD = "The next action is move forward {} cm."
_TURN = "The next action is turn {} {} degree."
# Of one step, said in one sentence.
MOST_REPEATS = 3


class Grammar(StrEnum):
    """How an answer is read."""

    NAVILA = "navila"
    STRICT = "strict"


_UNIT = {NavAction.FORWARD: 25, NavAction.LEFT: 15, NavAction.RIGHT: 15}
_SIDES = {NavAction.LEFT: "left", NavAction.RIGHT: "right"}
_KINDS = {
    "stop": NavAction.STOP,
    "forward": NavAction.FORWARD,
    "left": NavAction.LEFT,
    "right": NavAction.RIGHT,
}


def sentence(decision: Decision) -> str:
    """Return how NaVILA says a decision.

    Raises:
        ValueError: no sentence exists for so many repeats.
    """
    action, repeats = decision.action, decision.repeats
    if not 1 <= repeats <= (1 if action is NavAction.STOP else MOST_REPEATS):
        raise ValueError(f"{action.name} x {repeats} has no sentence")
    if action is NavAction.STOP:
        return _STOP
    amount = repeats * _UNIT[action]
    if action is NavAction.FORWARD:
        return _FORWARD.format(amount)
    return _TURN.format(_SIDES[action], amount)


_SENTENCES = {
    sentence(decision): decision
    for decision in [
        Decision(NavAction.STOP),
        *(Decision(action, count) for action in _UNIT for count in range(1, MOST_REPEATS + 1)),
    ]
}


def read_answer(text: str, grammar: Grammar = Grammar.NAVILA) -> Decision | None:
    """Return what an answer asks for; None where it cannot be read."""
    if grammar is Grammar.STRICT:
        return _SENTENCES.get(text.strip())
    found = read_action(text)
    if found is None:
        return None
    action = _KINDS[found[0]]
    return Decision(action, found[1] // _UNIT.get(action, 1) or 1)


def merge(actions: list[NavAction]) -> Decision:
    """Return the first decision of a list of steps: up to three equal ones are one.

    Args:
        actions: what is to be done, at least one.
    """
    first, count = actions[0], 1
    if first is not NavAction.STOP:
        while count < min(len(actions), MOST_REPEATS) and actions[count] is first:
            count += 1
    return Decision(first, count)

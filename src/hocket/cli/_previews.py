"""The questions that a run asks its model at each save, and the engine that answers them.

They come from the held-out data, or from what is trained on where there is none, and are chosen by
nothing but the order of the rows: every kind of medium has its turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from hocket._errors import HocketError
from hocket._log import warn
from hocket.chat.conversation import Conversation
from hocket.data.mixture import open_source
from hocket.data.spec import DataSpec
from hocket.eval.question import Question as Known
from hocket.eval.question import questions_of
from hocket.infer.engine import Engine
from hocket.infer.sampling import Sampling
from hocket.model.modeling import HocketForConditionalGeneration
from hocket.tokens.processor import HocketProcessor
from hocket.train.observe.preview import MOST_NEW_TOKENS, Previews, Question

# Rows of each data set that are looked at: the first of a file are often all of one kind.
_ROWS = 128


def choose_previews(data: DataSpec, *, count: int) -> Previews | None:
    """Return `count` questions of the data, or None if there is none.

    Args:
        data: the run's data sets.
        count: how many; 0 for none.
    """
    piles: dict[str, list[Known]] = {}
    for known in _questions(data) if count else ():
        piles.setdefault(f"{known.modality} {known.task}", []).append(known)
    in_turn = [
        pile[turn]
        for turn in range(max(map(len, piles.values()), default=0))
        for pile in _kinds_first(piles)
        if turn < len(pile)
    ]
    chosen = [
        Question(id=one.id, conversation=one.conversation, target=one.target)
        for one in in_turn[:count]
    ]
    return Previews(questions=chosen, answer=_answer) if chosen else None


def _kinds_first(piles: dict[str, list[Known]]) -> list[list[Known]]:
    """Return the piles so that every modality comes before another task of one."""
    seen: dict[str, int] = {}
    ranked = []
    for pile in piles.values():
        modality = pile[0].modality
        ranked.append((seen.setdefault(modality, 0), pile))
        seen[modality] += 1
    return [pile for _, pile in sorted(ranked, key=lambda one: one[0])]


def _questions(data: DataSpec) -> Iterator[Known]:
    for name, spec in (data.heldout or data.datasets).items():
        try:
            source = open_source(name, spec)
            rows = (source[at] for at in _spread(len(source)))
            yield from questions_of(rows)
        except HocketError as error:
            warn(f"no previews of {name}: {error}")


def _spread(rows: int) -> Iterator[int]:
    """Yield rows at even distances."""
    return islice(range(0, rows, max(1, rows // _ROWS)), _ROWS)


def _answer(
    model: HocketForConditionalGeneration,
    processor: HocketProcessor,
    conversations: Sequence[Conversation],
) -> list[str]:
    engine = Engine(model, processor)
    sampling = Sampling(max_new_tokens=MOST_NEW_TOKENS)
    return [one.text for one in engine.answer(conversations, sampling)]

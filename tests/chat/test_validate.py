from __future__ import annotations

import pytest

from hocket._errors import DataError
from hocket.chat.conversation import Conversation, Message, Role, Text
from hocket.chat.validate import check_conversation

S, U, A, T = Role.SYSTEM, Role.USER, Role.ASSISTANT, Role.TOOL


def talk(*roles: Role, text: str = "word", train: bool | None = None) -> Conversation:
    messages = tuple(Message(role, (Text(text),), train) for role in roles)
    return Conversation(id="x", messages=messages, source="data.json row 41")


@pytest.mark.parametrize("roles", [(U, A), (S, U, A), (U, A, U, A), (U, A, T, T, A, U, A)])
def test_good_orders_pass(roles: tuple[Role, ...]) -> None:
    check_conversation(talk(*roles), need_answer=True)


@pytest.mark.parametrize("roles", [(U,), (S, U), (U, A, U), (U, A, T)])
def test_an_open_conversation_passes_only_where_no_answer_is_needed(
    roles: tuple[Role, ...],
) -> None:
    check_conversation(talk(*roles), need_answer=False)
    with pytest.raises(DataError, match=r"the last message is from .*, expected 'assistant'"):
        check_conversation(talk(*roles), need_answer=True)


@pytest.mark.parametrize(
    ("roles", "found"),
    [
        ((A,), "message 0 is from 'assistant' at the start, expected 'system' or 'user'."),
        ((T, A), "message 0 is from 'tool' at the start, expected 'system' or 'user'."),
        ((S, A), "message 1 is from 'assistant' after 'system', expected 'user'."),
        ((S, S, U, A), "message 1 is from 'system' after 'system', expected 'user'."),
        ((U, U, A), "message 1 is from 'user' after 'user', expected 'assistant'."),
        ((U, A, A), "message 2 is from 'assistant' after 'assistant', expected 'user' or 'tool'."),
        ((U, A, S), "message 2 is from 'system' after 'assistant', expected 'user' or 'tool'."),
        ((U, T, A), "message 1 is from 'tool' after 'user', expected 'assistant'."),
        ((U, A, T, U), "message 3 is from 'user' after 'tool', expected 'tool' or 'assistant'."),
        ((S,), "a system message only, expected a user message. Add one."),
        ((), "no messages, expected a user message at least. Remove the sample."),
    ],
)
@pytest.mark.parametrize("need_answer", [False, True])
def test_other_orders_are_refused(roles: tuple[Role, ...], found: str, need_answer: bool) -> None:
    with pytest.raises(DataError) as caught:
        check_conversation(talk(*roles), need_answer=need_answer)
    assert str(caught.value).startswith(f"data.json row 41 (id 'x'): {found}")


def test_one_learned_answer_with_text_is_enough() -> None:
    ignored = Message(A, (Text("no"),), train=False)
    empty = Message(A, ())
    for first, last in [(ignored, Message(A, (Text("yes"),))), (Message(A, (Text("yes"),)), empty)]:
        user = Message(U, (Text("?"),))
        check_conversation(Conversation("x", (user, first, user, last)), need_answer=True)


def test_nothing_to_learn_is_refused() -> None:
    with pytest.raises(DataError, match="every learned answer is empty"):
        check_conversation(talk(U, A, text=" \n"), need_answer=True)
    with pytest.raises(DataError, match="2 answers and all are marked train=False"):
        check_conversation(talk(U, A, U, A, train=False), need_answer=True)
    check_conversation(talk(U, A, train=False), need_answer=False)

"""What a conversation must be before it is tokenised, whichever reader made it.

Knows roles and texts; must not know rows, tokens or files.
"""

from __future__ import annotations

from hocket._errors import EmptyAnswerError, TurnOrderError
from hocket.chat.conversation import Conversation, Message, Role

# Who may speak after whom; None is the start.
_NEXT: dict[Role | None, tuple[Role, ...]] = {
    None: (Role.SYSTEM, Role.USER),
    Role.SYSTEM: (Role.USER,),
    Role.USER: (Role.ASSISTANT,),
    Role.ASSISTANT: (Role.USER, Role.TOOL),
    Role.TOOL: (Role.TOOL, Role.ASSISTANT),
}


def check_conversation(conversation: Conversation, *, need_answer: bool) -> None:
    """Check the order of the roles and that there is something to learn.

    An optional system message comes first, then user and assistant in turns; a tool's results
    stand between two assistant messages.

    Args:
        conversation: what a reader returned.
        need_answer: also demand that the assistant has the last word and that at least one of
            its messages is learned and holds text, as training does.

    Raises:
        TurnOrderError: roles in another order, or no messages.
        EmptyAnswerError: nothing to learn.
    """
    at = f"{conversation.source} (id {conversation.id!r})"
    if not conversation.messages:
        raise TurnOrderError(
            f"{at}: no messages, expected a user message at least. Remove the sample."
        )
    before: Role | None = None
    for index, message in enumerate(conversation.messages):
        if message.role not in _NEXT[before]:
            follows = f"after {before.value!r}" if before else "at the start"
            expected = " or ".join(repr(role.value) for role in _NEXT[before])
            raise TurnOrderError(
                f"{at}: message {index} is from {message.role.value!r} {follows}, "
                f"expected {expected}. Add, merge or reorder messages."
            )
        before = message.role
    if before is Role.SYSTEM:
        raise TurnOrderError(f"{at}: a system message only, expected a user message. Add one.")
    if need_answer:
        _check_answer(conversation, at)


def _check_answer(conversation: Conversation, at: str) -> None:
    last = conversation.messages[-1]
    if last.role is not Role.ASSISTANT:
        raise TurnOrderError(
            f"{at}: the last message is from {last.role.value!r}, expected 'assistant'. "
            f"Add the answer or drop the message."
        )
    answers = [message for message in conversation.messages if message.role is Role.ASSISTANT]
    if any(_is_learned(answer) and answer.text.strip() for answer in answers):
        return
    if any(_is_learned(answer) for answer in answers):
        raise EmptyAnswerError(
            f"{at}: every learned answer is empty. Fill one in or remove the sample."
        )
    raise EmptyAnswerError(
        f"{at}: {len(answers)} answers and all are marked train=False, expected one that is "
        f"learned. Unmark one or remove the sample."
    )


def _is_learned(answer: Message) -> bool:
    return answer.train is not False

"""``/v1/chat/completions``: a dialogue with media in, an answer out."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from hocket.infer.request import Answer, Chosen, FinishReason, Piece
from hocket.infer.tools import ToolCall as FoundCall
from hocket.serve.answers import FINGERPRINT, fresh_id, top_scores, usage_of
from hocket.serve.drawing import chat_sampling, offered_tools
from hocket.serve.messages import check_end, conversation_of
from hocket.serve.said import Said, Voice, whole
from hocket.serve.service import Parts, Running, Service, or_gone
from hocket.serve.stream import DONE, WAITING, EventStream, frame
from hocket.serve.wire.chat import (
    AnswerMessage,
    ChatChoice,
    ChatCompletion,
    ChatRequest,
    FunctionCall,
    Logprobs,
    TokenLogprob,
    ToolCall,
)
from hocket.serve.wire.error import STREAMED

router = APIRouter(tags=["answers"])


@router.post("/v1/chat/completions", response_model=ChatCompletion, responses=STREAMED)
async def chat(request: Request, body: ChatRequest, service: Parts) -> Response:
    """Answer a dialogue, whole or as a stream of chunks."""
    return await or_gone(request, _answer(body, service, request.state.key))


async def _answer(body: ChatRequest, service: Service, key: str) -> Response:
    variant = service.catalogue.get(body.model)
    sampling = chat_sampling(body, service.limits, temperature=service.temperature)
    tools = offered_tools(body)
    if tools:
        variant.check_tools()
    check_end(body, sampling)
    variant.check_thinking(sampling)
    service.metrics.unknown_fields(body.model_extra or ())
    with ExitStack() as stack:
        running = await service.begin(
            stack,
            variant,
            lambda decoder: conversation_of(
                body.messages, tools, reader=service.reader, decoder=decoder
            ),
            sampling,
            key,
        )
        if body.stream:
            return EventStream(_chunks(body, running, sampling.n), stack.pop_all().close)
        completion = await running.result()
    made = ChatCompletion(
        id=fresh_id("chatcmpl"),
        created=int(time.time()),
        model=variant.id,
        choices=[
            _choice(number, answer, _voice(body, running))
            for number, answer in enumerate(completion.answers)
        ],
        usage=usage_of(completion.usage),
        system_fingerprint=FINGERPRINT,
    )
    choices = [_whole_choice(one) for one in made.choices]
    return JSONResponse(made.model_dump(exclude={"choices"}) | {"choices": choices})


def _voice(body: ChatRequest, running: Running) -> Voice:
    return Voice(
        tools=bool(body.tools) and body.tool_choice != "none",
        thinks=running.in_thought,
        one_call=body.parallel_tool_calls is False,
    )


def _choice(number: int, answer: Answer, voice: Voice) -> ChatChoice:
    said = whole(answer.text, voice)
    scores = answer.scores[: len(answer.tokens)]
    return ChatChoice(
        index=number,
        message=AnswerMessage(
            # Clients take no content beside calls as null.
            content=said.text if said.text or not said.calls else None,
            reasoning_content=said.thought or None,
            tool_calls=[_call(one) for one in said.calls] or None,
        ),
        logprobs=_logprobs(scores) if answer.scores else None,
        finish_reason=_reason(answer.reason, voice),
    )


def _whole_choice(choice: ChatChoice) -> dict[str, Any]:
    """Return a choice as JSON: content and logprobs are there even where they are null."""
    message = choice.message.model_dump(exclude_none=True) | {"content": choice.message.content}
    return choice.model_dump() | {"message": message}


async def _chunks(body: ChatRequest, running: Running, n: int) -> AsyncIterator[str]:
    """Yield the events of a stream: roles, deltas, reasons, the counts if wanted, the end."""
    head = {
        "id": fresh_id("chatcmpl"),
        "object": "chat.completion.chunk",
        "created": int(time.time()),
        "model": running.variant.id,
        "system_fingerprint": FINGERPRINT,
    }
    if body.wants_usage:
        head["usage"] = None
    voices = [_voice(body, running) for _ in range(n)]
    for number in range(n):
        yield _chunk(head, number, {"role": "assistant", "content": ""})
    async for piece in running.pieces():
        if piece is None:
            yield WAITING
            continue
        scores = _scores(piece)
        for delta, reason in _deltas(piece, voices[piece.choice]):
            yield _chunk(head, piece.choice, delta, reason, scores)
            scores = None
    if body.wants_usage:
        usage = usage_of(running.completion.usage).model_dump()
        yield frame(head | {"choices": [], "usage": usage})
    yield DONE


def _deltas(piece: Piece, voice: Voice) -> list[tuple[dict[str, Any], str | None]]:
    """Return what a piece adds to its choice, and the reason where it ends it."""
    first = voice.called
    said = voice.feed(piece.text)
    found = _delta(said, first)
    made: list[tuple[dict[str, Any], str | None]] = []
    if found or (piece.chosen is not None and piece.reason is not FinishReason.STOP):
        made.append((found or {"content": ""}, None))
    if piece.reason is None:
        return made
    first = voice.called
    if rest := _delta(voice.end(), first):
        made.append((rest, None))
    made.append(({}, _reason(piece.reason, voice)))
    return made


def _delta(said: Said, first: int) -> dict[str, Any]:
    calls = [_call(one, first + number) for number, one in enumerate(said.calls)]
    made: dict[str, Any] = {}
    if said.thought:
        made["reasoning_content"] = said.thought
    if said.text:
        made["content"] = said.text
    if calls:
        made["tool_calls"] = [one.model_dump() for one in calls]
    return made


def _chunk(
    head: dict[str, Any],
    number: int,
    delta: dict[str, Any],
    reason: str | None = None,
    scores: Logprobs | None = None,
) -> str:
    choice = {
        "index": number,
        "delta": delta,
        # The end token is no part of the answer, so its score goes nowhere.
        "logprobs": scores.model_dump() if scores and reason is None else None,
        "finish_reason": reason,
    }
    return frame(head | {"choices": [choice]})


def _scores(piece: Piece) -> Logprobs | None:
    return None if piece.chosen is None else _logprobs((piece.chosen,))


def _logprobs(scores: tuple[Chosen, ...]) -> Logprobs:
    content = []
    for one in scores:
        token, *top = top_scores(one)
        content.append(TokenLogprob(**token.model_dump(), top_logprobs=top))
    return Logprobs(content=content)


def _call(call: FoundCall, index: int | None = None) -> ToolCall:
    return ToolCall(
        id=f"call_{uuid.uuid4().hex[:24]}",
        function=FunctionCall(name=call.name, arguments=call.arguments),
        index=index,
    )


def _reason(reason: FinishReason, voice: Voice) -> str:
    return "tool_calls" if voice.called and reason is FinishReason.STOP else reason.value

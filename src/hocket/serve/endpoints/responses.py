"""``/v1/responses``: OpenAI's newer interface, whole or as a stream of named events."""

from __future__ import annotations

import itertools
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from hocket.infer.request import Answer, Chosen, FinishReason
from hocket.infer.tools import ToolCall
from hocket.serve.answers import fresh_id, top_scores, usage_of
from hocket.serve.drawing import chat_sampling, offered_tools
from hocket.serve.errors import ApiError
from hocket.serve.items import as_chat
from hocket.serve.messages import check_end, conversation_of
from hocket.serve.said import Said, Voice, whole
from hocket.serve.service import Parts, Running, Service, or_gone
from hocket.serve.stream import WAITING, EventStream, frame
from hocket.serve.wire.chat import ChatRequest
from hocket.serve.wire.error import STREAMED
from hocket.serve.wire.responses import ResponseRequest

router = APIRouter(tags=["answers"])
_Json = dict[str, Any]


@router.post("/v1/responses", responses=STREAMED)
async def responses(request: Request, body: ResponseRequest, service: Parts) -> Response:
    """Answer input, whole or as a stream of events."""
    return await or_gone(request, _answer(body, service, request.state.key))


async def _answer(body: ResponseRequest, service: Service, key: str) -> Response:
    chat, where = as_chat(body)
    variant = service.catalogue.get(body.model)
    sampling = chat_sampling(chat, service.limits, temperature=service.temperature)
    tools = offered_tools(chat)
    if tools:
        variant.check_tools()
    check_end(chat, sampling, where)
    variant.check_thinking(sampling)
    service.metrics.unknown_fields(body.model_extra or ())
    with ExitStack() as stack:
        running = await service.begin(
            stack,
            variant,
            lambda decoder: conversation_of(
                chat.messages, tools, reader=service.reader, decoder=decoder, places=where
            ),
            sampling,
            key,
        )
        head = _head(body, variant.id)
        voice = _voice(chat, running)
        if body.stream:
            return EventStream(_Events(head, voice).all(running), stack.pop_all().close)
        completion = await running.result()
    answer = completion.answers[0]
    output = _output(whole(answer.text, voice), answer)
    return JSONResponse(
        _finished(head, output, answer.reason, usage_of(completion.usage).model_dump())
    )


def _voice(chat: ChatRequest, running: Running) -> Voice:
    return Voice(
        tools=bool(chat.tools) and chat.tool_choice != "none",
        thinks=running.in_thought,
        one_call=chat.parallel_tool_calls is False,
    )


def _head(body: ResponseRequest, model: str) -> _Json:
    """Return a response that has just begun."""
    return {
        "id": fresh_id("resp"),
        "object": "response",
        "created_at": int(time.time()),
        "status": "in_progress",
        "background": False,
        "error": None,
        "incomplete_details": None,
        "instructions": body.instructions,
        "max_output_tokens": body.max_output_tokens,
        "metadata": body.metadata or {},
        "model": model,
        "output": [],
        "parallel_tool_calls": body.parallel_tool_calls is not False,
        "previous_response_id": None,
        "reasoning": body.reasoning or {},
        "store": False,
        "temperature": body.temperature,
        "text": body.text or {"format": {"type": "text"}},
        "tool_choice": body.tool_choice or "auto",
        "tools": [
            one.model_dump(exclude_none=True) | {"strict": one.strict or False}
            for one in body.tools or ()
        ],
        "top_p": body.top_p,
        "truncation": "disabled",
        "usage": None,
    }


def _finished(head: _Json, output: list[_Json], reason: FinishReason, usage: _Json) -> _Json:
    cut = reason is FinishReason.LENGTH
    prompt = usage["prompt_tokens_details"]
    return head | {
        "status": "incomplete" if cut else "completed",
        "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
        "output": output,
        "usage": {
            "input_tokens": usage["prompt_tokens"],
            "input_tokens_details": prompt | {"cache_write_tokens": 0},
            "output_tokens": usage["completion_tokens"],
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": usage["total_tokens"],
        },
    }


def _output(said: Said, answer: Answer) -> list[_Json]:
    """Return the items of a whole answer: thought, message, calls."""
    items = [_thought(said.thought)] if said.thought else []
    if said.text or not said.calls:
        scores = answer.scores[: len(answer.tokens)]
        items.append(_message(fresh_id("msg"), said.text, _logprobs(scores)))
    return items + [_call(fresh_id("fc"), one) for one in said.calls]


def _thought(text: str) -> _Json:
    return {
        "id": fresh_id("rs"),
        "type": "reasoning",
        "summary": [],
        "content": [{"type": "reasoning_text", "text": text}],
        "status": "completed",
    }


def _message(number: str, text: str, scores: list[_Json], status: str = "completed") -> _Json:
    return {
        "id": number,
        "type": "message",
        "role": "assistant",
        "status": status,
        "content": [_part(text, scores)] if status == "completed" else [],
    }


def _part(text: str, scores: list[_Json]) -> _Json:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": scores}


def _call(number: str, call: ToolCall, status: str = "completed") -> _Json:
    return {
        "id": number,
        "type": "function_call",
        "call_id": fresh_id("call"),
        "name": call.name,
        "arguments": call.arguments if status == "completed" else "",
        "status": status,
    }


def _logprobs(scores: tuple[Chosen, ...]) -> list[_Json]:
    made = []
    for one in scores:
        token, *top = top_scores(one)
        made.append(token.model_dump() | {"top_logprobs": [each.model_dump() for each in top]})
    return made


class _Events:
    """Writes the events of one streamed response.

    Args:
        head: the response as it begins.
        voice: takes the answer apart.
    """

    def __init__(self, head: _Json, voice: Voice) -> None:
        self._head = head
        self._voice = voice
        self._numbers = itertools.count()
        self._output: list[_Json] = []
        self._message = ""  # id of the message that is under way
        self._text = ""
        self._thoughts = ""
        self._scores: list[_Json] = []

    async def all(self, running: Running) -> AsyncIterator[str]:
        """Yield the events from ``response.created`` to ``response.completed``."""
        yield self._event("response.created", response=self._head)
        yield self._event("response.in_progress", response=self._head)
        reason = FinishReason.STOP
        try:
            async for piece in running.pieces():
                if piece is None:
                    yield WAITING
                    continue
                reason = piece.reason or reason
                fresh = _logprobs((piece.chosen,)) if piece.chosen else []
                if piece.reason is FinishReason.STOP:
                    fresh = []
                for event in self._said(self._voice.feed(piece.text), fresh):
                    yield event
        except ApiError as error:
            body = error.body["error"]
            yield self._event("error", **(body | {"code": body["code"] or body["type"]}))
            failed = {"code": "server_error", "message": body["message"]}
            response = self._head | {"status": "failed", "error": failed}
            yield self._event("response.failed", response=response)
            return
        for event in self._said(self._voice.end(), []):
            yield event
        for event in self._close_message():
            yield event
        if not self._output:
            for event in itertools.chain(self._add_text("", []), self._close_message()):
                yield event
        usage = usage_of(running.completion.usage).model_dump()
        whole_one = _finished(self._head, self._output, reason, usage)
        kind = "incomplete" if whole_one["status"] == "incomplete" else "completed"
        yield self._event(f"response.{kind}", response=whole_one)

    def _said(self, said: Said, scores: list[_Json]) -> Iterator[str]:
        self._thoughts += said.thought
        if said.text and self._thoughts and not self._message:
            yield from self._add_item(_thought(self._thoughts.strip()))
            self._thoughts = ""
        if said.text:
            yield from self._add_text(said.text, scores)
        for call in said.calls:
            yield from self._close_message()
            yield from self._add_call(call)

    def _add_text(self, text: str, scores: list[_Json]) -> Iterator[str]:
        at = len(self._output)
        if not self._message:
            self._message, self._text, self._scores = fresh_id("msg"), "", []
            item = _message(self._message, "", [], "in_progress")
            yield self._event("response.output_item.added", output_index=at, item=item)
            yield self._event("response.content_part.added", **self._place(), part=_part("", []))
        self._text += text
        self._scores += scores
        if text:
            yield self._event(
                "response.output_text.delta", **self._place(), delta=text, logprobs=scores
            )

    def _close_message(self) -> Iterator[str]:
        if self._thoughts:
            yield from self._add_item(_thought(self._thoughts.strip()))
            self._thoughts = ""
        if not self._message:
            return
        place, scores = self._place(), self._scores
        yield self._event("response.output_text.done", **place, text=self._text, logprobs=scores)
        yield self._event("response.content_part.done", **place, part=_part(self._text, scores))
        item = _message(self._message, self._text, scores)
        self._message = ""
        yield self._end_item(item)

    def _add_call(self, call: ToolCall) -> Iterator[str]:
        item = _call(fresh_id("fc"), call)
        place = {"item_id": item["id"], "output_index": len(self._output)}
        begun = item | {"arguments": "", "status": "in_progress"}
        yield self._event("response.output_item.added", output_index=len(self._output), item=begun)
        yield self._event("response.function_call_arguments.delta", **place, delta=call.arguments)
        yield self._event(
            "response.function_call_arguments.done",
            **place,
            arguments=call.arguments,
            name=call.name,
        )
        yield self._end_item(item)

    def _add_item(self, item: _Json) -> Iterator[str]:
        yield self._event("response.output_item.added", output_index=len(self._output), item=item)
        yield self._end_item(item)

    def _end_item(self, item: _Json) -> str:
        made = self._event("response.output_item.done", output_index=len(self._output), item=item)
        self._output.append(item)
        return made

    def _place(self) -> _Json:
        return {"item_id": self._message, "output_index": len(self._output), "content_index": 0}

    def _event(self, kind: str, **fields: Any) -> str:
        data = {**fields, "type": kind, "sequence_number": next(self._numbers)}
        return frame(data, event=kind)

"""``/v1/completions``: texts that are gone on with, without a chat template."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack
from functools import partial

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from hocket.infer.request import Answer, Chosen, FinishReason, Piece
from hocket.infer.sampling import Sampling
from hocket.serve.answers import FINGERPRINT, fresh_id, summed, top_scores
from hocket.serve.decode import Decoder
from hocket.serve.drawing import check_fields, format_constraint, sampling_of
from hocket.serve.errors import ApiError
from hocket.serve.service import Parts, Running, Service, or_gone
from hocket.serve.stream import DONE, WAITING, EventStream, frame
from hocket.serve.wire.completions import (
    Completion,
    CompletionChoice,
    CompletionLogprobs,
    CompletionRequest,
)
from hocket.serve.wire.error import STREAMED

router = APIRouter(tags=["answers"])
_DEFAULT_TOKENS = 16  # OpenAI's


@router.post("/v1/completions", response_model=Completion, responses=STREAMED)
async def completions(request: Request, body: CompletionRequest, service: Parts) -> Response:
    """Go on with texts, whole or as a stream of chunks."""
    return await or_gone(request, _answer(body, service, request.state.key))


async def _answer(body: CompletionRequest, service: Service, key: str) -> Response:
    variant = service.catalogue.get(body.model)
    sampling = _sampling(body, service)
    service.metrics.unknown_fields(body.model_extra or ())
    head = Completion(
        id=fresh_id("cmpl"),
        created=int(time.time()),
        model=variant.id,
        choices=[],
        system_fingerprint=FINGERPRINT,
    )
    with ExitStack() as stack:
        await service.enter(stack, variant, len(body.prompt) * sampling.n, key)
        every = [
            await service.ask(stack, variant, partial(_text, text), sampling, key)
            for text in body.prompt
        ]
        if body.stream:
            return EventStream(_chunks(body, head, every, sampling.n), stack.pop_all().close)
        for running in every:
            await running.result()
    found = [
        _choice(group * sampling.n + number, answer)
        for group, running in enumerate(every)
        for number, answer in enumerate(running.completion.answers)
    ]
    usage = summed([one.completion.usage for one in every])
    return JSONResponse(head.model_copy(update={"choices": found, "usage": usage}).model_dump())


def _text(text: str, _: Decoder) -> str:
    return text


def _sampling(body: CompletionRequest, service: Service) -> Sampling:
    check_fields(body, service.limits)
    if not 0 < len(body.prompt) * (body.n or 1) <= service.limits.choices:
        raise ApiError(
            f"prompt: {len(body.prompt)} texts with {body.n or 1} answers each, expected 1 to "
            f"{service.limits.choices} answers.",
            param="prompt",
        )
    chars = sum(map(len, body.prompt))
    if chars > service.limits.text_chars:
        raise ApiError(
            f"prompt: {chars} characters, but at most {service.limits.text_chars} are allowed.",
            param="prompt",
            code="context_length_exceeded",
        )
    for name, refused in (
        ("echo", bool(body.echo)),
        ("suffix", bool(body.suffix)),
        ("best_of", (body.best_of or 1) > (body.n or 1)),
    ):
        if refused:
            raise ApiError(f"{name} is not supported.", param=name, code="unsupported")
    return sampling_of(
        body,
        service.limits,
        temperature=service.temperature,
        max_tokens=_DEFAULT_TOKENS if body.max_tokens is None else body.max_tokens,
        logprobs=body.logprobs is not None,
        top_logprobs=body.logprobs or 0,
        constraint=format_constraint(body.response_format, "response_format"),
    )


def _choice(number: int, answer: Answer) -> CompletionChoice:
    scores = answer.scores[: len(answer.tokens)]
    return CompletionChoice(
        index=number,
        text=answer.text,
        logprobs=_logprobs(scores, 0) if answer.scores else None,
        finish_reason=answer.reason.value,
    )


async def _chunks(
    body: CompletionRequest, head: Completion, every: Sequence[Running], n: int
) -> AsyncIterator[str]:
    """Yield the pieces of all prompts as they come, then the counts if wanted, then the end."""
    offsets: dict[int, int] = {}
    async for group, piece in _merged(every):
        if piece is None:
            yield WAITING
            continue
        number = group * n + piece.choice
        offset = offsets.get(number, 0)
        offsets[number] = offset + len(piece.text)
        scored = piece.chosen is not None and piece.reason is not FinishReason.STOP
        choice = CompletionChoice(
            index=number,
            text=piece.text,
            logprobs=_logprobs((piece.chosen,), offset) if scored and piece.chosen else None,
            finish_reason=piece.reason.value if piece.reason else None,
        )
        if piece.text or piece.chosen or piece.reason:
            yield frame(head.model_copy(update={"choices": [choice]}).model_dump())
    if body.wants_usage:
        usage = summed([one.completion.usage for one in every])
        yield frame(head.model_copy(update={"usage": usage}).model_dump())
    yield DONE


async def _merged(every: Sequence[Running]) -> AsyncIterator[tuple[int, Piece | None]]:
    """Yield the pieces of several requests as they come, each with its number."""
    ready: asyncio.Queue[tuple[int, Piece | None] | ApiError | None] = asyncio.Queue()

    async def read(group: int, running: Running) -> None:
        try:
            async for piece in running.pieces():
                ready.put_nowait((group, piece))
        except ApiError as error:
            ready.put_nowait(error)
        ready.put_nowait(None)

    readers = [asyncio.ensure_future(read(*one)) for one in enumerate(every)]
    try:
        left = len(readers)
        while left:
            found = await ready.get()
            if isinstance(found, ApiError):
                raise found
            if found is None:
                left -= 1
            else:
                yield found
    finally:
        for reader in readers:
            reader.cancel()


def _logprobs(scores: Sequence[Chosen], offset: int) -> CompletionLogprobs:
    made = CompletionLogprobs(tokens=[], token_logprobs=[], top_logprobs=[], text_offset=[])
    for one in scores:
        token, *top = top_scores(one)
        made.tokens.append(token.token)
        made.token_logprobs.append(token.logprob)
        made.top_logprobs.append({each.token: each.logprob for each in top})
        made.text_offset.append(offset)
        offset += len(token.token)
    return made

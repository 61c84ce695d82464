"""``/v1/audio/transcriptions``: a recording in, its words out, as the model hears them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import ExitStack
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, UploadFile
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from pydantic import BaseModel, Field

from hocket.chat.conversation import Conversation, Message, Role, Text
from hocket.data.guarded import guarded
from hocket.infer.sampling import Sampling
from hocket.media.audio import Audio
from hocket.media.limits import DEFAULT_LIMITS
from hocket.serve.answers import usage_of
from hocket.serve.decode import Decoder
from hocket.serve.errors import ApiError
from hocket.serve.said import Voice, whole
from hocket.serve.service import Parts, Running, Service, or_gone
from hocket.serve.stream import DONE, WAITING, EventStream, frame
from hocket.serve.wire.error import STREAMED

router = APIRouter(tags=["answers"])
_FORMATS = ("json", "text", "verbose_json")
WRITTEN: dict[int | str, dict[str, Any]] = {
    200: {**STREAMED[200], "content": {"text/event-stream": {}, "text/plain": {}}}
}
"""For the description of this endpoint."""


class TranscriptionRequest(BaseModel):
    """A form.

    Attributes:
        file: a recording in any common format.
        model: name of a model; empty takes the first.
        prompt: what the model is asked instead of the server's own question.
        language: language of the recording.
        response_format: ``json``, ``text`` or ``verbose_json``.
        temperature: 0 takes the likeliest token.
        stream: send the words as they come.
    """

    file: UploadFile
    model: str = ""
    prompt: Annotated[str, Field(max_length=8192)] = ""
    language: Annotated[str, Field(max_length=64)] = ""
    response_format: str = "json"
    temperature: Annotated[float, Field(ge=0, le=100)] = 0.0
    stream: bool = False


_Form = Annotated[TranscriptionRequest, Form(media_type="multipart/form-data")]


@router.post("/v1/audio/transcriptions", responses=WRITTEN)
async def transcriptions(request: Request, form: _Form, service: Parts) -> Response:
    """Write down what is said in a recording."""
    if form.response_format not in _FORMATS:
        raise ApiError(
            f"response_format: {form.response_format[:40]!r} is not supported, since the model "
            f"tells no times. Known: {', '.join(_FORMATS)}.",
            param="response_format",
            code="unsupported",
        )
    data = await form.file.read(service.limits.part_bytes + 1)
    return await or_gone(request, _answer(service, form, data, request.state.key))


async def _answer(service: Service, form: TranscriptionRequest, data: bytes, key: str) -> Response:
    variant = service.catalogue.get(form.model)
    asked = form.prompt or service.transcribe
    asked += f" The language is {form.language}." if form.language else ""
    sampling = Sampling(max_new_tokens=service.limits.max_tokens, temperature=form.temperature)
    seconds = 0.0

    def question(decoder: Decoder) -> Conversation:
        nonlocal seconds
        sound = service.reader.medium(data, "sound", "file", decoder)
        assert isinstance(sound, Audio)
        seconds = decoder.call("file", sound.seconds, DEFAULT_LIMITS)
        message = Message(Role.USER, (sound, Text(f"\n{asked}")))
        return guarded(Conversation("file", (message,), source="file"), decoder)

    with ExitStack() as stack:
        running = await service.begin(stack, variant, question, sampling, key)
        if form.stream:
            return EventStream(_events(running), stack.pop_all().close)
        completion = await running.result()
    text = whole(completion.answers[0].text, Voice(thinks=running.in_thought)).text.strip()
    if form.response_format == "text":
        return PlainTextResponse(text + "\n")
    usage = usage_of(completion.usage)
    counts = {
        "type": "tokens",
        "input_tokens": usage.prompt_tokens,
        "output_tokens": usage.completion_tokens,
        "total_tokens": usage.total_tokens,
    }
    found: dict[str, Any] = {"text": text, "usage": counts}
    if form.response_format == "verbose_json":
        found |= {"task": "transcribe", "language": "", "duration": seconds, "segments": []}
    return JSONResponse(found)


async def _events(running: Running) -> AsyncIterator[str]:
    voice, text = Voice(thinks=running.in_thought), ""
    async for piece in running.pieces():
        if piece is None:
            yield WAITING
            continue
        added = voice.feed(piece.text).text + (voice.end().text if piece.reason else "")
        text += added
        if added:
            yield frame({"type": "transcript.text.delta", "delta": added})
    yield frame({"type": "transcript.text.done", "text": text})
    yield DONE

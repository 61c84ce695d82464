"""``/tokenize`` and ``/detokenize``, as vLLM has them."""

from __future__ import annotations

from fastapi import APIRouter, Request

from hocket.serve.decode import Decoder
from hocket.serve.drawing import thinking_of
from hocket.serve.errors import ApiError
from hocket.serve.messages import conversation_of
from hocket.serve.models import Variant
from hocket.serve.service import Parts, Service, or_gone
from hocket.serve.wire.tokens import Detokenized, DetokenizeRequest, TokenizeRequest, Tokens

router = APIRouter(tags=["tokens"])
# A tokenizer holds up all other requests while it works: 2 microseconds a character.
_MOST_CHARS = 2**18
_MOST_CHARS_PER_TOKEN = 4


@router.post("/tokenize")
@router.post("/v1/tokenize", include_in_schema=False)
async def tokenize(request: Request, body: TokenizeRequest, service: Parts) -> Tokens:
    """Return the tokens of a text, or of a dialogue with its media; nothing is generated.

    Raises:
        ApiError: neither or both are given, or a message is wrong.
    """
    if (body.prompt is None) == (body.messages is None):
        raise ApiError("give either 'prompt' or 'messages'.", param="prompt")
    variant = service.catalogue.get(body.model)
    most = max(_MOST_CHARS, _MOST_CHARS_PER_TOKEN * variant.engine.context)
    if len(body.prompt or "") > most:
        raise ApiError(
            f"prompt: {len(body.prompt or '')} characters, but at most {most} are counted at once. "
            "Send it in parts.",
            param="prompt",
        )
    ids = await or_gone(
        request, service.in_thread(lambda decoder: _ids(body, variant, service, decoder))
    )
    names = variant.engine.processor.tokenizer.convert_ids_to_tokens(ids)
    return Tokens(
        count=len(ids),
        max_model_len=variant.engine.context,
        tokens=ids,
        token_strs=names if body.return_token_strs else None,
    )


@router.post("/detokenize")
@router.post("/v1/detokenize", include_in_schema=False)
async def detokenize(body: DetokenizeRequest, service: Parts) -> Detokenized:
    """Return the text of tokens.

    Raises:
        ApiError: a token that the model does not have.
    """
    words = service.catalogue.get(body.model).engine.processor.tokenizer
    strange = [number for number, one in enumerate(body.tokens) if one >= len(words)]
    if strange:
        at = f"tokens[{strange[0]}]"
        raise ApiError(
            f"{at}: {body.tokens[strange[0]]} is no token, expected 0 to {len(words) - 1}.",
            param=at,
        )
    backend = words.backend_tokenizer
    text = await service.in_thread(lambda _: backend.decode(body.tokens, skip_special_tokens=False))
    return Detokenized(prompt=text)


def _ids(body: TokenizeRequest, variant: Variant, service: Service, decoder: Decoder) -> list[int]:
    processor = variant.engine.processor
    if body.messages is None:
        # The tokenizer behind transformers' own, which is not safe in two threads at once.
        backend = processor.tokenizer.backend_tokenizer
        found = backend.encode(body.prompt or "", add_special_tokens=body.add_special_tokens)
        return list(found.ids)
    conversation = conversation_of(
        body.messages,
        [tool.plain() for tool in body.tools or ()],
        reader=service.reader,
        decoder=decoder,
    )
    thinking = thinking_of(body.chat_template_kwargs, None)
    return list(variant.engine.outline(conversation, thinking=thinking).input_ids)

"""What answers of all endpoints have in common: ids, counts of tokens, scores.

Knows what the engine returns and shapes on the wire; must not know HTTP.
"""

from __future__ import annotations

import uuid

from hocket._compat import installed_version
from hocket.infer.request import Chosen, TokenScore
from hocket.infer.request import Usage as EngineUsage
from hocket.serve.wire.chat import TopLogprob, Usage
from hocket.tokens.span import Modality

FINGERPRINT = f"hocket-{installed_version('hocket') or 'dev'}"
"""OpenAI's ``system_fingerprint``."""
_LEAST_LOGPROB = -9999.0  # JSON has no infinity, and OpenAI writes this


def fresh_id(kind: str) -> str:
    """Return a new id such as ``chatcmpl-...``."""
    return f"{kind}-{uuid.uuid4().hex}"


def usage_of(usage: EngineUsage) -> Usage:
    """Return the counts of a request."""
    return summed([usage])


def summed(usages: list[EngineUsage]) -> Usage:
    """Return the counts of several requests together."""
    prompt = sum(one.prompt_tokens for one in usages)
    answer = sum(one.answer_tokens for one in usages)
    media = {
        f"{kind.value}_tokens": sum(one.media_tokens.get(kind, 0) for one in usages)
        for kind in Modality
    }
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=answer,
        total_tokens=prompt + answer,
        prompt_tokens_details={
            "cached_tokens": sum(one.cached_tokens for one in usages),
            "text_tokens": prompt - sum(media.values()),
            **media,
        },
    )


def top_scores(chosen: Chosen) -> list[TopLogprob]:
    """Return the score of the token that was taken, and those of the likeliest."""
    return [_score(one) for one in (chosen.score, *chosen.top)]


def _score(score: TokenScore) -> TopLogprob:
    return TopLogprob(
        token=score.text,
        logprob=max(score.logprob, _LEAST_LOGPROB),
        bytes=list(score.bytes),
    )

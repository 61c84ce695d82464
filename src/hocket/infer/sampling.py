"""How an answer is drawn: the options of a request."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hocket._errors import ConfigError
from hocket.infer.grammar import Constraint

MOST_TOP_LOGPROBS = 20
"""As many as OpenAI's interface allows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """Options of a generation.

    They apply in this order: penalties, bias and constraint, temperature, top_k, top_p, min_p. The
    token at a position is a function of the logits, the seed, the choice and the position alone, so
    an answer does not depend on what is generated beside it.

    Attributes:
        max_new_tokens: longest answer in tokens.
        min_new_tokens: tokens before which the answer does not end.
        temperature: 0 takes the most likely token; higher is more random.
        top_p: sample from the smallest set of tokens with this probability together.
        top_k: sample from so many most likely tokens; 0 for all.
        min_p: leave out tokens below this share of the most likely token's probability.
        repetition_penalty: divides positive logits of tokens that are in the prompt or the answer
            and multiplies negative ones, as in CTRL; 1 for none.
        presence_penalty: subtracted from the logits of tokens that are in the answer, as OpenAI
            has it.
        frequency_penalty: subtracted once for every time that a token is in the answer.
        logit_bias: (token, value) pairs, added to logits.
        seed: seed of the randomness.
        n: answers per request.
        stop: texts that end the answer; they are not part of it.
        stop_tokens: token ids that end the answer, beside the model's own.
        logprobs: whether scores of the tokens are returned.
        top_logprobs: how many of the most likely tokens are scored beside the chosen one.
        constraint: a schema or grammar that the answer, behind its thought, keeps to.
        thinking: whether the model thinks aloud before it answers, where its template knows how;
            None leaves it to the template.
        thinking_budget: tokens after which a model that thinks aloud is made to answer, as in
            Ovis 2.5; 0 lets it think. It counts with `thinking` alone.

    Raises:
        ConfigError: a value is out of range.
    """

    max_new_tokens: int = 256
    min_new_tokens: int = 0
    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logit_bias: tuple[tuple[int, float], ...] = ()
    seed: int = 0
    n: int = 1
    stop: tuple[str, ...] = ()
    stop_tokens: tuple[int, ...] = ()
    logprobs: bool = False
    top_logprobs: int = 0
    constraint: Constraint | None = None
    thinking: bool | None = None
    thinking_budget: int = 0

    def __post_init__(self) -> None:
        """Refuse what no token could be drawn from."""
        most = MOST_TOP_LOGPROBS
        for name, value, fits, expected in (
            ("max_new_tokens", self.max_new_tokens, self.max_new_tokens >= 0, "at least 0"),
            ("min_new_tokens", self.min_new_tokens, self.min_new_tokens >= 0, "at least 0"),
            ("temperature", self.temperature, 0 <= self.temperature < math.inf, "at least 0"),
            ("top_p", self.top_p, 0 < self.top_p <= 1, "above 0 and at most 1"),
            ("top_k", self.top_k, self.top_k >= 0, "at least 0; 0 means all tokens"),
            ("min_p", self.min_p, 0 <= self.min_p <= 1, "from 0 to 1"),
            ("n", self.n, self.n >= 1, "at least 1"),
            ("thinking_budget", self.thinking_budget, self.thinking_budget >= 0, "at least 0"),
            ("stop", self.stop, "" not in self.stop, "texts that are not empty"),
            ("top_logprobs", self.top_logprobs, 0 <= self.top_logprobs <= most, f"0 to {most}"),
            (
                "repetition_penalty",
                self.repetition_penalty,
                0 < self.repetition_penalty < math.inf,
                "above 0; 1 for none",
            ),
            (
                "presence_penalty",
                self.presence_penalty,
                math.isfinite(self.presence_penalty),
                "a number",
            ),
            (
                "frequency_penalty",
                self.frequency_penalty,
                math.isfinite(self.frequency_penalty),
                "a number",
            ),
            (
                "logit_bias",
                self.logit_bias,
                not any(math.isnan(value) for _, value in self.logit_bias),
                "pairs of a token and a number",
            ),
        ):
            if not fits:
                raise ConfigError(f"sampling: {name} is {value!r}, but must be {expected}.")

    @property
    def greedy(self) -> bool:
        """Whether the most likely token is taken as the model gives it."""
        return self.temperature <= 0 and not self.changes_logits

    @property
    def changes_logits(self) -> bool:
        """Whether logits depend on more than the model."""
        return (
            self.repetition_penalty != 1
            or self.presence_penalty != 0
            or self.frequency_penalty != 0
            or bool(self.logit_bias)
            or self.min_new_tokens > 0
            or self.constraint is not None
        )

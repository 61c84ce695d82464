"""One answer under way: its tokens, its text, and what may come next.

A request has one row for each of its choices. Knows the tokenizer; must not know the model, the
cache or the other rows.

Letters: V vocabulary, T tokens.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from hocket.infer.draw import Drawn
from hocket.infer.grammar import Matcher
from hocket.infer.prompt import Prompt
from hocket.infer.request import Answer, Chosen, FinishReason, Piece, TokenScore
from hocket.infer.sampling import Sampling
from hocket.infer.stream import TextStream, decode, token_bytes
from hocket.infer.thinking import THINK_END, ThinkingBudget


@dataclass(frozen=True, slots=True)
class Language:
    """What is the same for all rows of an engine.

    Attributes:
        tokenizer: the model's.
        ends: tokens that end an answer.
        limit: positions that the model has.
    """

    tokenizer: PreTrainedTokenizerFast
    ends: frozenset[int]
    limit: int


class Row:
    """The state of one choice.

    Args:
        prompt: the question.
        sampling: how to answer.
        choice: number of the answer in its request.
        language: tokenizer and ends.
        matcher: of its grammar, if it has one.

    Attributes:
        generated: token ids so far, end token included.
        reason: why it ended; None while it goes on.
        most: tokens that it may have.
        matcher: where it stands in its grammar, if it has one.
        cached: tokens of the prompt that an earlier request had left ready.
    """

    def __init__(
        self,
        prompt: Prompt,
        sampling: Sampling,
        choice: int,
        language: Language,
        matcher: Matcher | None,
    ) -> None:
        self.prompt = prompt
        self.sampling = sampling
        self.choice = choice
        self.generated: list[int] = []
        self.reason: FinishReason | None = None
        self.cached = 0
        self._language = language
        self.matcher = matcher
        self._stream = TextStream(language.tokenizer, sampling.stop)
        self._ends = language.ends | set(sampling.stop_tokens)
        self._scores: list[Chosen] = []
        self._ended = False  # by an end token, which is no part of the answer
        self._thinks = matcher is not None and sampling.thinking is True
        self._budget: ThinkingBudget | None = None
        if sampling.thinking and sampling.thinking_budget:
            self._budget = ThinkingBudget(
                language.tokenizer, limit=sampling.thinking_budget, ends=self._ends
            )
        room = language.limit - int(prompt.positions[-1]) - 1
        self.most = min(sampling.max_new_tokens, room)

    @property
    def position(self) -> int:
        """Tokens that the answer has."""
        return len(self.generated)

    @property
    def last_position(self) -> int:
        """Position of the last token in the language model."""
        return int(self.prompt.positions[-1]) + len(self.generated)

    def __len__(self) -> int:
        """Return the number of tokens, prompt and answer."""
        return len(self.prompt) + len(self.generated)

    def whole(self) -> Prompt:
        """Return prompt and answer as one prompt, to go on from."""
        if not self.generated:
            return self.prompt
        added = np.array(self.generated, np.int64)
        places = int(self.prompt.positions[-1]) + 1 + np.arange(len(added))
        return replace(
            self.prompt,
            ids=np.concatenate([self.prompt.ids, added]),
            keys=np.concatenate([self.prompt.keys, added]),
            positions=np.concatenate([self.prompt.positions, places]),
        )

    def forced(self, token: int) -> int:
        """Return the token, or the one that the thinking budget puts in its place."""
        return self._budget.apply(token) if self._budget else token

    def adjust(self, logits: Tensor) -> Tensor:
        """Return logits (V,) with penalties, bias and constraint."""
        chosen, logits = self.sampling, logits.clone()
        if chosen.repetition_penalty != 1:
            seen = torch.from_numpy(np.unique(self.whole().ids)).to(logits.device)
            values = logits[seen]
            factor = chosen.repetition_penalty
            logits[seen] = torch.where(values < 0, values * factor, values / factor)
        if self.generated and (chosen.presence_penalty or chosen.frequency_penalty):
            counts = Counter(self.generated)
            at = torch.tensor(list(counts), device=logits.device)
            often = torch.tensor(list(counts.values()), device=logits.device)
            logits[at] -= chosen.presence_penalty + chosen.frequency_penalty * often
        for token, value in chosen.logit_bias:
            logits[token] += value
        if self.matcher is not None and not self._thinks:
            allowed = self.matcher.allowed().to(logits.device)
            logits = logits.masked_fill(~allowed, -torch.inf)
        if self.position < chosen.min_new_tokens:
            ends = [end for end in self._ends if end < len(logits)]
            without = logits.index_fill(0, torch.tensor(ends, device=logits.device), -torch.inf)
            # A grammar may allow nothing but the end.
            logits = without if bool(without.isfinite().any()) else logits
        return logits

    def take(self, drawn: Drawn) -> Piece:
        """Go on by a token and return what that adds.

        Raises:
            ConfigError: the constraint does not allow the token, or became too complex.
        """
        token = drawn.token
        self.generated.append(token)
        chosen = self._chosen(drawn) if self.sampling.logprobs else None
        text = ""
        if token in self._ends:
            self._ended = True
            self.reason = FinishReason.STOP
        else:
            text = self._go_on(token)
        if self.reason is not None:
            text += self._stream.end()
        return Piece(self.choice, text, token, chosen, self.reason)

    def answer(self) -> Answer:
        """Return what there is of the answer."""
        ids = self.generated[:-1] if self._ended else self.generated
        reason = self.reason or FinishReason.CANCELLED
        return Answer(
            self._stream.text,
            tuple(ids),
            reason is FinishReason.STOP,
            len(self.prompt),
            reason,
            tuple(self._scores),
        )

    def _go_on(self, token: int) -> str:
        """Take a token that is part of the answer, and end the answer where it is complete."""
        if self.matcher is not None and not self._thinks:
            self.matcher.take(token)
        text = self._stream.add(token)
        if self._thinks:
            forced = self._budget is not None and self._budget.forces
            self._thinks = forced or THINK_END not in self._stream.text
        if self._stream.stopped or (self.matcher is not None and self.matcher.complete):
            self.reason = FinishReason.STOP
        elif len(self.generated) >= self.most:
            self.reason = FinishReason.LENGTH
        return text

    def _chosen(self, drawn: Drawn) -> Chosen:
        made = Chosen(
            self._score(drawn.token, drawn.logprob),
            tuple(self._score(token, value) for token, value in drawn.top),
        )
        self._scores.append(made)
        return made

    def _score(self, token: int, logprob: float) -> TokenScore:
        words = self._language.tokenizer
        return TokenScore(token, decode(words, [token]), token_bytes(words, token), logprob)

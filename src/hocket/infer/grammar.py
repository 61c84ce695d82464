"""Answers that keep to a JSON schema, a regular expression or a grammar, through ``llguidance``.

Knows the tokenizer; must not know models or requests.
"""

from __future__ import annotations

import json
import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from fractions import Fraction
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from hocket._errors import ConfigError, MissingExtraError

_LONGEST_MESSAGE = 300
# Twice what OpenAI takes; the library needs a second for half a million.
_MOST_CHARS = 2**18
# Division is done digit by digit, with a state for each remainder; a million take seven seconds.
_MOST_REMAINDERS = 2**16
SPACING = {
    "x-guidance": {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
}
"""Keys of a schema: JSON is spaced as `json.dumps` does it; small models never stop with tabs."""


@dataclass(frozen=True, slots=True)
class Constraint:
    """What an answer must look like. Make one with a class method.

    Attributes:
        kind: ``json_schema``, ``regex`` or ``lark``.
        text: the schema as JSON, the expression or the grammar.
    """

    kind: str
    text: str

    @classmethod
    def json_schema(cls, schema: Mapping[str, Any] | bool) -> Constraint:
        """Return the constraint that the answer is JSON of this schema.

        Raises:
            ConfigError: its ``multipleOf`` would take too long to check.
        """
        check_divisors(schema)
        spaced = schema if isinstance(schema, bool) else {**schema, **SPACING}
        return cls("json_schema", json.dumps(spaced))

    @classmethod
    def json_object(cls) -> Constraint:
        """Return the constraint that the answer is any JSON object, OpenAI's ``json_object``."""
        return cls.json_schema({"type": "object"})

    @classmethod
    def regex(cls, pattern: str) -> Constraint:
        """Return the constraint that the whole answer matches a Rust regular expression."""
        return cls("regex", pattern)

    @classmethod
    def lark(cls, grammar: str) -> Constraint:
        """Return the constraint that the answer is a sentence of llguidance's form of Lark."""
        return cls("lark", grammar)


def check_divisors(schema: object) -> None:
    """Refuse a JSON schema whose ``multipleOf`` would hold everybody up.

    Raises:
        ConfigError: their least common multiple is too large.
    """
    found = set(_divisors(schema))
    scale = math.lcm(*(one.denominator for one in found))
    remainders = 1
    for one in found:
        remainders = math.lcm(remainders, int(one * scale))
        if remainders > _MOST_REMAINDERS:
            raise ConfigError(
                f"constraint: the numbers of multipleOf have no common multiple up to "
                f"{_MOST_REMAINDERS}: too much to check while an answer is written. "
                "Take smaller ones, or leave them out."
            )


def _divisors(schema: object) -> Iterator[Fraction]:
    waiting = [schema]
    while waiting:
        one = waiting.pop()
        if isinstance(one, list):
            waiting += one
        elif isinstance(one, Mapping):
            waiting += one.values()
            match one.get("multipleOf"):
                case bool():
                    continue
                case int(number) if number > 0:
                    yield Fraction(number)
                case float(number) if 0 < number < math.inf:
                    yield Fraction(str(number))


class Grammars:
    """Makes matchers for one tokenizer, which it reads when the first is wanted.

    Args:
        tokenizer: the model's.
        vocab_size: width of the logits.
        ends: tokens that end an answer.
    """

    def __init__(
        self, tokenizer: PreTrainedTokenizerFast, *, vocab_size: int, ends: Collection[int]
    ) -> None:
        self._tokenizer = tokenizer
        self._vocab_size = vocab_size
        self._ends = sorted(end for end in ends if end < vocab_size)
        self._words: Any = None

    def matcher(self, constraint: Constraint) -> Matcher:
        """Return a matcher at the beginning of an answer.

        Raises:
            MissingExtraError: llguidance is not installed.
            ConfigError: the schema or grammar cannot be used.
        """
        library = _library()
        if len(constraint.text) > _MOST_CHARS:
            raise ConfigError(
                f"constraint: the {constraint.kind} has {len(constraint.text)} characters, but at "
                f"most {_MOST_CHARS} are taken. Simplify it, or ask without it."
            )
        if self._words is None:
            self._words = library.hf.from_tokenizer(
                self._tokenizer, n_vocab=self._vocab_size, eos_token=self._ends
            )
        write = {
            "json_schema": library.LLMatcher.grammar_from_json_schema,
            "regex": library.LLMatcher.grammar_from_regex,
            "lark": library.LLMatcher.grammar_from_lark,
        }
        if constraint.kind not in write:
            raise ConfigError(
                f"constraint: kind is {constraint.kind!r}, but must be one of {', '.join(write)}."
            )
        try:
            grammar = write[constraint.kind](constraint.text)
        except ValueError as error:
            raise _refused(constraint, str(error)) from error
        made = library.LLMatcher(self._words, grammar, log_level=0)
        if made.is_error():
            raise _refused(constraint, made.get_error())
        return Matcher(made, constraint, self._vocab_size)


class Matcher:
    """Where an answer stands in its grammar.

    Args:
        state: llguidance's matcher.
        constraint: what it was made from, for messages.
        vocab_size: width of the logits.
    """

    def __init__(self, state: Any, constraint: Constraint, vocab_size: int) -> None:
        self._state = state
        self._constraint = constraint
        self._vocab_size = vocab_size

    def allowed(self) -> Tensor:
        """Return bool (V,), the tokens that may come next; end tokens where it may end.

        Raises:
            ConfigError: the grammar became too complex.
        """
        bits = np.frombuffer(self._state.compute_bitmask(), np.uint8)
        if self._state.is_error():
            raise _refused(self._constraint, self._state.get_error())
        mask = np.unpackbits(bits, bitorder="little")[: self._vocab_size]
        return torch.from_numpy(mask.astype(bool))

    def take(self, token: int) -> None:
        """Go on by one token.

        Raises:
            ConfigError: it is not allowed here.
        """
        if not self._state.consume_token(token):
            raise _refused(self._constraint, self._state.get_error())

    @property
    def complete(self) -> bool:
        """Whether nothing but an end token may follow."""
        return bool(self._state.is_stopped())


def _library() -> ModuleType:
    try:
        import llguidance
        import llguidance.hf
    except ImportError as error:
        raise MissingExtraError("llguidance", "serve") from error
    return llguidance


def _refused(constraint: Constraint, reason: str) -> ConfigError:
    line = " ".join(reason.split())[:_LONGEST_MESSAGE]
    return ConfigError(
        f"constraint: llguidance cannot use this {constraint.kind}: {line}. "
        "Simplify it, or ask without it."
    )

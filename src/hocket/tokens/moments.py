"""Moments of a video as words of their own: ``<t0>`` is its start, the last one its end.

VILA 1.5's time tokens: a moment becomes the nearest of N tokens that divide the video evenly, so
that a model can be asked when something happens and can answer with one token.
"""

from __future__ import annotations

import re

from tokenizers import AddedToken
from transformers import PreTrainedTokenizerFast

from hocket._errors import ConfigError, DataError

_FORM = re.compile(r"<t(\d+)>")


def add_moments(tokenizer: PreTrainedTokenizerFast, count: int) -> int:
    """Add ``<t0>`` to ``<t{count - 1}>``; they are text that a model may write.

    Returns:
        The number of tokens that were new.

    Raises:
        ConfigError: fewer than two, which cannot divide anything.
    """
    if count < 2:
        raise ConfigError(f"model.tokenizer.moments is {count}, expected 0 or at least 2.")
    tokens = [AddedToken(f"<t{number}>", normalized=False) for number in range(count)]
    return int(tokenizer.add_tokens(tokens))


def moment(seconds: float, *, of_seconds: float, count: int) -> str:
    """Return the token of a moment in a video.

    Args:
        seconds: the moment.
        of_seconds: length of the video.
        count: how many tokens divide it.

    Raises:
        DataError: the moment lies outside the video.
    """
    if not 0 <= seconds <= of_seconds or of_seconds <= 0:
        raise DataError(
            f"{seconds} s is no moment of a video of {of_seconds} s. Correct the time stamp."
        )
    return f"<t{round(seconds / of_seconds * (count - 1))}>"


def seconds_of(text: str, *, of_seconds: float, count: int) -> list[float]:
    """Return the seconds of every moment that a text names, in order."""
    numbers = (int(found) for found in _FORM.findall(text))
    return [number / (count - 1) * of_seconds for number in numbers if number < count]

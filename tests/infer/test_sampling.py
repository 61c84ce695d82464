"""Which tokens may be drawn, and how often."""

from __future__ import annotations

import pytest
import torch

from hocket._errors import ConfigError
from hocket.infer.draw import choose
from hocket.infer.sampling import Sampling


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, [0.5, 0.3, 0.15, 0.05]),
        ({"top_k": 2}, [0.625, 0.375, 0, 0]),
        ({"top_k": 9}, [0.5, 0.3, 0.15, 0.05]),
        # The smallest set with at least 0.6 of the probability is the first two.
        ({"top_p": 0.6}, [0.625, 0.375, 0, 0]),
        ({"top_p": 0.3}, [1, 0, 0, 0]),
        ({"top_k": 2, "top_p": 0.7}, [0.625, 0.375, 0, 0]),
        ({"temperature": 0.5}, [0.685, 0.247, 0.062, 0.007]),
        ({"temperature": 0.0}, [1, 0, 0, 0]),
        ({"temperature": 1e-40, "top_p": 0.9}, [1, 0, 0, 0]),
        ({"min_p": 0.5}, [0.625, 0.375, 0, 0]),
        ({"min_p": 0.7}, [1, 0, 0, 0]),
    ],
)
def test_tokens_are_drawn_as_often_as_they_should(
    options: dict[str, float], expected: list[float]
) -> None:
    logits = torch.log(torch.tensor([0.5, 0.3, 0.15, 0.05]))
    sampling = Sampling(**({"temperature": 1.0} | options))  # type: ignore[arg-type]  # top_k is whole
    drawn = [choose(logits, sampling, choice=at % 2, position=at) for at in range(3000)]
    shares = [drawn.count(token) / len(drawn) for token in range(4)]
    assert shares == pytest.approx(expected, abs=0.03)
    assert [share == 0 for share in shares] == [share == 0 for share in expected]


@pytest.mark.parametrize(
    "options",
    [
        {"top_p": 0.0},
        {"top_p": 1.5},
        {"top_k": -1},
        {"temperature": -1.0},
        {"temperature": float("nan")},
        {"max_new_tokens": -1},
        {"stop": ("x", "")},
    ],
)
def test_what_no_token_could_be_drawn_from(options: dict[str, float]) -> None:
    (name,) = options
    with pytest.raises(ConfigError, match=f"sampling: {name} is "):
        Sampling(**options)  # type: ignore[arg-type]  # wrong on purpose

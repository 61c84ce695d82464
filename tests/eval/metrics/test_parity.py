"""Recorded vectors of the reference implementations, and the table of the documentation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.eval.parity import CHECKS, Pair, distance, written

PAGE = Path(__file__).parents[3] / "docs" / "evaluation.md"


@pytest.mark.parametrize(("metric", "reference", "pairs"), CHECKS, ids=[one[0] for one in CHECKS])
def test_as_the_reference_says(
    metric: str, reference: str, pairs: Callable[[], Iterator[Pair]]
) -> None:
    found = list(pairs())
    assert found
    wrong = [one for one in found if distance(one[1], one[2]) > 1e-9]
    assert not wrong, f"{metric} of {reference}"


def test_the_documentation_has_the_table() -> None:
    page = PAGE.read_text("utf-8")
    assert written(page) == page, "run: python -m tests.eval.parity --write docs/evaluation.md"

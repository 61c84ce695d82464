"""Intervals cover what they should, pairs are compared, and corrections are the textbook's."""

from __future__ import annotations

import numpy as np
import pytest

from hocket.eval.metrics import Metric, Record, Stat
from hocket.eval.metrics.bleu import Bleu
from hocket.eval.metrics.cider_d import CiderD
from hocket.eval.metrics.exact_match import ExactMatch
from hocket.eval.metrics.judged_answer import JudgedAnswer
from hocket.eval.metrics.mme import Mme
from hocket.eval.resample import difference, figures, holm, mcnemar

EXACT = ExactMatch()


def stats(*scores: float | None) -> list[Stat]:
    return [Stat(score=score) for score in scores]


def headline(metric: Metric, some: list[Stat], clusters: list[str]) -> tuple[float, float, float]:
    one = figures(metric, some, clusters)[0]
    assert one.value is not None and one.low is not None and one.high is not None
    return one.value, one.low, one.high


def test_the_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(60):
        some = stats(*rng.binomial(1, 0.7, 80).astype(float))
        _, low, high = headline(EXACT, some, [str(at) for at in range(80)])
        covered += low <= 0.7 <= high
    assert 50 <= covered <= 60


def test_answers_that_agree_within_a_cluster_widen_the_interval() -> None:
    rng = np.random.default_rng(1)
    scores = np.repeat(rng.binomial(1, 0.5, 20), 5).astype(float)
    alone = headline(EXACT, stats(*scores), [str(at) for at in range(100)])
    together = headline(EXACT, stats(*scores), [str(at // 5) for at in range(100)])
    assert alone[0] == together[0]
    assert together[2] - together[1] > 1.8 * (alone[2] - alone[1])


def test_all_right_is_not_certain() -> None:
    value, low, high = headline(EXACT, stats(*[1.0] * 10), [str(at) for at in range(10)])
    # Wilson's interval of ten of ten.
    assert (value, high) == pytest.approx((1.0, 1.0))
    assert low == pytest.approx(0.722467, abs=1e-6)


def test_only_shares_have_wilsons_interval() -> None:
    nothing = [Stat(score=0.0)] * 4
    (cider,) = figures(CiderD(), nothing, list("abcd"))
    assert (cider.low, cider.high) == (0, 0)
    marked = [Stat(score=0.0, parts={"score": 1.0}), Stat(score=None)]
    share, mark, unscored = figures(JudgedAnswer(), marked, list("ab"))
    assert share.high is not None and share.high > 0.5
    assert (mark.high, unscored.value) == (1, 1) and unscored.low != unscored.high


def test_answers_without_a_score_count_for_nothing() -> None:
    some = stats(1.0, None, 0.0, None)
    assert headline(EXACT, some, ["a", "b", "c", "d"])[0] == 0.5
    (nothing,) = figures(EXACT, stats(None, None), ["a", "b"])
    assert nothing.value is None and nothing.low is None
    assert figures(EXACT, [], [])[0].value is None


def test_a_picture_that_is_drawn_twice_counts_twice() -> None:
    """Mme scores pictures as pairs: copies must not melt into one."""
    some = [
        Stat(score=score, parts={"category": "count", "picture": name})
        for name, scores in (("a", (1.0, 1.0)), ("b", (0.0, 0.0)), ("c", (1.0, 1.0)))
        for score in scores
    ]
    one = figures(Mme(), some, ["a", "a", "b", "b", "c", "c"])[0]
    assert one.value == pytest.approx(2 / 3 * 200)
    assert (one.low, one.high) == (0.0, 200.0)


def test_corpus_metrics_have_intervals_too() -> None:
    metric = Bleu()
    records = [
        Record(id=str(at), answer=said, target="", key=["a red circle moves to the right"])
        for at, said in enumerate(
            ["a red circle moves to the right", "a blue circle moves to the left", "no", "a red"]
        )
    ]
    found = figures(metric, metric.measure(records), list("abcd"))
    assert [one.name for one in found][:2] == ["bleu", "bleu_1"]
    assert found[0].low is not None and found[0].low < (found[0].value or 0) < (found[0].high or 0)


def test_a_paired_difference_is_tighter_than_two_intervals() -> None:
    rng = np.random.default_rng(2)
    first = rng.binomial(1, 0.5, 200).astype(float)
    second = first.copy()
    second[np.flatnonzero(first == 0)[:20]] = 1
    found = difference(EXACT, stats(*first), stats(*second), [str(at) for at in range(200)])
    assert found is not None
    assert found.value == pytest.approx(0.1)
    assert 0.05 < found.low < 0.1 < found.high < 0.15
    assert found.p < 0.01


def test_no_difference_is_no_proof() -> None:
    same = stats(1.0, 0.0, 1.0)
    found = difference(EXACT, same, same, ["a", "b", "c"])
    assert found is not None
    assert (found.value, found.low, found.high, found.p) == (0.0, 0.0, 0.0, 1.0)
    assert difference(EXACT, stats(None), stats(1.0), ["a"]) is None


def test_mcnemar_by_hand() -> None:
    first = stats(*[0.0] * 8, *[1.0] * 2, 1.0, 0.0)
    second = stats(*[1.0] * 8, *[0.0] * 2, 1.0, 0.0)
    found = mcnemar(EXACT, first, second)
    assert found is not None
    assert (found.fixed, found.broken) == (8, 2)
    # 2 * (1 + 10 + 45) / 1024
    assert found.p == pytest.approx(0.109375)
    assert mcnemar(EXACT, stats(0.3), stats(1.0)) is None


def test_holm_by_hand() -> None:
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx(
        {"a": 0.03, "b": 0.06, "c": 0.06}
    )
    assert holm({}) == {}


def test_the_same_numbers_come_out_again() -> None:
    some, clusters = stats(1.0, 0.0, 0.3), ["a", "b", "c"]
    assert figures(EXACT, some, clusters) == figures(EXACT, some, clusters)

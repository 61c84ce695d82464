"""Metrics of short answers against values worked out by hand, and properties."""

from __future__ import annotations

import json
import math
from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hocket._errors import DataError
from hocket.eval.metrics import Metric, Record, metrics
from hocket.eval.metrics._vqa_words import vqa_words
from hocket.eval.metrics.action_match import ActionMatch, read_action
from hocket.eval.metrics.anls import Anls
from hocket.eval.metrics.box_accuracy import BoxAccuracy
from hocket.eval.metrics.choice import Choice, read_choice
from hocket.eval.metrics.exact_match import ExactMatch
from hocket.eval.metrics.mathvista import MathVista, rule_extract
from hocket.eval.metrics.mme import Mme
from hocket.eval.metrics.mmmu import Mmmu
from hocket.eval.metrics.needle import Needle, heat_map
from hocket.eval.metrics.relaxed_accuracy import RelaxedAccuracy
from hocket.eval.metrics.vqa_accuracy import VqaAccuracy
from hocket.eval.metrics.word_error_rate import WordErrorRate
from hocket.eval.metrics.yes_no import YesNo


def record(answer: str, target: str = "", **fields: Any) -> Record:
    return Record(id=str(fields.pop("id", "7")), answer=answer, target=target, **fields)


def score(metric: Metric, answer: str, target: str = "", **fields: Any) -> float | None:
    return metric.stat(record(answer, target, **fields)).score


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("The two dogs.", "2 dogs"),
        ("3,000", "3000"),
        ("dont", "don't"),
        ("red/blue", "red blue"),
        ("well-known", "well known"),
        ("twelve, 12", "twelve 12"),
        ("1.5 m", "1.5 m"),
        ("5.", "5"),
        ("a.m.", "am"),
        (". " * 33, "."),
    ],
)
def test_vqa_words(text: str, plain: str) -> None:
    assert vqa_words(text) == plain


@pytest.mark.parametrize(("matches", "expected"), [(0, 0), (1, 0.3), (2, 0.6), (3, 0.9), (4, 1)])
def test_vqa_accuracy_by_the_number_of_matches(matches: int, expected: float) -> None:
    answers = ["red"] * matches + [f"other {at}" for at in range(10 - matches)]
    assert score(VqaAccuracy(), "red", key=answers) == pytest.approx(expected)


def test_commas_in_numbers_are_looked_for_in_two_ways() -> None:
    assert score(VqaAccuracy(), "1,,000", key=["1 000"] + ["x"] * 9) == pytest.approx(0.3)
    assert score(VqaAccuracy(profile="lmms"), "1,,000", key=["1000"] * 10) == 1


def test_unanimous_annotators_are_taken_at_their_word() -> None:
    answers = ["yes."] * 10
    assert score(VqaAccuracy(profile="official"), "yes", key=answers) == 0
    assert score(VqaAccuracy(profile="lmms"), "yes", key=answers) == 1


@pytest.mark.parametrize(
    ("said", "expected"), [("abce", 0.75), ("xycd", 0.5), ("xyzd", 0.0), ("ABCD ", 1.0)]
)
def test_anls(said: str, expected: float) -> None:
    assert score(Anls(), said, key=["abcd", "q"]) == expected


def test_spaces_do_not_raise_anls() -> None:
    assert score(Anls(profile="lmms"), "a b d", key=["a   b c"]) == pytest.approx(6 / 7)
    assert score(Anls(), "a b d", key=["a   b c"]) == score(Anls(), "a b d", key=["a b c"]) == 0.8
    assert score(Anls(profile="stvqa"), "", key=[""]) == 1
    # Capitals of a sharp s are two letters, and lmms-eval divides by those.
    assert score(Anls(profile="lmms"), "\u00dfab", key=["\u00dfac"]) == 0.75


@given(st.text(max_size=12), st.text(max_size=12))
def test_anls_is_a_share(said: str, wanted: str) -> None:
    for profile in ("default", "lmms", "stvqa"):
        found = score(Anls(profile=profile), said, key=[wanted])
        assert found is not None and (found == 0 or 0.5 <= found <= 1)


@pytest.mark.parametrize(
    ("target", "said", "right", "lmms"),
    [
        ("10", "10.5", 1, 1),
        ("10", "10.51", 0, 0),
        ("50%", "0.5", 1, 1),
        ("50%", "51%", 1, 1),
        ("-5", "-5.2", 1, 1),
        ("0", "0.0", 1, 0),
        ("1000", "1,000", 1, 0),
        ("Yes", " yes", 1, 0),
        ("10%", "%", 0, 0),
    ],
)
def test_relaxed_accuracy(target: str, said: str, right: int, lmms: int) -> None:
    assert score(RelaxedAccuracy(), said, target) == right
    assert score(RelaxedAccuracy(profile="lmms"), said, target) == lmms


def pope(profile: Literal["default", "llava", "lmms"]) -> dict[str, float]:
    pairs = [("Yes", "yes"), ("yes.", "yes"), ("no", "no"), ("yes", "no"), ("maybe", "yes")]
    metric = YesNo(profile=profile)
    return metric.reduce([metric.stat(record(said, wanted)) for said, wanted in pairs])


def test_pope_counts_what_cannot_be_read() -> None:
    ours, lmms = pope("default"), pope("lmms")
    assert (ours["accuracy"], ours["recall"], ours["yes_ratio"]) == (0.6, pytest.approx(2 / 3), 0.6)
    assert (lmms["accuracy"], lmms["recall"], lmms["yes_ratio"]) == (0.4, 1.0, 0.6)
    assert pope("llava")["recall"] == 1.0


def test_pope_is_the_mean_f1_of_its_groups() -> None:
    metric = YesNo()
    rows = [("yes", "yes", "a"), ("no", "no", "a"), ("no", "yes", "b"), ("yes", "yes", "b")]
    stats = [metric.stat(record(said, wanted, group=group)) for said, wanted, group in rows]
    assert metric.reduce(stats)["yes_no"] == pytest.approx((1 + 2 / 3) / 2)


def test_mme_scores_pairs_and_survives_a_single_one() -> None:
    metric = Mme()
    rows = [("yes", "a"), ("yes", "a"), ("yes", "b"), ("no", "b")]
    stats = [metric.stat(record(said, "Yes", group="color", cluster=name)) for said, name in rows]
    assert metric.reduce(stats)["mme"] == 125
    assert metric.reduce(stats)["perception"] == 125
    assert metric.reduce(stats[:1])["color"] == 200


@pytest.mark.parametrize(
    ("scale", "said"),
    [
        ("share", "[0.25, 0.5, 0.75, 1]"),
        ("thousand", "(250, 500, 750, 1000)"),
        ("pixel", "It is at 50, 50, 150, 100."),
        ("padded", "[0.75, 0.75, 0.25, 0.5]"),
    ],
)
def test_boxes_of_every_scale(
    scale: Literal["share", "padded", "thousand", "pixel"], said: str
) -> None:
    metric = BoxAccuracy(scale=scale)
    meta = {"width": 200, "height": 100}
    stat = metric.stat(record(said, key=[0.25, 0.5, 0.75, 1.0], meta=meta))
    assert stat.parts == {"iou": pytest.approx(1.0), "centre": 1.0}
    assert metric.reduce([stat])["box_accuracy"] == 1


def test_no_box_is_invalid_and_an_empty_one_divides_nothing() -> None:
    stat = BoxAccuracy().stat(record("there", key=[0, 0, 1, 1]))
    assert (stat.valid, stat.score, stat.parts["centre"]) == (False, 0, 0)
    lmms = BoxAccuracy(profile="lmms").stat(record("there", key=[0, 0, 1, 1]))
    assert (lmms.score, lmms.parts["centre"]) == (0, 1)
    assert score(BoxAccuracy(), "[0., 5e-1, 1., 1]", key=[0, 0.5, 1, 1]) == 1
    assert score(BoxAccuracy(), "[0, 0, 0, 0]", key=[0, 0, 0, 0]) == 0
    with pytest.raises(DataError, match="four numbers"):
        score(BoxAccuracy(), "[0, 0, 0, 0]", key=[0, 0, 0])


@pytest.mark.parametrize(
    ("answer", "ours", "lmms"),
    [
        ("BANANA is right", None, "A"),
        ("b", "B", None),
        ("B) because of it", "B", None),
        ("A: yes", "A", None),
        ("[B]", "B", None),
        ("blue sky", "B", None),
        ("", None, None),
        ("(A) no, (B)", "B", "B"),
        ("B\nThe red apple is no sky.", "B", "A"),
        ("Answer: **B**", "B", None),
        ("\uff08B\uff09\u3002", "B", None),
        ("\u7b54\u6848\u662fB\u3002", "B", None),
        ("D'Artagnan, BA or I", None, "A"),
    ],
)
def test_choices(answer: str, ours: str | None, lmms: str | None) -> None:
    options = ["red apple", "blue sky"]
    assert read_choice(answer, options) == ours
    assert read_choice(answer, options, profile="lmms") == lmms


def test_of_options_in_one_another_mmmu_takes_the_first() -> None:
    said = "I think that this here is a red apple"
    options = ["red", "red apple", ""]
    assert read_choice(said, options[:2]) == "B" and read_choice(said, options) == "B"
    assert read_choice(said, options[:2], profile="mmmu") == "A"


def test_a_draw_depends_on_the_question_alone() -> None:
    meta = {"options": ["one", "two", "three", "four"]}
    asked = [record("?", "A", id=str(at), meta=meta) for at in range(60)]
    metric = Choice(profile="mmmu")
    drawn = [metric.stat(one).parsed for one in asked]
    assert drawn == [metric.stat(one).parsed for one in asked]
    assert set(drawn) == set("ABCD")
    assert not any(metric.stat(one).valid for one in asked)
    assert {Choice().stat(one).score for one in asked} == {0}


def test_rotations_count_together() -> None:
    metric = Choice(all_of_cluster=True)
    meta = {"options": ["x", "y"]}
    rows = [("A", "A", "1"), ("B", "B", "1"), ("A", "A", "2"), ("A", "B", "2")]
    stats = [metric.stat(record(said, key, cluster=c, meta=meta)) for said, key, c in rows]
    assert metric.reduce(stats) == {"choice": 0.5, "single": 0.75, "invalid": 0}


@pytest.mark.parametrize(
    ("kind", "answer", "expected"),
    [
        ("integer", "I count 3 and 4, so the answer is 1,207.", "1207"),
        ("float", "x = 2.50 m", "2.50"),
        ("list", "between [2007, 2008] it is", "[2007, 2008]"),
        ("integer", "no idea", ""),
    ],
)
def test_rules_extract_where_no_judge_does(kind: str, answer: str, expected: str) -> None:
    meta = {"answer_type": kind, "question_type": "free_form"}
    assert rule_extract(record(answer, meta=meta)) == expected
    metric = MathVista()
    (stat,) = metric.measure([record(answer, "1207", meta=meta)])
    assert stat.parts == {"by_rule": True}
    assert metric.reduce([stat])["extracted_by_rule"] == 1


@pytest.mark.parametrize(
    ("answer", "extracted"),
    [
        ("The area is x = 5, so the answer is (B) 8/11.", "B"),
        ("**Answer:** B\nsince 2 = 2", "B"),
        ("It must be eight elevenths, 8/11", "B"),
        ("who knows", "who knows"),
    ],
)
def test_rules_extract_options_too(answer: str, extracted: str) -> None:
    meta = {"answer_type": "text", "question_type": "multi_choice", "options": ["3/11", "8/11"]}
    assert rule_extract(record(answer, meta=meta)) == extracted


def test_silence_is_no_option() -> None:
    meta = {"answer_type": "text", "question_type": "multi_choice", "options": ["red", "b"]}
    (stat,) = MathVista().measure([record("", "b", meta=meta)])
    assert (stat.score, stat.valid, stat.parsed) == (0, False, "")


def test_mmmu_has_a_number_for_each_discipline() -> None:
    meta = {"options": ["x", "y"]}
    rows = [("A", "Music"), ("B", "Art"), ("A", "Math")]
    stats = [Mmmu().stat(record(said, "A", group=name, meta=meta)) for said, name in rows]
    stats.append(Mmmu().stat(record("so it is 1,200.", "1200", key="1200", group="Finance")))
    found = Mmmu().reduce(stats)
    assert (found["mmmu"], found["art_and_design"], found["science"]) == (0.75, 0.5, 1)
    assert (found["business"], found["invalid"]) == (1, 0)


def test_a_mean_of_zero_is_zero() -> None:
    meta = {"answer_type": "integer", "question_type": "free_form"}
    stats = MathVista().measure([record("3", "4", meta=meta)])
    assert MathVista().reduce(stats)["mathvista"] == 0


@pytest.mark.parametrize(
    ("said", "wanted", "words", "characters"),
    [
        ("the cat sat", "The cat sat.", 0, 0),
        ("the cat", "the cat sat", 1 / 3, 3 / 9),
        ("a b c d", "a", 3, 3),
        ("don't", "dont", 1, 1 / 4),
        ("", "a b", 1, 1),
        ("it\u2019s", "it's", 0, 0),
        # Vowel signs of Hindi are parts of words.
        ("\u0939\u093f\u0928\u094d\u0926\u0940 \u0915\u093e",
         "\u0939\u093f\u0928\u094d\u0926\u0940 \u0915\u0940", 1 / 2, 1 / 8),
    ],
)  # fmt: skip
def test_error_rates(said: str, wanted: str, words: float, characters: float) -> None:
    assert score(WordErrorRate(), said, wanted) == pytest.approx(words)
    assert score(WordErrorRate(unit="characters"), said, wanted) == pytest.approx(characters)


def test_error_rates_are_of_all_words_together() -> None:
    metric = WordErrorRate()
    stats = [metric.stat(record("a", "a b c d")), metric.stat(record("x", "y"))]
    assert metric.reduce(stats) == {"word_error_rate": 4 / 5}


@pytest.mark.parametrize(
    ("profile", "said", "right"),
    [
        ("default", " Cat. ", 1),
        ("gqa", "Cat.", 1),
        ("gqa", "cat ", 0),
        ("lmms", "c-a,t", 1),
        ("lmms", "cat ", 0),
        ("letters", "C at", 1),
        ("verbatim", "Cat", 0),
        ("default", "Cat\u3002", 1),
    ],
)
def test_exact_match(profile: Any, said: str, right: int) -> None:
    assert score(ExactMatch(profile=profile), said, "cat") == right


@pytest.mark.parametrize(
    ("text", "action"),
    [
        ("The next action is stop.", ("stop", 0)),
        ("The next action is move forward 75 cm.", ("forward", 75)),
        ("the next action is turn left 40 degree", ("left", 45)),
        ("The next action is move forward", ("forward", 25)),
        ("The next action is turn right 90 degree.", ("right", 90)),
        ("I would rather not.", None),
        ("3 balls; the next action is move forward 75 cm.", ("forward", 75)),
        ("The next action IS TURN LEFT 45 DEGREE.", ("left", 15)),
        ("this move forward 75 cm", None),
        ("is turn leftish", None),
    ],
)
def test_actions(text: str, action: tuple[str, int] | None) -> None:
    assert read_action(text) == action


def test_kinds_of_actions_count_too() -> None:
    metric = ActionMatch()
    target = "The next action is turn left 30 degree."
    answers = [target, "is turn left 15 degree", "hm"]
    found = metric.reduce([metric.stat(record(said, target)) for said in answers])
    third = pytest.approx(1 / 3)
    assert found == {"action_match": third, "kind": pytest.approx(2 / 3), "invalid": third}


def test_the_heat_map_has_a_cell_for_each_length_and_depth() -> None:
    metric = Needle()
    rows = [(8, 0.0, "x"), (8, 0.0, "needle"), (4, 1.0, " Nee dle.")]
    stats = [
        metric.stat(record(said, "needle", meta={"frames": frames, "depth": depth}))
        for frames, depth, said in rows
    ]
    assert heat_map(stats) == {(4, 1.0): 1.0, (8, 0.0): 0.5}


@pytest.mark.parametrize("name", metrics.names())
def test_every_metric_reduces_nothing_to_numbers_and_has_its_name(name: str) -> None:
    metric = metrics.get(name)()
    found = metric.reduce([])
    assert metric.name == name == next(iter(found))
    assert all(isinstance(value, float | int) for value in found.values())
    assert json.dumps({key: None if math.isnan(one) else one for key, one in found.items()})


@pytest.mark.parametrize("metric", [VqaAccuracy(), Anls()])
def test_a_key_of_another_shape_is_named(metric: Metric) -> None:
    with pytest.raises(DataError, match="needs a list of answers"):
        score(metric, "x", key="x")

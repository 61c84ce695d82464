"""How far our metrics are from the reference implementations, on recorded vectors.

``python -m tests.eval.parity --write docs/evaluation.md`` writes the table into the page, between
its two marks, and the list of tasks between two others; without ``--write`` it prints them.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np

from hocket.eval.metrics import Metric, Record, Stat
from hocket.eval.metrics._ptb import caption_words
from hocket.eval.metrics._vqa_words import (
    evalai_words,
    plain_words,
    vqa_words,
    without_punctuation,
)
from hocket.eval.metrics.anls import Anls
from hocket.eval.metrics.bleu import Bleu
from hocket.eval.metrics.box_accuracy import BoxAccuracy
from hocket.eval.metrics.choice import read_choice
from hocket.eval.metrics.cider_d import CiderD
from hocket.eval.metrics.exact_match import ExactMatch
from hocket.eval.metrics.mathvista import most_similar, normalise, quick_extract
from hocket.eval.metrics.meteor import Meteor, meteor_score
from hocket.eval.metrics.mme import Mme, read_yes_no
from hocket.eval.metrics.mmmu import comparable, numbers_in, open_right, read_open
from hocket.eval.metrics.rouge_l import RougeL
from hocket.eval.metrics.vqa_accuracy import VqaAccuracy
from hocket.eval.metrics.yes_no import YesNo
from hocket.eval.task import open_task, tasks
from hocket.nav.environment import Point
from hocket.nav.score import PROFILES, Walk, cls, dtw, score_walk, straight

GOLDEN = Path(__file__).parents[1] / "golden" / "metrics"
Pair = tuple[str, object, object]
"""What is compared, what we say, what the reference says."""


@dataclass(frozen=True, slots=True)
class Parity:
    """A line of the table.

    Attributes:
        metric: what was compared.
        reference: whose numbers they are.
        cases: how many values.
        difference: the largest between numbers; infinite where texts differ.
        worst: the case with it.
    """

    metric: str
    reference: str
    cases: int
    difference: float
    worst: str


def golden(name: str) -> Any:
    return json.loads((GOLDEN / f"{name}.json").read_text("utf-8"))


def record(answer: str, target: str = "", **fields: Any) -> Record:
    return Record(id=str(fields.pop("id", "0")), answer=answer, target=target, **fields)


def distance(ours: object, theirs: object) -> float:
    if isinstance(ours, str) or isinstance(theirs, str) or ours is None or theirs is None:
        return 0.0 if ours == theirs else math.inf
    if isinstance(ours, list | tuple):
        theirs = list(cast("list[object]", theirs))
        if len(ours) != len(theirs):
            return math.inf
        return max(map(distance, ours, theirs), default=0.0)
    apart = abs(float(cast(float, ours)) - float(cast(float, theirs)))
    # Not a number is no match, and no comparison would say so.
    return math.inf if math.isnan(apart) else apart


def vqa_processing() -> Iterator[Pair]:
    for row in golden("vqa_official")["normalisation"]:
        text = row["text"]
        bare = without_punctuation(text, official=True)
        yield f"punctuation of {text!r}", bare, row["punctuation"]
        yield f"words of {text!r}", plain_words(text), row["digit_article"]
        yield f"both of {text!r}", plain_words(bare), row["both"]


def evalai_processing() -> Iterator[Pair]:
    for row in golden("evalai_processor")["vectors"]:
        for whose in ("llava", "navila", "lmms_eval"):
            yield f"{whose} {row['text']!r}", evalai_words(row["text"]), row[whose]


def vqa_official() -> Iterator[Pair]:
    found = golden("vqa_official")
    metric = VqaAccuracy(profile="official")
    groups: dict[tuple[str, str], list[float]] = {}
    for row in found["questions"]:
        score = metric.stat(record(row["pred"], key=row["answers"])).score or 0.0
        for group in (
            ("all", ""),
            ("type", row["answer_type"]),
            ("question", row["question_type"]),
        ):
            groups.setdefault(group, []).append(score)
        yield (
            f"question {row['question_id']}",
            round(100 * score, 2),
            found["per_question"][str(row["question_id"])],
        )
    for (kind, name), scores in groups.items():
        where = {"all": "overall", "type": "perAnswerType", "question": "perQuestionType"}[kind]
        theirs = found["accuracy"][where]
        ours = round(100 * sum(scores) / len(scores), 2)
        yield f"{where} {name}", ours, theirs[name] if name else theirs


def vqa_lmms() -> Iterator[Pair]:
    found = golden("vqa_accuracy")
    for row, theirs in zip(found["questions"], found["lmms_eval_vqav2"], strict=True):
        stat = VqaAccuracy(profile="lmms").stat(record(row["pred"], key=row["answers"]))
        yield f"question {row['question_id']}", stat.score, theirs["accuracy"]
        yield f"text {row['question_id']}", vqa_words(row["pred"]), theirs["submitted"]


def textvqa() -> Iterator[Pair]:
    found = golden("vqa_accuracy")
    metric = VqaAccuracy(profile="evalai")
    stats = [metric.stat(record(row["pred"], key=row["answers"])) for row in found["questions"]]
    for at, stat in enumerate(stats):
        yield f"question {at}", stat.score, found["textvqa_each"][at]
    yield "all", metric.reduce(stats)["vqa_accuracy"], found["textvqa_total"]


def stvqa() -> Iterator[Pair]:
    found = golden("vqa_accuracy")
    metric = ExactMatch(profile="evalai")
    stats = [metric.stat(record(row["pred"], key=row["answers"])) for row in found["questions"]]
    yield "all", metric.reduce(stats)["exact_match"], found["stvqa_accuracy"]


def anls(profile: str, whose: str) -> Iterator[Pair]:
    metric = Anls(profile=profile)  # type: ignore[arg-type]  # both are profiles
    for at, row in enumerate(golden("anls")["vectors"]):
        yield f"{at}", metric.stat(record(row["pred"], key=row["references"])).score, row[whose]


def pope(profile: str) -> Iterator[Pair]:
    metric = YesNo(profile=profile)  # type: ignore[arg-type]  # both are profiles
    for at, row in enumerate(golden("pope")["vectors"]):
        pairs = zip(row["preds"], row["labels"], strict=True)
        stats = [metric.stat(record(said, wanted)) for said, wanted in pairs]
        ours = metric.reduce(stats)
        if profile == "llava":
            for number, stat in enumerate(stats):
                yield f"{at} answer {number}", stat.parsed, row["llava_parsed"][number]
            printed = [line.split(": ") for line in row["llava_printed"].splitlines()]
            theirs = {one[0]: float(one[1]) for one in printed if len(one) == 2}
            names = {"Accuracy": "accuracy", "Precision": "precision", "Recall": "recall"}
            names |= {"F1 score": "f1", "Yes ratio": "yes_ratio"}
            for name, value in theirs.items():
                yield f"{at} {name}", ours[names[name]], value
        else:
            for name, value in row["lmms_eval"].items():
                yield f"{at} {name}", ours[name], value


def mme() -> Iterator[Pair]:
    found = golden("mme")
    for row in found["parse"]:
        yield row["text"], read_yes_no(row["text"]), row["label"]
    for at, one in enumerate(found["sets"]):
        stats = [
            Mme().stat(
                record(
                    item["pred"],
                    item["answer"],
                    group=item["category"],
                    cluster=str(item["question_id"]),
                )
            )
            for item in one["items"]
        ]
        ours = Mme().reduce(stats)
        for name in ("perception", "cognition"):
            theirs = one["totals"].get(f"mme_{name}_score")
            if theirs is not None:
                yield f"set {at} {name}", ours[name], theirs


def boxes() -> Iterator[Pair]:
    found = golden("refcoco")
    metric = BoxAccuracy(profile="lmms")
    stats = []
    for at, row in enumerate(found["vectors"]):
        stat = metric.stat(record(row["text"], key=row["gt"]))
        stats.append(stat)
        yield f"{at} iou", stat.parts["iou"], row["iou"]
        yield f"{at} centre", stat.parts["centre"], row["center"]
    ours, theirs = metric.reduce(stats), found["aggregate_over_rows_with_iou"]
    yield "iou", ours["iou"], theirs["IoU"]
    yield "centre", ours["centre"], theirs["Center_ACC"]
    for line in (0.1, 0.3, 0.5, 0.7, 0.9):
        yield f"at {line}", ours[f"at_{line}"], theirs[f"ACC@{line}"]


def boxes_inclusive() -> Iterator[Pair]:
    metric = BoxAccuracy(scale="pixel", profile="inclusive")
    side = 1000
    for at, row in enumerate(golden("refcoco")["vectors"]):
        key = [value / side for value in row["pixel_gt"]]
        said = str(row["pixel_pred"])
        meta = {"width": side, "height": side}
        if (
            row["pixel_pred"][0] > row["pixel_pred"][2]
            or row["pixel_pred"][1] > row["pixel_pred"][3]
        ):
            continue  # VILA leaves corners in the wrong order; we sort them
        stat = metric.stat(record(said, key=key, meta=meta))
        yield f"{at}", stat.parts["iou"], row["navila_iou_plus1"]


def mmmu_choice(profile: str, whose: str) -> Iterator[Pair]:
    found = golden("mmmu")
    options = list(found["index2ans"].values())
    for row in found["multi_choice"]:
        ours = read_choice(row["response"], options, profile=profile)  # type: ignore[arg-type]  # both are profiles
        yield row["response"], ours or "RANDOM", row[whose]


def mmmu_open() -> Iterator[Pair]:
    for row in golden("mmmu")["open"]:
        text = row["response"]
        held = [_plain(one) for one in read_open(text)]
        yield f"held {text!r}", sorted(map(str, held)), sorted(map(str, row["parsed"]))
        yield f"numbers {text!r}", numbers_in(text), row["numbers"]
        yield f"normalised {text!r}", [_plain(one) for one in comparable(text)], row["normalised"]
        for keys, right in row["eval_open"].items():
            yield f"{text!r} for {keys}", open_right(read_open(text), keys.split("|")), right


def _plain(value: object) -> object:
    if isinstance(value, float) and not math.isfinite(value):
        return "NaN" if math.isnan(value) else "Infinity"
    return value


def mathvista() -> Iterator[Pair]:
    found = golden("mathvista")
    for row in found["normalise"]:
        ours = normalise(
            row["extraction"],
            row["choices"] or [],
            question_type=row["question_type"],
            answer_type=row["answer_type"],
            precision=row["precision"],
        )
        yield f"normalise {row['extraction']!r}", ours, row["normalised"]
    for row in found["most_similar"]:
        ours = most_similar(row["prediction"], row["choices"])
        yield f"similar {row['prediction']!r}", ours, row["out"]
    for row in found["quick_extract"]:
        meta = {key: row[key] for key in ("question_type", "answer_type")}
        meta["options"] = row["choices"]
        yield row["response"], quick_extract(record(row["response"], meta=meta)) or "", row["out"]


def captions(metric: Metric, name: str) -> Iterator[Pair]:
    for at, one in enumerate(golden("captions")["sets"]):
        records = [
            record(
                one["res"][key][0] if isinstance(one["res"][key], list) else one["res"][key],
                key=one["gts"][key],
                id=key,
            )
            for key in one["gts"]
        ]
        stats = metric.measure(records)
        ours = metric.reduce(stats)
        if name == "bleu":
            for size in range(4):
                yield f"set {at} bleu {size + 1}", ours[f"bleu_{size + 1}"], one["bleu"][size]
            each = one["bleu_each"][3]
        else:
            yield f"set {at}", next(iter(ours.values())), one[name]
            each = one["rouge_each" if name == "rouge_l" else "cider_each"]
        for number, (stat, theirs) in enumerate(zip(stats, each, strict=True)):
            yield f"set {at} caption {number}", stat.score, theirs


def ptb() -> Iterator[Pair]:
    dropped = {"''", "'", "``", "`", ".", "?", "!", ",", ":", "-", "--", "...", ";"}
    for row in golden("ptb")["vectors"]:
        theirs = [word for word in row["words"].split() if word not in dropped]
        yield row["text"], " ".join(caption_words(row["text"])), " ".join(theirs)


def untokenised() -> Iterator[Pair]:
    """Compare whole captions with what pycocoevalcap says of them, its tokeniser included."""
    keys = [
        ["A cat sits on the mat.", "There is a cat on a mat"],
        ["Two dogs play in the park.", "dogs are running through a grassy park"],
        ["A man riding a wave on top of a surfboard."],
    ]
    said = [
        "a cat on the mat",
        "two dogs run in a park.",
        "a man on a surfboard riding a wave",
    ]
    records = [record(one, key=key) for one, key in zip(said, keys, strict=True)]
    expected: tuple[tuple[Metric, list[float], list[float]], ...] = (
        (
            Bleu(),
            [0.808995472610823, 0.6233728774595071, 0.4246524474666871, 5.05687269257128e-05],
            [],
        ),
        (CiderD(), [2.9945353754568758], [3.8220568318, 1.6867907568, 3.4747585378]),
        (RougeL(), [0.7019125587673974], [0.89442815, 0.66666667, 0.54464286]),
    )
    for metric, whole, each in expected:
        stats = metric.measure(records)
        ours = list(metric.reduce(stats).values())
        for at, theirs in enumerate(whole):
            yield f"{metric.name} {at}", ours[at + (len(whole) > 1)], theirs
        for stat, theirs in zip(stats, each, strict=False):
            # Given to eight places.
            yield metric.name, round(stat.score or 0.0, 8), round(theirs, 8)


def meteor() -> Iterator[Pair]:
    found = golden("meteor")
    rows = [[float(count) for count in row.split()] for row in found["counts"]]
    stats = [Stat(score=meteor_score(row), parts={"counts": row}) for row in rows]
    for at, (stat, theirs) in enumerate(zip(stats, found["scores"], strict=True)):
        yield f"caption {at}", stat.score, theirs
    yield "all", Meteor().reduce(stats)["meteor"], found["all"]


NAV_NAMES = {
    "sr": "success",
    "osr": "oracle_success",
    "spl": "spl",
    "soft_spl": "soft_spl",
    "ne_m": "distance_to_goal",
    "oracle_ne_m": "oracle_navigation_error",
    "tl_m": "path_length",
    "ndtw": "ndtw",
    "sdtw": "sdtw",
    "steps": "steps_taken",
}


def walks() -> Iterator[Pair]:
    for at, vector in enumerate(golden("navigation")["vectors"]):
        found = score_walk(
            Walk(path=np.array(vector["agent_path"]), stopped=vector["stop_called"]),
            np.array(vector["goal"]),
            np.array(vector["gt_locations"]),
            straight,
            replace(PROFILES["vlnce"], success_m=vector["success_distance"]),
        )
        for ours, theirs in NAV_NAMES.items():
            yield f"{at} {ours}", found[ours], vector["out_exact_dtw"][theirs]


def grid(one: Point, other: Point) -> float:
    """The distance on a grid graph of unit edges."""
    return float(np.abs(one - other).sum())


def walks_on_a_graph() -> Iterator[Pair]:
    """Compare with r4r's own examples; of CLS in the order that its signature says."""
    profile = PROFILES["r2r"]
    path = np.array([[0, 0], [1, 0], [2, 0], [3, 0]], float)
    reference = np.array([[0, 0], [1, 0], [2, 1], [3, 2]], float)
    found = score_walk(Walk(path, True), reference[-1], reference, grid, profile)
    yield "DTW", dtw(path, reference, grid), 3.0
    yield "nDTW", found["ndtw"], 0.7788007830714049
    yield "sDTW", found["sdtw"], 0.7788007830714049
    short = score_walk(Walk(path[:2], True), reference[-1], reference, grid, profile)
    yield "sDTW of its beginning", short["sdtw"], 0.0
    way = np.array([[0, 0], [1, 0], [1, 1], [2, 1], [2, 2], [3, 2]], float)
    round_about = np.array([[0, 0], [1, 0], [2, 0], [2, 1], [3, 1], [3, 2]], float)
    beside = np.array([[0, 1], [1, 1], [2, 1], [3, 1]], float)
    yield "CLS of itself", cls(way, way, grid, 3.0), 1.0
    yield "CLS round about", cls(round_about, way, grid, 3.0), 0.8199491512586388
    yield "CLS beside", cls(beside, way, grid, 3.0), 0.6435694620652272
    yield "CLS beside, turned round", cls(way, beside, grid, 3.0), 0.4419719610270255


CHECKS: tuple[tuple[str, str, Callable[[], Iterator[Pair]]], ...] = (
    ("VQA answer processing", "VQA, published evaluation", vqa_processing),
    ("VQA accuracy, `official`", "VQA, published evaluation", vqa_official),
    ("VQA accuracy, `lmms`", "lmms-eval", vqa_lmms),
    ("EvalAI answer processing", "LLaVA, NaVILA, lmms-eval", evalai_processing),
    ("VQA accuracy, `evalai` (TextVQA)", "LLaVA", textvqa),
    ("exact match, `evalai` (ST-VQA)", "LLaVA", stvqa),
    ("ANLS, `lmms`", "lmms-eval", lambda: anls("lmms", "lmms_eval")),
    ("ANLS, `stvqa`", "LLaVA", lambda: anls("stvqa", "stvqa")),
    ("yes or no, `llava` (POPE)", "LLaVA", lambda: pope("llava")),
    ("yes or no, `lmms` (POPE)", "lmms-eval", lambda: pope("lmms")),
    ("MME", "lmms-eval", mme),
    ("boxes, `lmms` (RefCOCO)", "lmms-eval", boxes),
    ("boxes, `inclusive`", "NaVILA", boxes_inclusive),
    ("choices, `mmmu`", "MMMU in NaVILA", lambda: mmmu_choice("mmmu", "result")),
    ("choices, `lmms`", "lmms-eval", lambda: mmmu_choice("lmms", "lmms_eval")),
    ("open answers (MMMU)", "MMMU in NaVILA", mmmu_open),
    ("MathVista extraction", "lmms-eval", mathvista),
    ("words of captions", "Stanford PTBTokenizer 3.4.1", ptb),
    ("BLEU, CIDEr-D, ROUGE-L of whole captions", "pycocoevalcap", untokenised),
    ("METEOR of the program's counts", "METEOR 1.5", meteor),
    ("BLEU", "pycocoevalcap", lambda: captions(Bleu(), "bleu")),
    ("ROUGE-L", "pycocoevalcap", lambda: captions(RougeL(), "rouge_l")),
    ("CIDEr-D", "pycocoevalcap", lambda: captions(CiderD(), "cider")),
    ("walks, `vlnce` (exact DTW)", "habitat-lab, VLN-CE in NaVILA", walks),
    ("walks, `r2r` (nDTW, sDTW, CLS)", "r4r", walks_on_a_graph),
)


def compare() -> list[Parity]:
    """Return a line for each check."""
    lines = []
    for metric, reference, pairs in CHECKS:
        found = [(distance(ours, theirs), name) for name, ours, theirs in pairs()]
        worst = max(found, key=lambda one: one[0])
        lines.append(Parity(metric, reference, len(found), worst[0], worst[1]))
    return lines


def table() -> str:
    """Return the lines as Markdown."""
    rows = ["| metric | reference | cases | max difference |", "|---|---|---|---|"]
    for one in compare():
        # Below what a sum in another order gives, the last digits say nothing.
        shown = "0" if one.difference < 1e-12 else f"{one.difference:.1e}"
        rows.append(f"| {one.metric} | {one.reference} | {one.cases} | {shown} |")
    return "\n".join(rows)


def task_table() -> str:
    """Return every task as a line of Markdown, with a number that somebody published."""
    rows = ["| task | benchmark | tags | metrics | published |", "|---|---|---|---|---|"]
    for name in tasks.names():
        task = open_task(name)
        metrics = ", ".join(metric.label for metric in task.metrics)
        first = "none"
        for one in task.anchors[:1]:
            where = f"{one.source}; {one.note}" if one.note else one.source
            profile = f" of profile {one.profile}" if one.profile else ""
            first = f"{one.model}: {one.metric}{profile} {one.value:g} ({where})"
        rows.append(f"| `{name}` | {task.title} | {', '.join(task.tags)} | {metrics} | {first} |")
    return "\n".join(rows)


def written(page: str) -> str:
    """Return a page with both tables between their marks."""
    for name, text in (("parity", table()), ("tasks", task_table())):
        start, end = f"<!-- {name} -->", f"<!-- /{name} -->"
        before, _, rest = page.partition(start)
        _, _, after = rest.partition(end)
        page = f"{before}{start}\n{text}\n{end}{after}"
    return page


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", type=Path)
    page = parser.parse_args().write
    if page:
        page.write_text(written(page.read_text("utf-8")), "utf-8")
    else:
        sys.stdout.write(f"{table()}\n\n{task_table()}\n")

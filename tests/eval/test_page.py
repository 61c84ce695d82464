"""Two models are compared, and the pages, tables and files say what was measured."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from tests.eval.scripted import ScriptedEngine, checkpoint, sweep, twins

from hocket._errors import ConfigError
from hocket.chat.conversation import Conversation
from hocket.eval import sweep as sweeping
from hocket.eval.browser import MOST_BYTES, Cards
from hocket.eval.compare import compare, find_results
from hocket.eval.exam import Origin, open_exam
from hocket.eval.lmms.export import export_results
from hocket.eval.page import _browsed, write_comparison, write_run
from hocket.eval.scores import SCORES, Scores, read_scores
from hocket.eval.sweep import Plan
from hocket.eval.task import open_task
from hocket.eval.twin import write_twin

Script = Callable[[Conversation], str]


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def sit(folder: Path, scripts: dict[str, Script], *names: str) -> Path:
    """Let scripted models sit twins; steps are 1, 2 and so on of one run."""
    out = folder / "out"
    with pytest.MonkeyPatch.context() as patch:
        for number, (model, script) in enumerate(scripts.items(), 1):
            engine = ScriptedEngine(script)
            patch.setattr(sweeping.Engine, "load", lambda *_, made=engine: made)
            path = checkpoint(folder / model, model, step=number)
            plan = Plan(models=(path,), exams=twins(out, *names), out=out, ways=("removed",))
            outcomes, _ = sweep(plan)
            assert all(one.scores is not None for one in outcomes)
    return out


def oracle(*names: str) -> Script:
    """Return a script that knows the answers of twins."""
    known: dict[str, str] = {}

    def script(question: Conversation) -> str:
        return known.get(question.id, "") if list(question.media()) else ""

    for name in names:
        known.update(_targets(name))
    return script


def _targets(name: str) -> list[tuple[str, str]]:
    with TemporaryDirectory() as folder:
        task = write_twin(open_task(name), Path(folder))
        return [(question.id, question.target) for question in task.questions(Path(folder))]


NAMES = ("pope", "needle", "audio_qa")


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    scripts = {"good": oracle(*NAMES), "bad": lambda question: "<script>alert(1)</script>"}
    return sit(tmp_path_factory.mktemp("page"), scripts, *NAMES)


def test_better_and_worse_are_told_with_their_proof(out: Path) -> None:
    found = compare(find_results(out, "bad"), find_results(out, "good"))
    assert [one.first.exam for one in found] == [
        "audio_qa@1-twin",
        "needle@1-twin",
        "pope@1-twin",
    ]
    pope = found[2]
    assert pope.questions == len(pope.fixed) == 6 and not pope.broken
    assert (pope.difference.first, pope.difference.second) == (0.0, 1.0)
    assert pope.mcnemar is not None and pope.mcnemar.p == pytest.approx(2 / 64)
    assert all(one.corrected >= one.difference.p for one in found)
    back = compare(find_results(out, "good"), find_results(out, "bad"))
    assert len(back[2].broken) == 6 and back[2].difference.value == -1


def test_results_are_found_by_name_and_missing_ones_named(out: Path) -> None:
    assert find_results(out, "good").name.startswith("good-")
    assert find_results(out, str(find_results(out, "good"))) == find_results(out, "good")
    with pytest.raises(ConfigError, match="no results of 'ugly'; it has bad-"):
        find_results(out, "ugly")


def test_other_versions_are_not_compared(out: Path, tmp_path: Path) -> None:
    first, second = find_results(out, "good"), tmp_path / "other"
    for folder in find_results(out, "bad").iterdir():
        (second / folder.name).mkdir(parents=True)
        for file in folder.iterdir():
            (second / folder.name / file.name).write_bytes(file.read_bytes())
    file = second / "pope@1-twin" / SCORES
    file.write_text(file.read_text().replace('"version": 1', '"version": 2'))
    with pytest.raises(ConfigError, match="versions differ"):
        compare(first, second)
    assert compare(first, second, force=True)
    file.write_text(file.read_text().replace('"version": 2', '"version": 1'))
    log = second / "pope@1-twin" / "answers.jsonl"
    log.write_text(log.read_text().replace('"target": "no"', '"target": "maybe"', 1))
    with pytest.raises(ConfigError, match="has another prompt or answer"):
        compare(first, second)


def test_pages_need_nothing_and_run_nothing(out: Path) -> None:
    page = write_run(out).read_text()
    other = out / "compare.html"
    write_comparison(other, compare(find_results(out, "bad"), find_results(out, "good")))
    for text in (page, other.read_text()):
        tags = Tags()
        tags.feed(text)
        kinds = {tag for tag, _ in tags.found}
        assert not kinds & {"script", "link", "iframe", "object"}
        sources = [at["src"] for _, at in tags.found if "src" in at]
        assert sources and all(str(one).startswith("data:") for one in sources)
        assert not [at for _, at in tags.found if "style" in at]
        assert "default-src 'none'" in text
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
        assert all(at.get("alt") for tag, at in tags.found if tag == "img")
        assert all(at.get("aria-label") for tag, at in tags.found if tag in ("svg", "audio"))
    assert "only-wrong" in page and "has-wrong" in page
    assert "Share of needles found" in page
    assert "fixed" in other.read_text()


def test_files_beside_the_pages_hold_every_number(out: Path) -> None:
    write_run(out)
    rows = list(csv.DictReader((out / "results.csv").read_text().splitlines()))
    pope = [row for row in rows if row["exam"] == "pope@1-twin" and row["model"] == "good"]
    assert {row["figure"] for row in pope} >= {"yes_no", "accuracy", "f1", "yes_ratio"}
    assert float(pope[0]["value"]) == 1.0 and pope[0]["questions"] == "6"
    found = json.loads((out / "results.json").read_text())
    assert len(found) == 6
    assert {one["model"] for one in found} == {"good", "bad"}


def test_checkpoints_of_a_run_make_a_curve(tmp_path: Path) -> None:
    base = tmp_path / "run" / "checkpoints"
    root = tmp_path / "out"
    with pytest.MonkeyPatch.context() as patch:
        for step in (10, 20):
            answer = "yes" if step == 20 else "no"
            engine = ScriptedEngine(lambda _, said=answer: said)  # type: ignore[misc]  # a default is the value of the loop
            patch.setattr(sweeping.Engine, "load", lambda *_, made=engine: made)
            folder = base / f"joint-step-{step:06}"
            checkpoint(folder, str(step), step=step)
            for file in (folder / "model").iterdir():
                file.rename(folder / file.name)
            (folder / "model").rmdir()
            sweep(Plan(models=(str(folder),), exams=twins(root, "pope"), out=root))
    page = write_run(root).read_text()
    assert "Over training steps" in page
    assert "run, joint" in page
    assert page.count("<polyline") == 1


def test_a_full_page_leaves_media_out_and_says_so(out: Path) -> None:
    assert MOST_BYTES > 1_000_000
    cards = Cards(most_bytes=0)
    folder = find_results(out, "good") / "pope@1-twin"
    scores = read_scores(folder)
    assert scores is not None
    ((_, _, chosen, _),) = _browsed({folder: scores}, 4)
    made = cards.of(scores.origin, chosen)
    assert cards.without_media == len(made) == 4
    assert all("image" not in part for card in made for part in card["turns"][0]["parts"])


def test_a_whole_benchmark_shows_what_others_published(tmp_path: Path) -> None:
    """The twin's files stand in for the benchmark's; only profiles that fit are compared."""
    write_twin(open_task("gqa"), tmp_path / "gqa")
    origin = Origin(kind="task", name="gqa", place=str(tmp_path / "gqa"))
    found = _published(tmp_path, origin, limit=0)
    assert {one.model for one in found.published} == {"LLaVA-1.5-7B", "VILA1.5-3B"}
    assert not _published(tmp_path, origin, limit=2).published
    exam = open_exam(origin)
    assert exam.anchors[0].profile == "gqa" and not exam.anchors[0].fits("exact_match")


def _published(folder: Path, origin: Origin, *, limit: int) -> Scores:
    out = folder / f"out{limit}"
    with pytest.MonkeyPatch.context() as patch:
        engine = ScriptedEngine(lambda _: "yes")
        patch.setattr(sweeping.Engine, "load", lambda *_: engine)
        path = checkpoint(folder / "model", "w")
        plan = Plan(models=(path,), exams=(origin,), out=out)
        ((one,), _) = sweep(replace(plan, limit=limit))
    assert one.scores is not None
    return one.scores


def test_results_go_into_lmms_evals_files(out: Path, tmp_path: Path) -> None:
    results, *samples = export_results(find_results(out, "good"), tmp_path)
    found = json.loads(results.read_text())
    assert found["results"]["pope_v1-twin"]["yes_no,none"] == 1.0
    assert found["n-samples"]["pope_v1-twin"] == {"original": 6, "effective": 6}
    assert results.name.endswith("_results.json")
    (pope,) = [file for file in samples if "pope" in file.name]
    rows = [json.loads(line) for line in pope.read_text().splitlines()]
    assert [row["doc_id"] for row in rows] == list(range(6))
    assert {"target", "resps", "filtered_resps", "doc_hash", "yes_no"} <= rows[0].keys()
    assert len({row["doc_hash"] for row in rows}) == 6

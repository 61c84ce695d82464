"""Every kind of finding is found, by one process or two, and after an audit was stopped."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest
from tests.data.audit.broken import FAULTS, write_broken
from tests.media.faulty import Aborting, Hanging
from tests.toy import assistant, picture, talk, toy, user, write_rows

from hocket.data.audit import MEANINGS, AuditOptions, Finding, Kind
from hocket.data.audit import run as module
from hocket.data.audit.row import RowAuditor
from hocket.data.audit.run import Summary, audit, journal_of
from hocket.data.joined import JoinedRows
from hocket.data.mixture import open_source
from hocket.data.sources.memory import Memory
from hocket.data.spec import DatasetSpec
from hocket.media.where import Where

WEIGHTS = (1, 0.5, -1, "a lot", True)


def joined(file: Path) -> JoinedRows:
    return JoinedRows({"a": open_source("a", DatasetSpec(path=str(file)))})


def by_row(findings: list[Finding]) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for finding in findings:
        found.setdefault(finding.row, set()).add(finding.kind.value)
    return found


@pytest.mark.parametrize("processes", [1, 2])
def test_every_fault_is_found(
    tmp_path: Path, processes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "CHUNK_ROWS", 5)
    rows, summary, done = joined(write_broken(tmp_path)), Summary(), list[int]()
    findings = list(
        audit(rows, AuditOptions(), processes=processes, summary=summary, progress=done.append)
    )
    assert by_row(findings) == FAULTS
    assert sum(done) == summary.rows == len(rows) == 16
    # Those with a fault of their own; what is there twice is no fault of a row.
    assert summary.unusable == 8
    assert all(finding.reason and "\n" not in finding.reason for finding in findings)
    order = [(finding.row, finding.kind) for finding in findings]
    assert order == sorted(order, key=lambda one: one[0])


def test_headers_alone_miss_what_only_decoding_shows(tmp_path: Path) -> None:
    found = by_row(list(audit(joined(write_broken(tmp_path)), AuditOptions(headers=True))))
    assert found == {row: kinds for row, kinds in FAULTS.items() if row not in (4, 13)}


def test_a_stopped_audit_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_ROWS", 4)
    rows, journal = joined(write_broken(tmp_path)), tmp_path / "deep" / "journal.jsonl"
    straight = list(audit(rows, AuditOptions()))
    running = audit(rows, AuditOptions(), journal=journal)
    first = list(islice(running, 3))
    running.close()  # type: ignore[attr-defined] # it is a generator
    assert first == straight[:3]
    lines = journal.read_text()
    looked: list[int] = []
    look = RowAuditor.look
    monkeypatch.setattr(RowAuditor, "look", lambda self, at: (looked.append(at), look(self, at))[1])
    journal.write_text(lines + '{"chunk": 3, "ro')
    assert list(audit(rows, AuditOptions(), journal=journal)) == straight
    assert looked
    assert min(looked) == 4 * len(lines.splitlines())
    assert not journal.exists()
    journal.write_text("what is this\n")
    assert list(audit(rows, AuditOptions(), journal=journal)) == straight


def test_other_data_or_options_are_another_audit(tmp_path: Path) -> None:
    rows, options = joined(write_rows(tmp_path)), AuditOptions()
    here = journal_of(rows, options, {"a": "1"})
    assert here == journal_of(rows, options, {"a": "1"})
    assert here != journal_of(rows, options, {"a": "2"})
    assert here != journal_of(rows, replace(options, headers=True), {"a": "1"})


def test_a_model_adds_lengths_and_labels(tmp_path: Path) -> None:
    rows, summary = joined(write_rows(tmp_path)), Summary()
    processor = toy().processor
    assert not list(audit(rows, AuditOptions(), processor=processor, summary=summary))
    lengths = [len(processor.measure(rows[at]).input_ids) for at in range(len(rows))]
    assert summary.tokens == sum(lengths)
    assert summary.longest[0][0] == max(lengths)
    assert 0 < summary.learned < summary.tokens
    found = list(audit(rows, AuditOptions(max_tokens=sorted(lengths)[8]), processor=processor))
    assert [finding.kind for finding in found] == [Kind.LENGTH] * len(found)
    assert len(found) == sum(length > sorted(lengths)[8] for length in lengths)


def test_labels_that_miss_an_answer_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    processor = toy().processor
    one = talk(user("Say two words."), assistant("Red square."))
    outline = processor.measure(one)
    learned = [at for at, label in enumerate(outline.labels) if label != -100]
    labels = [-100 if at == learned[0] else label for at, label in enumerate(outline.labels)]
    monkeypatch.setattr(
        type(processor), "measure", lambda self, conversation: replace(outline, labels=labels)
    )
    rows = JoinedRows({"a": Memory([one])})
    (finding,) = audit(rows, AuditOptions(), processor=processor)
    assert finding.kind is Kind.LABELS


def test_a_decoder_that_hangs_or_crashes_is_a_finding() -> None:
    media = [Hanging(Where.of_path("h.png")), picture(1), Aborting(Where.of_path("a.png"))]
    talks = [
        talk(user(one, str(number)), assistant("Yes."), name=str(number))
        for number, one in enumerate(media)
    ]
    rows = JoinedRows({"a": Memory(talks)})
    found = list(audit(rows, AuditOptions(deadline_seconds=2.0)))
    assert [(finding.row, finding.kind) for finding in found] == [
        (0, Kind.DECODER),
        (2, Kind.DECODER),
    ]


def test_repeats_are_looked_for_over_data_sets(tmp_path: Path) -> None:
    file = write_rows(tmp_path, count=4)
    parts = {name: open_source(name, DatasetSpec(path=str(file))) for name in ("a", "b")}
    found = list(audit(JoinedRows(parts), AuditOptions()))
    assert {finding.dataset for finding in found} == {"b"}
    assert {finding.kind for finding in found} == {Kind.SAME_ROW}  # ids are a data set's own


def test_every_kind_has_a_meaning() -> None:
    assert set(MEANINGS) == set(Kind)


def test_a_weight_that_training_refuses_is_found(tmp_path: Path) -> None:
    turns = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]
    rows = [
        {"id": str(at), "weight": one, "conversations": turns} for at, one in enumerate(WEIGHTS)
    ]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    found = by_row(list(audit(joined(tmp_path / "rows.json"), AuditOptions())))
    assert {row for row, kinds in found.items() if "row" in kinds} == {2, 3, 4}


def test_media_that_cannot_be_opened_are_not_the_same_by_name(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"nothing")
    turns = [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Hello"}]
    rows = [
        {"id": key, key: "a.bin", "conversations": turns} for key in ("audio", "video", "image")
    ]
    (tmp_path / "rows.json").write_text(json.dumps(rows))
    found = list(audit(joined(tmp_path / "rows.json"), AuditOptions()))
    assert {finding.kind for finding in found} == {Kind.MEDIUM}


def test_an_audit_without_a_model_imports_no_torch() -> None:
    code = "import sys, hocket.data.audit.run; print({'torch', 'transformers'} & set(sys.modules))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "set()"

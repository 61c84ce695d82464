"""Judges over HTTP and from a record, and the metrics that ask them."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from hocket._errors import ConfigError, DataError
from hocket.eval.judge import Chat, Judge, LiteralJudge, OpenAiJudge, ReplayJudge
from hocket.eval.metrics import Record
from hocket.eval.metrics.judged_answer import JudgedAnswer, read_verdict
from hocket.eval.metrics.judged_score import JudgedScore
from hocket.eval.metrics.mathvista import MathVista

CHAT: Chat = (("system", "Mark."), ("user", "Question: ?"))


@dataclass
class Served:
    """What a server was asked and what it answers: statuses in turn, then a text."""

    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    text: str = "{'pred': 'yes', 'score': 4}"


@pytest.fixture
def served() -> Iterator[Served]:
    found = Served()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the name http.server wants
            found.keys.append(self.headers.get("Authorization", ""))
            body = self.rfile.read(int(self.headers["Content-Length"]))
            found.asked.append({"path": self.path, **json.loads(body)})
            status = found.statuses.pop(0) if found.statuses else 200
            reply = json.dumps({"choices": [{"message": {"content": found.text}}]}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(reply)))
            self.end_headers()
            self.wfile.write(reply)

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    found.url = f"http://127.0.0.1:{server.server_port}/v1"
    yield found
    server.shutdown()
    thread.join()
    server.server_close()


def record(answer: str, target: str = "red", **fields: Any) -> Record:
    meta = {"question": "What colour?", **fields.pop("meta", {})}
    return Record(id="1", answer=answer, target=target, meta=meta, **fields)


def test_a_busy_server_is_asked_again_and_what_it_says_is_kept(
    served: Served, tmp_path: Path
) -> None:
    served.statuses = [429, 503]
    kept = tmp_path / "said.jsonl"
    judge = OpenAiJudge(url=served.url, model="m", key="secret", record=kept, wait_seconds=0.01)
    assert judge.ask([CHAT]) == [served.text]
    assert len(served.asked) == 3
    assert served.asked[0]["path"] == "/v1/chat/completions"
    assert served.asked[0]["messages"][1] == {"role": "user", "content": "Question: ?"}
    assert served.asked[0]["temperature"] == 0
    assert served.keys[0] == "Bearer secret"
    assert "secret" not in repr(judge)
    other: Chat = (("user", "?"),)
    assert ReplayJudge(kept).ask([other, CHAT]) == [None, served.text]


def test_a_refusal_is_not_repeated_and_leaves_no_score(
    served: Served, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    served.statuses = [401]
    judge = OpenAiJudge(url=served.url, model="m", wait_seconds=0.01)
    metric = JudgedAnswer(judge=judge)
    stats = metric.measure([record("red"), record("blue")])
    assert len(served.asked) == 2
    assert [stat.score for stat in stats] == [None, 1.0]
    assert metric.reduce(stats) == {"judged_answer": 1.0, "judge_score": 4.0, "unscored": 1.0}
    said = capsys.readouterr()
    assert "left unscored" in caplog.text + said.err + said.out


def test_who_fails_three_times_in_a_row_is_asked_no_more_and_nothing_twice(
    served: Served, tmp_path: Path
) -> None:
    chats: list[Chat] = [(("user", str(at)),) for at in range(6)]
    kept = tmp_path / "said.jsonl"
    judge = OpenAiJudge(url=served.url, model="m", record=kept, wait_seconds=0.01)
    served.statuses = [401, 200, 401, 401, 401]
    assert judge.ask(chats) == [None, served.text, None, None, None, None]
    assert len(served.asked) == 5
    # As kill -9 leaves it: half a line.
    with kept.open("a") as file:
        file.write('{"key": ')
    assert judge.ask(chats) == [served.text] * 6
    assert len(served.asked) == 10
    other = OpenAiJudge(url=served.url, model="other", record=kept, wait_seconds=0.01)
    assert other.ask(chats[:1]) == [served.text] and len(served.asked) == 11


def test_other_protocols_and_damaged_records_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected http"):
        OpenAiJudge(url="file:///etc", model="m")
    with pytest.raises(DataError, match="not what a judge recorded"):
        ReplayJudge(tmp_path / "none.jsonl").ask([CHAT])


@pytest.mark.parametrize(
    ("said", "verdict"),
    [
        ("Sure: {'pred': 'no', 'score': 2}.", {"pred": "no", "score": 2}),
        ("yes", {}),
        ("{1: }", {}),
        ("{'a', 'b'}", {}),
        ("{{'pred': 'yes', 'score': 4}}", {}),
    ],
)
def test_verdicts(said: str, verdict: dict[str, object]) -> None:
    assert read_verdict(said) == verdict


@dataclass(frozen=True)
class Says(Judge):
    """Says the same of everything."""

    text: str | None

    def ask(self, chats: Sequence[Chat]) -> list[str | None]:
        return [self.text] * len(chats)


@pytest.mark.parametrize("text", [None, "{'pred': 'perhaps', 'score': 3}", "{'pred': 'yes'}",
                                  "{'pred': 'yes', 'score': 9}"])  # fmt: skip
def test_what_cannot_be_read_is_no_score(text: str | None) -> None:
    (stat,) = JudgedAnswer(judge=Says(text)).measure([record("red")])
    assert (stat.score, stat.valid) == (None, False)


def test_marks_per_criterion_and_pairs() -> None:
    metric = JudgedScore(judge=LiteralJudge())
    records = [
        record("red", group="generic"),
        record("blue", group="temporal"),
        record("red", group="consistency", cluster="v"),
        record("blue", group="consistency", cluster="v"),
    ]
    stats = metric.measure(records)
    assert [stat.score for stat in stats] == [5, 0, 0, None]
    assert set(stats[0].parts) == {"correctness", "detail", "context"}
    found = metric.reduce(stats)
    assert (found["correctness"], found["temporal"], found["consistency"]) == (5, 0, 0)
    assert (found["judged_score"], found["unscored"]) == (3, 0)
    failed = JudgedScore(judge=Says(None))
    assert failed.reduce(failed.measure(records))["unscored"] == 5


def test_a_judge_extracts_what_quick_rules_cannot() -> None:
    meta = {"answer_type": "integer", "question_type": "free_form"}
    metric = MathVista(judge=Says("14"))
    stats = metric.measure([record("fourteen", "14", meta=meta), record("14", "14", meta=meta)])
    assert [stat.score for stat in stats] == [1, 1]
    assert metric.reduce(stats)["extracted_by_rule"] == 0

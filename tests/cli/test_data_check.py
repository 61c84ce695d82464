"""``hocket data check``: exit codes, the quarantine, the repaired copy, Ctrl-C and wrong input."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tests.data.audit.broken import FAULTS, turns, write_broken
from tests.toy import write_rows

from hocket.cli.main import main
from hocket.data.mixture import open_source
from hocket.data.spec import DatasetSpec


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOCKET_CACHE", str(tmp_path / "cache"))


def check(*words: object) -> int:
    with pytest.raises(SystemExit) as caught:
        main(["data", "check", "-j", "1", *map(str, words)])
    return int(str(caught.value.code))


def test_a_clean_set_is_exit_code_0(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert check(write_rows(tmp_path)) == 0
    said = capsys.readouterr().out
    assert "12 rows, 9 media" in said
    assert "Nothing is wrong." in said


def test_json_holds_every_finding(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_broken(tmp_path)
    assert check(file, "--json") == 2
    found = json.loads(capsys.readouterr().out)
    assert (found["rows"], found["counts"]["tags"]) == (16, 3)
    rows: dict[int, set[str]] = {}
    for finding in found["findings"]:
        rows.setdefault(finding["row"], set()).add(finding["kind"])
    assert rows == FAULTS


def test_the_quarantine_leaves_a_usable_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, listed = write_broken(tmp_path), tmp_path / "q.jsonl"
    assert check(file, "--quarantine", listed) == 2
    assert "data.quarantine=" in capsys.readouterr().err
    whole = open_source("any", DatasetSpec(path=str(file)), quarantine=str(listed))
    assert [whole[at].id for at in range(len(whole))] == [
        "row-6", "row-6", "row-8", "row-9", "row-10", "row-11", "c2",
    ]  # fmt: skip


def test_a_config_names_its_data_sets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_broken(tmp_path)
    config = tmp_path / "my.yaml"
    config.write_text("datasets: {mine: {path: rows.json}}")
    listed = tmp_path / "q.jsonl"
    assert check(config, "--quarantine", listed) == 2
    assert {json.loads(line)["dataset"] for line in listed.read_text().splitlines()} == {"mine"}
    assert check(f"data={config}", "--headers", "--allow", "tags", "--json") == 2
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert "tags" not in found["counts"]


def test_fix_says_each_change(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = write_broken(tmp_path)
    before = file.read_bytes()
    assert check(file, "--fix", tmp_path / "mended.json") == 2
    said = capsys.readouterr().out
    assert "row 1 (id row-1): removed 1 <audio> too many" in said
    assert "row 4: dropped the row" in said
    assert file.read_bytes() == before
    assert check(tmp_path / "mended.json", "--allow", "same-medium") == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["{file}", "--fix", "{file}"], "is the data file itself"),
        (["{file}", "--max-tokens", "9"], "--max-tokens counts tokens of a model"),
        (["{file}", "--allow", "nothing"], "'nothing' is not one of"),
        (["{file}", "--model", "none"], "none"),
        (["none.json"], "none.json"),
        (["{file}", "--reader", "lava"], "Did you mean 'llava'"),
    ],
)
def test_wrong_input_is_one_message(
    tmp_path: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = write_rows(tmp_path, count=2)
    assert check(*(word.format(file=file) for word in words)) == 2
    said = capsys.readouterr().err
    assert message in " ".join(said.split())
    assert "Traceback" not in said


def test_ctrl_c_is_safe_and_the_next_run_goes_on(tmp_path: Path) -> None:
    write_rows(tmp_path, count=1)
    rows = [
        {"id": str(at), "image": "0.png", "conversations": turns(f"<image>{at}?", "Yes.")}
        for at in range(60_000)
    ]
    file = tmp_path / "rows.json"
    file.write_text(json.dumps(rows))
    command = [sys.executable, "-m", "hocket", "data", "check", str(file), "-j", "2"]
    first = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    folder = tmp_path / "cache" / "check"
    deadline = time.monotonic() + 60
    while not list(folder.glob("*.jsonl")) and time.monotonic() < deadline:
        time.sleep(0.05)
    first.send_signal(signal.SIGINT)
    _, said = first.communicate(timeout=30)
    assert first.returncode == 130
    assert "Run the same command to go on" in said
    assert "Traceback" not in said
    (journal,) = folder.glob("*.jsonl")
    assert journal.read_text().count("\n") > 0

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.toy import toy, write_rows

from hocket.chat.readers import readers
from hocket.data.budget import Budget
from hocket.data.census.count import Census, take_census
from hocket.data.census.forecast import forecast
from hocket.data.census.measure import Trouble
from hocket.data.census.scripts import main_script
from hocket.data.census.summary import spread, summarise, tokens_of
from hocket.data.census.worst import pick_typical, pick_worst
from hocket.data.joined import JoinedRows
from hocket.data.sources import sources

BUDGET = Budget(tokens=120)


def open_joined(file: Path) -> JoinedRows:
    return JoinedRows({file.name: sources.get("json")(file, reader=readers.get("llava"))})


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> JoinedRows:
    return open_joined(write_rows(tmp_path_factory.mktemp("rows"), count=24))


@pytest.fixture(scope="module")
def census(rows: JoinedRows) -> Census:
    return take_census(rows, toy().processor)


def test_figures_are_those_of_the_processor(rows: JoinedRows, census: Census) -> None:
    outlines = [toy().processor.measure(rows[index]) for index in range(len(rows))]
    assert census.rows["number"].tolist() == list(range(24))
    assert census.rows["tokens"].tolist() == [one.cost.tokens for one in outlines]
    assert census.rows["learned"].tolist() == [one.cost.targets for one in outlines]
    assert census.rows["placeholders"].tolist() == [
        sum(span.rows for span in one.spans) for one in outlines
    ]
    assert census.total == 24
    assert not census.faults
    assert census.roles == {"user": 24, "assistant": 24}
    summary = summarise(census, BUDGET)
    assert summary.media == {"image": 6, "audio": 6, "video": 6}
    assert summary.figures["image pixels"].most == 600
    assert summary.figures["video frames"].total == 30
    assert summary.figures["audio seconds"].least >= 0.2


def test_how_rows_are_cut_into_chunks_makes_no_difference(
    rows: JoinedRows, census: Census, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("hocket.data.census.count.CHUNK_ROWS", 5)
    done: list[int] = []
    again = take_census(rows, toy().processor, advance=done.append)
    assert sum(done) == 24
    assert len(done) == 5
    assert (again.rows == census.rows).all()
    assert (again.media == census.media).all()


def test_faults_are_told_apart(tmp_path: Path) -> None:
    file = write_rows(tmp_path, count=4)
    found = json.loads(file.read_text("utf-8"))
    found += [
        dict(found[0], id="gone", image="gone.png"),
        dict(found[0], id="bad", image="bad.png"),
    ]
    found += [{"id": "turns", "conversations": [{"from": "gpt", "value": "Hi."}]}]
    (tmp_path / "bad.png").write_bytes(b"no picture")
    file.write_text(json.dumps(found), encoding="utf-8")
    census = take_census(open_joined(file), toy().processor)
    assert {fault.number: fault.trouble for fault in census.faults} == {
        4: Trouble.MISSING,
        5: Trouble.MEDIUM,
        6: Trouble.ROW,
    }
    assert census.faults[1].place == ("rows.json", 5)
    assert "bad.png" in census.faults[1].reason
    assert census.rows["number"].tolist() == [0, 1, 2, 3]
    assert pick_typical(census, count=9) == [0, 1, 2, 3]


def test_the_forecast_is_what_the_packer_does(census: Census) -> None:
    found = forecast(census.rows, BUDGET)
    tokens = census.rows["tokens"]
    fitting = tokens[tokens <= BUDGET.tokens]
    assert (found.samples, found.over) == (len(fitting), len(tokens) - len(fitting))
    assert 0.8 < found.fill <= 1
    assert found.rows * BUDGET.tokens * found.fill == pytest.approx(fitting.sum(), rel=0.2)
    nothing = forecast(census.rows, Budget(tokens=1))
    assert (nothing.samples, nothing.rows) == (0, 0)


def test_the_worst_rows_are_at_the_ends(census: Census) -> None:
    picks = pick_worst(census, each=1)
    assert picks[0].number == census.rows["number"][census.rows["tokens"].argmax()]
    assert picks[0].why.startswith(f"{census.rows['tokens'].max():,} tokens")
    assert not any("turns" in pick.why for pick in picks)  # all rows have two
    assert len({pick.number for pick in picks}) == len(picks)


def test_typical_rows_show_every_kind_of_medium(census: Census) -> None:
    chosen = pick_typical(census, count=4)
    kinds = {
        tuple(census.media["kind"][census.media["number"] == number].tolist()) for number in chosen
    }
    assert kinds == {(), (0,), (1,), (2,)}


def test_tokens_of_each_data_set(census: Census) -> None:
    found = tokens_of(census.rows, {"a": 10, "b": 14})
    assert [numbers[:2] for numbers in found.values()] == [(10, 10), (14, 14)]
    assert found["a"][2] == census.rows["tokens"][:10].sum()


def test_a_data_set_without_a_usable_row_has_no_figures(census: Census) -> None:
    empty = replace(census, rows=census.rows[:0], media=census.media[:0])
    summary = summarise(empty, BUDGET)
    assert summary.figures == {}
    assert summary.forecast.rows == 0
    assert pick_worst(empty) == []


def test_spreads() -> None:
    assert spread(np.array([])) is None
    found = spread(np.arange(1, 101))
    assert found is not None
    assert (found.least, found.most, found.total) == (1, 100, 5050)
    assert found.percentiles["p50"] in (50, 51)


@pytest.mark.parametrize(
    ("text", "script"),
    [
        ("What is this?", "Latin"),
        ("12 + 3", "none"),
        ("", "none"),
        ("Stra\u00dfe", "Latin"),
        ("\u4f60\u597d ok", "Han"),
        ("\u65e5\u672c\u306e\u90fd", "Kana"),
        ("\u043f\u0440\u0438\u0432\u0435\u0442", "Cyrillic"),
        ("\ud55c\uae00", "Hangul"),
        ("\u0645\u0631\u062d\u0628\u0627", "Arabic"),
    ],
)
def test_scripts(text: str, script: str) -> None:
    assert main_script(text) == script

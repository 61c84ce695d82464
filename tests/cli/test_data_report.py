"""``hocket data report``: one page, nothing loaded, everything escaped, on good and broken data."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from tests.toy import write_rows

from hocket.cli._show.histogram import draw_histogram, short
from hocket.cli.main import main


class Page(HTMLParser):
    """Tags, classes and addresses of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.sources: list[str] = []
        self.events: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]
        self.events += [name for name, _ in attrs if name.startswith("on")]


def report(*words: object) -> int:
    with pytest.raises(SystemExit) as left:
        main(["data", "report", *map(str, words)])
    assert isinstance(left.value.code, int)
    return left.value.code


@pytest.fixture
def broken(tmp_path: Path) -> Path:
    file = write_rows(tmp_path, count=8)
    rows = json.loads(file.read_text("utf-8"))
    whole = (tmp_path / "0.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    evil = "<script>alert(1)</script><img src=x onerror=alert(1)> \x1b[31m"
    turns = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": evil}]
    rows += [
        {"id": "cut", "image": "cut.png", "conversations": turns},
        {"id": "gone", "image": "gone.png", "conversations": turns},
        {
            "id": "<b>long</b>",
            "conversations": [turns[0] | {"value": "a"}, turns[1] | {"value": "x y " * 900}],
        },
        {"id": "evil", "image": "0.png", "conversations": turns},
        {"id": "evil", "image": "0.png", "conversations": turns},
        7,
    ]
    file.write_text(json.dumps(rows), encoding="utf-8")
    return file


def test_a_report_of_broken_data(
    broken: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "new" / "report.html"
    assert report(broken, "--out", out, "--tokens-per-row", 1000, "-j", 1) == 0
    assert capsys.readouterr().out == f"{out}\n"
    text = out.read_text("utf-8")
    page = Page(text)
    assert not page.tags & {"script", "link", "iframe", "object"}
    assert not page.events
    assert all(source.startswith("data:") for source in page.sources)
    assert any(source.startswith("data:audio/flac") for source in page.sources)
    assert "default-src 'none'" in text
    assert "&lt;script&gt;alert(1)" in text
    assert "\x1b" not in text
    assert "&lt;b&gt;long" in text
    for kind in ("row", "missing", "medium", "same-row", "same-id"):
        assert f'<span class="kind">{kind}</span>' in text
    assert "cut.png" in text
    assert re.search(r"<b>\d+</b> rows do not fit", text)
    assert "more]" in text  # the long row is shown from both ends
    assert 'class="t learned' in text


def test_a_report_of_good_data(tmp_path: Path) -> None:
    file = write_rows(tmp_path, count=4)
    out = tmp_path / "report.html"
    assert report(file, "--out", out, "--headers", "--rows", 2, "-j", 1) == 0
    text = out.read_text("utf-8")
    assert "Nothing is wrong." in text
    assert "Every row fits" in text
    some = text[text.index("<h2>Some rows</h2>") :]
    assert some.count("<details") == 2


def test_a_report_where_no_row_can_be_used(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    turns = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "None."}]
    file.write_text(json.dumps([{"id": "a", "image": 7, "conversations": turns}] * 2))
    out = tmp_path / "report.html"
    assert report(file, "--out", out, "-j", 1) == 0
    assert "No row can be measured" in out.read_text("utf-8")


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["nope.json"], "no data file nope.json"),
        (["rows.json", "--out", "."], "--out: . is a folder"),
        (["rows.json", "--out", "/dev/null/a.html"], "/dev/null is a file"),
    ],
)
def test_wrong_words(
    words: list[str],
    part: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    write_rows(tmp_path, count=2)
    assert report(*words) == 2
    assert part in capsys.readouterr().err


@pytest.mark.parametrize(
    "values",
    [
        np.array([5]),
        np.array([3, 3, 3]),
        np.array([0, 1, 2]),
        np.array([0.0, 0.25]),
        np.array([1, 10, 100_000]),
        np.array([0, 1_000_000]),
        np.array([0.001, 50.0]),
        np.arange(1000),
    ],
)
def test_every_value_is_in_a_bar(values: np.ndarray) -> None:
    drawn = draw_histogram(values, label="<things>", limit=float(values.max()))
    counts = [int(one.replace(",", "")) for one in re.findall(r": ([\d,]+)</title>", drawn)]
    assert sum(counts) == len(values)
    places = [float(x) for x in re.findall(r'<rect class="bar" x="([-\d.]+)"', drawn)]
    assert min(places) >= 0
    assert max(places) <= 340
    assert "nan" not in drawn
    assert "&lt;things&gt;" in drawn


def test_short_numbers() -> None:
    assert [short(value) for value in (0.25, 7, 1500, 2_000_000)] == ["0.25", "7", "1.5k", "2M"]

from __future__ import annotations

import re

import pytest

from hocket.report.charts import Band, Frame, Line, interval_bar, line_chart, short

FRAME = Frame(label="loss over steps")


def curve(*ys: float, name: str = "loss") -> Line:
    return Line(name=name, xs=range(len(ys)), ys=ys)


def places(drawing: str, kind: str = "smooth") -> list[list[tuple[float, float]]]:
    found = re.findall(rf'class="{kind}" points="([^"]*)"', drawing)
    return [[tuple(map(float, one.split(","))) for one in text.split()] for text in found]  # type: ignore[misc] # two numbers each


def test_a_curve_lies_inside_and_higher_values_are_higher() -> None:
    (points,) = places(line_chart([curve(1.0, 3.0, 2.0)], frame=FRAME))
    assert [x for x, _ in points] == sorted(x for x, _ in points)
    ys = [y for _, y in points]
    assert ys[1] < ys[2] < ys[0]
    assert all(0 <= x <= FRAME.width and 0 <= y <= FRAME.height for x, y in points)


def test_nothing_is_drawn_of_nothing() -> None:
    assert line_chart([], frame=FRAME) == ""
    assert line_chart([curve()], frame=FRAME) == ""
    assert line_chart([curve(0.0, -1.0)], frame=Frame(label="x", log=True)) == ""


@pytest.mark.parametrize("log", [True, False])
@pytest.mark.parametrize("ys", [(2.0,), (2.0, 2.0, 2.0), (1e-9, 1e9), (5e-324, 1.0)])
def test_any_finite_numbers_can_be_drawn(ys: tuple[float, ...], log: bool) -> None:
    drawing = line_chart([curve(*ys)], frame=Frame(label="x", log=log, smoothing=3))
    assert "nan" not in drawing and "inf" not in drawing
    assert 1 <= drawing.count('class="grid"') <= 9


def test_a_line_keeps_its_colour_when_another_is_empty() -> None:
    drawing = line_chart([curve(name="empty"), curve(1, 2, name="second")], frame=FRAME)
    assert 'class="c1"' in drawing and 'class="c0"' not in drawing


def test_a_mean_does_not_reach_over_the_end_of_a_stage() -> None:
    ys = (1.0,) * 20 + (9.0,) * 20
    bands = [Band("one", 0, 20), Band("two", 20, 40)]
    frame = Frame(label="x", smoothing=15)
    (means,) = places(line_chart([curve(*ys)], bands, frame=frame))
    (raw,) = places(line_chart([curve(*ys)], bands, frame=frame), "raw")
    assert means == raw
    (blurred,) = places(line_chart([curve(*ys)], frame=frame))
    assert blurred != raw


def test_a_short_curve_is_smoothed_over_fewer_points() -> None:
    drawing = line_chart([curve(5.0, 4.0, 3.0, 2.0)], frame=Frame(label="x", smoothing=15))
    assert places(drawing)[0][0] == places(drawing, "raw")[0][0]


def test_names_are_text_and_do_not_run_into_each_other() -> None:
    bands = [Band("<a>", 0, 50), Band("a long name", 50, 52), Band("last", 52, 100)]
    drawing = line_chart([curve(*range(100), name="<b>")], bands, frame=FRAME)
    assert "<a>" not in drawing and "&lt;a&gt;" in drawing and "<title>&lt;b&gt;" in drawing
    assert "a long name" not in drawing and "last" in drawing


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0, "0"),
        (12_345, "12.3k"),
        (1.5e6, "1.5M"),
        (2e-5, "2e-5"),
        (0.03, "0.03"),
        (3e12, "3e+03G"),
    ],
)
def test_short_numbers(value: float, text: str) -> None:
    assert short(value) == text


def test_the_bar_says_its_interval() -> None:
    assert "90.0%, interval 59.6% to 98.2%" in interval_bar(0.9, 0.596, 0.982)

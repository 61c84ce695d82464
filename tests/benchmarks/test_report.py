"""docs/performance.md is what the results say, and every script has its place in it."""

from __future__ import annotations

import json
from pathlib import Path

from benchmarks import report

ROOT = Path(__file__).parents[2]


def written(results: Path, page: Path) -> str:
    report.write(results, page)
    return page.read_text("ascii")


def test_the_page_is_what_the_results_say(tmp_path: Path) -> None:
    found = written(ROOT / "benchmarks" / "results", tmp_path / "page.md")
    kept = (ROOT / "docs" / "performance.md").read_text("ascii")
    assert kept == found, "run python benchmarks/report.py"


def test_every_script_and_every_result_has_a_section(tmp_path: Path) -> None:
    scripts = {file.stem for file in (ROOT / "benchmarks").glob("*.py")}
    shown = {name for _, name, _ in report.SECTIONS}
    # `scale` measures nothing and writes a page of its own.
    assert scripts == shown | {"report", "scale"}
    assert {file.stem for file in (ROOT / "benchmarks" / "results").glob("*.json")} <= shown
    bare = written(tmp_path, tmp_path / "page.md")
    assert bare.count("Not measured here yet.") == len(shown) - 1
    assert "No GPU has been there yet" in bare


def test_what_a_gpu_found_is_shown(tmp_path: Path) -> None:
    step = {"step_s": 0.5, "tokens_per_s": 32_000.0, "peak_mb": 61_000.0}
    line = {"utilisation": 0.512, "over_trainer": 2.5, "loss_from_mask": 1e-4}
    document = {
        "date": "2026-01-02",
        "device": "a device",
        "torch": "2",
        "size": "1b",
        "seconds": 400.0,
        "parts": {"varlen": step, "flex": {"failed": "why"}, "trainer": step},
        "summary": {"varlen": line, "trainer": {"utilisation": 0.9}},
    }
    (tmp_path / "gpu.json").write_text(json.dumps(document))
    page = written(tmp_path, tmp_path / "page.md")
    assert "| varlen | 32,000 | 0.512 | 2.5 | 0.0001 | 61.0 |" in page
    assert '| flex | {"failed": "why"} |' in page
    assert "2026-01-02, a device" in page
    assert "| GPU: share of the matrix rate | >= 50% | 51.20% | yes |" in page


def test_what_a_technique_is_worth_is_shown(tmp_path: Path) -> None:
    one = {
        "name": "packing",
        "verdict": "kept: why",
        "tests": "tests/a.py",
        "note": "38%",
        "cpu_ratio": 1.5,
        "wall_ratio": 1.4,
        "difference": 1e-8,
    }
    absent = {"name": "threads", "verdict": "kept: not measured here", "tests": ""}
    document = {
        "date": "2026-01-02",
        "size": "tiny",
        "parameters": 1e6,
        "samples": 4,
        "threads": 1,
        "load": 1.0,
        "rounds": 2,
        "techniques": [one, absent],
    }
    (tmp_path / "means.json").write_text(json.dumps(document))
    page = written(tmp_path, tmp_path / "page.md")
    assert "| packing | 1.50 | 1.40 | 1e-08 | kept: why; 38% | `tests/a.py` |" in page
    assert "| threads |  |  |  | kept: not measured here |  |" in page

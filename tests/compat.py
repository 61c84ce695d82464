"""Writes ``docs/compat.md``: what the tests measure between Hocket and the original systems.

    python -m tests.compat

Runs the tests of importers and exports, which compare with recordings of the originals, and notes
the largest difference that each stage showed.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "compat.md"
BUILD = "build"
STAGES = ("preprocess", "features", "logits", "greedy", "export", "re-import")
# The system of a test, by the name of its file; the first that fits counts.
SYSTEMS = {
    "test_llava.py": "LLaVA 1.5 and 1.6",
    "test_vila.py": "VILA 1.5, NaVILA",
    "test_vila2.py": "VILA 2, NVILA",
    "test_vita": "VITA 1.5",
    "test_mixtral.py::test_logits_and_answers_are_the_same[llava": "LLaVA 1.5 and 1.6",
    "test_mixtral.py::test_logits_and_answers_are_the_same[vila": "VILA 1.5, NaVILA",
    "test_ovis2": "Ovis 2",
    "test_native_ovis2": "Ovis 2",
    "test_ovis.py": "Ovis 2.5",
    "test_hydra": "Hydra fork of LLaVA",
    "test_native": "transformers' own",
    "[llava15_7b": "LLaVA 1.5 and 1.6",
    "[llava16_7b": "LLaVA 1.5 and 1.6",
    "[vila15_8b": "VILA 1.5, NaVILA",
    "[navila_8b": "VILA 1.5, NaVILA",
    "[nvila_lite_8b": "VILA 2, NVILA",
    "[vita15_7b": "VITA 1.5",
    "[ovis2_8b": "Ovis 2",
    "[ovis25_9b": "Ovis 2.5",
    "[hydra_video": "Hydra fork of LLaVA",
    "test_original[navila": "VILA 1.5, NaVILA",
    "test_original[vita15": "VITA 1.5",
    "test_original[ovis25": "Ovis 2.5",
    "test_original[vila2": "VILA 2, NVILA",
    "test_original[llava15": "LLaVA 1.5 and 1.6",
}
HEAD = """\
# What was compared with the original systems

Written by `python -m tests.compat`; the tests that it runs are part of `make test`. Build is the
packaged model of a system: the parameters of the largest, in billions, which are the published ones
to 0.02, with the original's rows of a picture. Each other cell is the largest difference of float32
numbers that a recording of the original showed, rounded up to the next power of ten; 0 means equal
to the last bit, `-` that no recording reaches it. Greedy answers count as equal up to the first
step at which two tokens are closer than 0.001. Export is `--to original`: the same files, names,
shapes and bits; re-import compares logits before and after.

Ovis 2 has no recording: the reference is transformers' class, in the original's form without the
last norm of its tower.

Of VILA 2 these are refused by name, and its other options are read: texts around pictures other
than around frames, since a model has one layout for both; frames that are averaged where pictures
have several scales; PS3. Its training shows a video that may have several tiles as pictures, its
answers show it as a video: Hocket does the second in both. Frames of Ovis 2 are those of its model
card: up to 12, a tile and a line each.

"""


def system_of(test: str) -> str:
    """Return the system that a test is about, or an empty text."""
    plain = test.replace(".py::test_nothing_changes_on_the_way_there_and_back", "")
    return next((name for part, name in SYSTEMS.items() if part in plain), "")


def measure() -> dict[str, dict[str, float]]:
    """Run the tests and return system -> stage -> largest difference."""
    with tempfile.TemporaryDirectory() as room:
        log = Path(room) / "measured.jsonl"
        tests = ["tests/checkpoint/import_", "tests/checkpoint/export/test_original.py"]
        tests.append("tests/model/test_presets.py")
        subprocess.run(
            [sys.executable, "-m", "pytest", "-q", *tests],
            check=True,
            cwd=ROOT,
            env=os.environ | {"HOCKET_COMPAT_LOG": str(log)},
        )
        found: dict[str, dict[str, float]] = defaultdict(dict)
        for line in map(json.loads, log.read_text("utf-8").splitlines()):
            stages = found[system_of(line["test"])]
            stages[line["stage"]] = max(line["measured"], stages.get(line["stage"], 0.0))
    found.pop("", None)
    return dict(found)


def table(found: dict[str, dict[str, float]]) -> str:
    """Return the page."""
    lines = ["| system | build | import | " + " | ".join(STAGES) + " |"]
    lines.append("|---" * (len(STAGES) + 3) + "|")
    for system in dict.fromkeys(SYSTEMS.values()):
        if system in found:
            cells = " | ".join(_cell(found[system].get(stage)) for stage in STAGES)
            billions = found[system].get(BUILD)
            built = "-" if billions is None else f"{billions:.2f} B"
            lines.append(f"| {system} | {built} | whole | {cells} |")
    return HEAD + "\n".join(lines) + "\n"


def _cell(measured: float | None) -> str:
    if measured is None:
        return "-"
    return "0" if measured == 0 else f"1e{math.ceil(math.log10(measured))}"


if __name__ == "__main__":
    PAGE.write_text(table(measure()), encoding="utf-8")

"""Every command and every line of Python in the README runs as it stands there."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from tests.e2e.conftest import Command

ROOT = Path(__file__).parents[2]
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_SHORT = [
    "model.language.config.num_hidden_layers=1",
    "train.save_every=0",
    *(
        f"train.stages.{stage}.{word}"
        for stage in ("vision", "audio", "joint")
        for word in ("steps=1", "warmup_steps=0")
    ),
]


def _blocks(language: str) -> list[str]:
    text = (ROOT / "README.md").read_text("utf-8")
    return [body for kind, body in _FENCE.findall(text) if kind == language]


def _lines() -> list[str]:
    return "\n".join(_blocks("bash")).replace("\\\n", " ").splitlines()


def _obey(hocket: Command, line: str) -> None:
    """Run one line of the README; training is cut to two steps."""
    words = shlex.split(line, comments=True)
    if words[:1] == ["echo"]:
        text, target = line.removeprefix("echo ").split(" > ")
        Path(target.strip()).write_text(shlex.split(text)[0])
    if words[:1] != ["hocket"] or words[1] == "quickstart":
        return
    if words[1] == "train":
        words += ["train.stages.tune.steps=2", "train.stages.tune.warmup_steps=0"]
    if words[1] == "chat":
        words.insert(3, "What is this?")  # else it waits for somebody to type
    done = hocket(*words[1:])
    assert done.code == 0, f"{line}\n{done.err}"


@pytest.mark.slow
def test_readme(hocket: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("sklearn")
    pytest.importorskip("espeakng_loader")
    monkeypatch.chdir(tmp_path)
    done = hocket("quickstart", "--fast", *_SHORT)
    assert done.code == 0, done.err
    data = tmp_path / "hocket-quickstart" / "data"
    for name, pattern in (("a.png", "*.png"), ("cat.png", "*.png"), ("v.mp4", "*.mp4")):
        shutil.copy(sorted(data.rglob(pattern))[0], name)
    shutil.copy(sorted((data / "audio").iterdir())[0], "seven.wav")
    (rows,) = _blocks("json")
    Path("mine.json").write_text(rows)
    for line in _lines():
        _obey(hocket, line)
    for block in _blocks("python"):
        exec(compile(block, "README.md", "exec"), {"__name__": "readme"})


def test_readme_is_short_enough_to_be_read() -> None:
    assert len((ROOT / "README.md").read_text("utf-8").split()) <= 900

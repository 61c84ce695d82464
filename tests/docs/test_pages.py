"""The documentation is true: its links lead somewhere, its Python runs, its commands exist."""

from __future__ import annotations

import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import typer
from typer.core import TyperGroup
from typer.main import get_command

import hocket.parts.connector
from hocket.cli._flags import FLAGS, NO_MEANING, STAGED
from hocket.cli._verbs import add_verb, list_verbs
from hocket.parts.connector import build_connector, connectors
from hocket.parts.features import Features
from hocket.tokens.span import Plan

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
_FENCE = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\]\(([^)#\s]+)[^)]*\)")
_INLINE = re.compile(r"`(hocket [^`]+)`")


def _name(page: Path) -> str:
    return str(page.relative_to(ROOT))


def _blocks(page: Path, language: str) -> list[str]:
    return [body for kind, body in _FENCE.findall(page.read_text("utf-8")) if kind == language]


def _commands(page: Path) -> list[str]:
    """Every ``hocket ...`` of a page that is meant to be typed as it stands."""
    lines = "\n".join(_blocks(page, "bash")).replace("\\\n", " ").splitlines()
    prose = [" ".join(text.split()) for text in _INLINE.findall(page.read_text("utf-8"))]
    return [line for line in [*lines, *prose] if line.startswith("hocket ")]


def _app(words: list[str]) -> typer.Typer:
    """Return the app as it is when it is given some words."""
    app = typer.Typer()
    app.callback()(lambda: None)
    for verb in list_verbs():
        add_verb(app, words if words[:1] == [verb] else [verb])
    return app


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_to_files(page: Path) -> None:
    links = [link for link in _LINK.findall(page.read_text("utf-8")) if "://" not in link]
    missing = [link for link in links if not (page.parent / link).exists()]
    assert missing == []


@pytest.mark.parametrize("page", [one for one in PAGES if _commands(one)], ids=_name)
def test_commands_and_their_options_exist(page: Path) -> None:
    for line in _commands(page):
        words = shlex.split(line, comments=True)[1:]
        words = words[: words.index("--")] if "--" in words else words
        command = get_command(_app(words))
        while isinstance(command, TyperGroup) and words and not words[0].startswith("-"):
            if command.name == "eval" and words[0] not in command.commands:
                words = ["run", *words]  # what `hocket eval CHECKPOINT` stands for
            found = command.commands.get(words[0])
            assert found is not None, f"{line!r}: there is no command {words[0]!r}"
            command, words = found, words[1:]
        known = {option for parameter in command.params for option in parameter.opts}
        if line.startswith("hocket train "):
            known |= {f"--{flag}" for flag in (*FLAGS, *STAGED, *NO_MEANING, "stage_name")}
        used = {word.split("=")[0] for word in words if word.startswith("--")}
        assert used <= known | {"--help", "--version"}, line


@pytest.mark.parametrize(
    "page", [one for one in PAGES if one.parent.name == "docs" and one.stem != "parts"], ids=_name
)
def test_python_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for block in _blocks(page, "python"):
        exec(compile(block, _name(page), "exec"), {"__name__": "page"})


# Folders whose page has the name that people look for.
PAGE_OF = {"nav": "navigation", "serve": "serving"}


def test_every_folder_has_its_page() -> None:
    folders = {
        one.name
        for one in (ROOT / "src" / "hocket").iterdir()
        if one.is_dir() and (one / "__init__.py").exists()
    }
    pages = {page.stem for page in PAGES}
    assert {PAGE_OF.get(name, name) for name in folders} - pages == set()


def test_the_connector_of_the_recipe_is_a_whole_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (file,) = _blocks(ROOT / "docs" / "parts.md", "python")
    (tmp_path / "average.py").write_text(file)
    folder = hocket.parts.connector
    monkeypatch.setattr(folder, "__path__", [*folder.__path__, str(tmp_path)])
    monkeypatch.setattr(connectors, "_items", {})
    monkeypatch.delitem(sys.modules, "hocket.parts.connector.average", raising=False)
    assert "average" in connectors.names()
    made = build_connector({"kind": "average", "bias": False}, in_width=6, out_width=4)
    plan = Plan(units=3, patches=(2, 2), rows=3, grid=(3, 1, 1))
    features = Features(torch.from_numpy(np.ones((3, 4, 6), np.float32)), grid=(2, 2))
    assert made(features).shape == (made.rows(plan), 4)

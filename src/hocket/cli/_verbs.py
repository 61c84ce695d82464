"""The verbs of the command line: one file of this folder each, found by looking.

Listing reads the first docstring line of each file; only the chosen verb is imported. A verb's file
defines `command` (a function with typer parameters), or `app` (a `typer.Typer`) when a noun follows
the verb, as in ``hocket data show``.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable
from pathlib import Path

import typer

FOLDER = Path(__file__).resolve().parent
ORDER = ("quickstart", "train", "eval", "chat", "data", "model", "doctor")


def list_verbs() -> dict[str, str]:
    """Return verb -> its help line, in the order in which a newcomer meets them."""
    names = sorted(
        file.stem
        for file in FOLDER.glob("*.py")
        if not file.stem.startswith("_") and file.stem != "main"
    )
    names.sort(key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))
    return {name: _help(FOLDER / f"{name}.py") for name in names}


def add_verb(app: typer.Typer, verb: str) -> None:
    """Import one verb and add it to the app.

    Raises:
        TypeError: the file defines neither `command` nor `app`.
    """
    members = vars(importlib.import_module(f"hocket.cli.{verb}"))
    found = members.get("app", members.get("command"))
    if isinstance(found, typer.Typer):
        app.add_typer(found, name=verb)
    elif callable(found):
        app.command(verb)(found)
    else:
        raise TypeError(f"hocket/cli/{verb}.py defines neither 'command' nor a typer 'app'")


def add_listing(app: typer.Typer, verb: str, line: str) -> None:
    """Add a verb to the help without importing it."""
    app.command(verb, help=line)(_unreachable(verb))


def _unreachable(verb: str) -> Callable[[], None]:
    def listed() -> None:
        raise RuntimeError(f"the verb {verb!r} was listed but not imported")

    return listed


def _help(file: Path) -> str:
    """Return the first docstring line of a Python file."""
    tree = ast.parse(file.read_bytes())
    lines = (ast.get_docstring(tree) or "").splitlines()
    return lines[0] if lines else ""

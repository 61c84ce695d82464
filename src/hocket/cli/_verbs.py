"""The verbs of the command line: one file of this folder each, found by looking.

Listing reads the first docstring line of each file; only the chosen verb is imported. A verb's file
defines `command` (a function with typer parameters), or `app` (a `typer.Typer`) when more words
follow, as in ``hocket model build``. A folder is a noun with one file for each of its verbs, as in
``hocket data show``.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Callable
from pathlib import Path

import typer

from hocket._errors import UnknownNameError

FOLDER = Path(__file__).resolve().parent
ORDER = (
    "quickstart",
    "plan",
    "train",
    "eval",
    "chat",
    "serve",
    "nav",
    "data",
    "model",
    "launch",
    "doctor",
)


def list_verbs(folder: Path = FOLDER) -> dict[str, str]:
    """Return verb -> its help line, in the order in which a newcomer meets them."""
    files = {file.stem: file for file in folder.glob("*.py")}
    files |= {file.parent.name: file for file in folder.glob("*/__init__.py")}
    names = sorted(name for name in files if not name.startswith("_") and name != "main")
    names.sort(key=lambda name: ORDER.index(name) if name in ORDER else len(ORDER))
    return {name: _help(files[name]) for name in names}


def add_verb(app: typer.Typer, words: list[str]) -> None:
    """Import the verb that the first of some words names, and add it to the app.

    Raises:
        TypeError: the file defines neither `command` nor `app`.
        UnknownNameError: a noun has no such verb.
    """
    verb, *rest = words
    if (FOLDER / verb).is_dir():
        app.add_typer(_noun(verb, rest), name=verb)
        return
    members = vars(importlib.import_module(f"hocket.cli.{verb}"))
    found = members.get("app", members.get("command"))
    if isinstance(found, typer.Typer):
        app.add_typer(found, name=verb)
    elif callable(found):
        app.command(verb, context_settings=members.get("CONTEXT"))(found)
    else:
        raise TypeError(f"hocket/cli/{verb}.py defines neither 'command' nor a typer 'app'")


def _noun(noun: str, rest: list[str]) -> typer.Typer:
    """Return the verbs of a noun; only the one that is called is imported."""
    verbs = list_verbs(FOLDER / noun)
    chosen = next((word for word in rest if not word.startswith("-")), None)
    if chosen is not None and chosen not in verbs:
        raise UnknownNameError("command", f"{noun} {chosen}", [f"{noun} {verb}" for verb in verbs])
    app = typer.Typer(help=_help(FOLDER / noun / "__init__.py"), no_args_is_help=True)
    app.callback()(_nothing)  # without it, typer leaves out the word of a noun's only verb
    for verb, line in verbs.items():
        if verb == chosen:
            app.command(verb)(importlib.import_module(f"hocket.cli.{noun}.{verb}").command)
        else:
            add_listing(app, verb, line)
    return app


def _nothing() -> None:
    pass


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

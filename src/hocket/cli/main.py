"""The command ``hocket``: finds the verb, runs it, and turns errors into one short message.

The only place that catches errors for the user. It must not import torch, transformers or Hydra:
``hocket --help`` is to answer at once.
"""

from __future__ import annotations

import errno
import sys
import traceback
from collections.abc import Sequence
from typing import Annotated, NamedTuple

import typer

from hocket._compat import installed_version
from hocket._errors import HocketError, MachineError, UnknownNameError
from hocket._log import console
from hocket.cli._verbs import add_listing, add_verb, list_verbs

INTERRUPTED = 130
INTERNAL = 1
USAGE = 2
# Verbs whose own --debug does more than show the traceback of an error.
_WITH_OWN_DEBUG = ("train",)

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)


class _Failure(NamedTuple):
    """What to say about an error, and the exit code."""

    message: str
    exit_code: int


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one command and leave the process.

    Args:
        arguments: the words after ``hocket``; None reads them from the process.

    Raises:
        SystemExit: always; 0 is success, 2 an error of the user, 3 of the machine, 130 Ctrl-C and
            1 an error of hocket itself.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    debug = "--debug" in words
    verb = next((word for word in words if not word.startswith("-")), None)
    if verb not in _WITH_OWN_DEBUG:
        words = [word for word in words if word != "--debug"] or ["--help"]
    try:
        sys.exit(_run(words))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BrokenPipeError:
        # The reader of a pipe went away, as `head` does: not an error, and nobody to tell.
        sys.stdout = None  # keeps Python from flushing into the pipe
        sys.exit(0)
    # The one place where every error ends: nothing above it may catch all.
    except Exception as error:
        failure = explain(error)
        if debug:
            traceback.print_exc()
        # A noun without its verb has shown its help instead.
        if failure.message:
            _say(failure.message)
        if failure.message and isinstance(error, typer.TyperException):
            verb = next((word for word in words if not word.startswith("-")), "")
            _say(f"Try: hocket {verb} --help".replace("  ", " "), label="")
        sys.exit(failure.exit_code)


def explain(error: Exception) -> _Failure:
    """Return the message and exit code of an error; at most three lines."""
    if isinstance(error, HocketError):
        lines = str(error).strip().splitlines() or [type(error).__name__]
        return _Failure("\n".join(lines[:3]), error.exit_code)
    if isinstance(error, typer.TyperException):
        return _Failure(error.format_message(), USAGE)
    if isinstance(error, OSError):
        known = _explain_os(error)
        if known:
            return _Failure(known, MachineError.exit_code)
    if isinstance(error, MemoryError) or _is_out_of_memory(error):
        return _Failure(
            "the memory is full. Use fewer rows or shorter ones (train.stages.*.rows, "
            "tokens_per_row), or close other programs.",
            MachineError.exit_code,
        )
    if isinstance(error, ImportError) and not (error.name or "").startswith("hocket"):
        return _Failure(
            f"a library cannot be imported ({_first_line(error)}). Run: hocket doctor",
            MachineError.exit_code,
        )
    return _Failure(
        f"internal error: {type(error).__name__}: {_first_line(error)}\n"
        "This is a fault of hocket. Run again with --debug and report the output.",
        INTERNAL,
    )


def _run(words: list[str]) -> int:
    """Run the verb that the words name; return its exit code."""
    verbs = list_verbs()
    verb = next((word for word in words if not word.startswith("-")), None)
    if verb is not None and verb not in verbs:
        raise UnknownNameError("command", verb, verbs)
    given = words[words.index(verb) :] if verb else []
    result = _build(verbs, given)(args=words, prog_name="hocket", standalone_mode=False)
    return result if isinstance(result, int) else 0


def _build(verbs: dict[str, str], given: list[str]) -> typer.Typer:
    """Return the command line, with the verb that `given` starts with imported."""
    app = typer.Typer(
        name="hocket",
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["--help", "-h"]},
    )
    app.callback()(_hocket)
    for verb, line in verbs.items():
        if given and verb == given[0]:
            add_verb(app, given)
        else:
            add_listing(app, verb, line)
    return app


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hocket {installed_version('hocket') or '(not installed)'}")
        raise typer.Exit


def _hocket(
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Show the version and leave."
        ),
    ] = False,
    debug: Annotated[
        bool, typer.Option("--debug", help="Show the traceback of an error; after any verb too.")
    ] = False,
) -> None:
    """Build, train, evaluate and run language models that see, hear and watch.

    New here? Run: hocket quickstart
    """


def _explain_os(error: OSError) -> str | None:
    """Return a message for errors of the disk and of permissions, None for others."""
    place = f" at {error.filename}" if error.filename else ""
    if error.errno in _DISK_FULL:
        return f"the disk is full{place}. Free some space, or choose another folder with out=..."
    if error.errno in _FORBIDDEN:
        return (
            f"no permission{place} ({_first_line(error.strerror or error)}). "
            "Choose another folder, or change its permissions."
        )
    if error.errno == errno.ENOENT and not error.filename:
        return "the current folder was removed. Change to one that exists: cd ~"
    return None


def _is_out_of_memory(error: Exception) -> bool:
    text = str(error)
    return isinstance(error, RuntimeError) and (
        type(error).__name__ == "OutOfMemoryError" or "DefaultCPUAllocator" in text
    )


def _first_line(error: object) -> str:
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else "no message")[:200]


def _say(message: str, *, label: str = "error: ") -> None:
    from rich.text import Text

    text = Text(label, style="bold red").append(message, style="default")
    console().print(text, soft_wrap=True)

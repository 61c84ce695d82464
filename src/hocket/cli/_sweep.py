"""A sweep: one run for every choice of values, each in a folder and a process of its own.

``train.seed=1,2`` and ``range(1,4)`` stand for several values, as in Hydra. A run that has finished
is left as it is, so the same command goes on with a sweep that was stopped.
"""

from __future__ import annotations

import itertools
import re
import sys
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from rich.table import Table

from hocket._env import for_child
from hocket._errors import ConfigError
from hocket._log import console
from hocket.cli._aliases import split_words, translate
from hocket.cli._compose import compose_run
from hocket.launch.job import STOPPED
from hocket.launch.local import run_here
from hocket.train.log import read_log

_STOPS = (130, STOPPED)
_UNFIT = re.compile(r"[^\w.=+-]+")


class Choice(NamedTuple):
    """A run of a sweep.

    Attributes:
        name: what is special about it; its folder's name.
        overrides: the arguments of its command.
        out: its folder.
        notes: what is said about the flags of the command.
    """

    name: str
    overrides: list[str]
    out: Path
    notes: list[str]


def choices_of(words: Sequence[str]) -> list[Choice]:
    """Return the runs that the arguments of a sweep stand for, all of them checked.

    Flags are the same in every run; each run has them as the config keys that they are there.

    Raises:
        ConfigError: no argument has several values, or a run of the sweep cannot be composed.
    """
    plain, flags = split_words(words)
    values = [_values(word) for word in plain]
    if all(len(each) == 1 for each in values):
        raise ConfigError("a sweep needs an argument with several values, such as train.seed=1,2.")
    found: dict[str, Choice] = {}
    for chosen in itertools.product(*values):
        special = [word for word, each in zip(chosen, values, strict=True) if len(each) > 1]
        name = ",".join(_UNFIT.sub("_", word.lstrip("+")) for word in special)
        given = translate([*chosen, *(f"--{flag}={value}" for flag, value in flags.items())])
        out = Path(compose_run(given.overrides).out) / name
        rest = [word for word in given.overrides if not word.startswith("out=")]
        found[name] = Choice(name, [*rest, f"out={_quoted(out)}"], out, given.notes)
    return list(found.values())


def sweep(words: Sequence[str], *, dry: bool = False, options: Sequence[str] = ()) -> int:
    """Train every run of a sweep, one behind the other, and show a table.

    Args:
        words: ``key=value`` overrides, of which some have several values, and flags.
        dry: only show the table.
        options: options of ``hocket train`` that each run gets.

    Returns:
        0 if all have finished; the code of the first that has not. A run that was stopped stops the
        sweep, a failed one does not.

    Raises:
        ConfigError: as of `choices_of`.
    """
    codes: dict[str, int] = {}
    choices = choices_of(words)
    for note in dict.fromkeys(note for choice in choices for note in choice.notes):
        console().print(f"note: {note}", highlight=False, markup=False, soft_wrap=True)
    if dry:
        console().print(_table(choices, codes))
        return 0
    for number, choice in enumerate(choices, start=1):
        console().print(f"run {number} of {len(choices)}: {choice.name}", highlight=False)
        command = [sys.executable, "-m", "hocket", "train", *choice.overrides, *options]
        codes[choice.name] = run_here(command, for_child({}))
        if codes[choice.name] in _STOPS:
            break
    console().print(_table(choices, codes))
    return next((code for code in codes.values() if code), 0)


def _values(word: str) -> list[str]:
    """Return an argument once for each of its values."""
    if word.startswith("-"):
        return [word]
    # Hydra says so of a sweep whose values it cannot count.
    with suppress(HydraException, NotImplementedError):
        parsed = OverridesParser.create().parse_override(word)
        if not parsed.is_sweep_override():
            return [word]
        key = word.partition("=")[0]
        if parsed.is_choice_sweep() or parsed.is_range_sweep():
            return [f"{key}={value}" for value in parsed.sweep_string_iterator()]
    raise ConfigError(f"the argument {word!r} cannot be swept. Write key=a,b or key=range(1,4).")


def _table(choices: Sequence[Choice], codes: dict[str, int]) -> Table:
    table = Table(box=None, caption=f"folders: {choices[0].out.parent}/RUN", caption_justify="left")
    for head in ("run", "ended", "steps", "last loss"):
        table.add_column(head, overflow="fold")
    for choice in choices:
        code = codes.get(choice.name)
        ended = "not started" if code is None else "finished" if code == 0 else f"code {code}"
        lines = [line for line in read_log(choice.out / "log.jsonl") if "loss" in line]
        last = f"{lines[-1]['loss']:.4f}" if lines else "-"
        table.add_row(choice.name, ended, str(len(lines)), last)
    return table


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("\\", "\\\\").replace("'", "\\'") + "'"

"""The line a person types: editing, history over sessions, and completion, where readline exists.

It must not know models or what the line means.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from hocket._env import cache_dir

try:
    import readline
except ImportError:  # Windows has none: lines are then read without editing
    _EDITABLE = False
else:
    _EDITABLE = True

_MOST_LINES = 1000


@contextmanager
def editing(commands: Sequence[str]) -> Iterator[None]:
    """Read the history, complete commands and paths, and save the history at the end."""
    if not _EDITABLE:
        yield
        return
    file = cache_dir() / "chat_history"
    with suppress(OSError):  # none yet, or unreadable: an empty history is no reason to stop
        readline.read_history_file(file)
    readline.set_history_length(_MOST_LINES)
    readline.set_completer_delims(" \t\n")
    readline.set_completer(_completer(commands))
    libedit = "libedit" in (readline.__doc__ or "")
    readline.parse_and_bind("bind ^I rl_complete" if libedit else "tab: complete")
    try:
        yield
    finally:
        readline.set_completer(None)
        with suppress(OSError):  # no room or no permission: the conversation itself went well
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch(mode=0o600)
            readline.write_history_file(file)


@contextmanager
def stoppable() -> Iterator[Callable[[], bool]]:
    """Turn a first Ctrl-C into a flag and a second one into KeyboardInterrupt.

    Yields:
        Whether Ctrl-C was pressed; ask between two tokens.
    """
    pressed = False

    def on_interrupt(number: int, frame: FrameType | None) -> None:
        nonlocal pressed
        if pressed:
            raise KeyboardInterrupt
        pressed = True

    before = signal.signal(signal.SIGINT, on_interrupt)
    try:
        yield lambda: pressed
    finally:
        signal.signal(signal.SIGINT, before)


def complete(line: str, word: str, commands: Sequence[str]) -> list[str]:
    """Return what a word at the end of a line may become: a command, or a path after one."""
    if line.lstrip() == word:
        return [f"{command} " for command in commands if command.startswith(word)]
    if not line.startswith("/"):
        return []
    folder, _, start = word.rpartition("/")
    shown = f"{folder}/" if "/" in word else ""
    with suppress(OSError):  # a folder that does not exist has no completions
        entries = sorted(Path(shown or ".").expanduser().iterdir())
        return [
            shown + entry.name + ("/" if entry.is_dir() else "")
            for entry in entries
            if entry.name.startswith(start) and (start or not entry.name.startswith("."))
        ]
    return []


def _completer(commands: Sequence[str]) -> Callable[[str, int], str | None]:
    def completer(word: str, state: int) -> str | None:
        line = readline.get_line_buffer()[: readline.get_endidx()]
        found = complete(line, word, commands)
        return found[state] if state < len(found) else None

    return completer

"""Talk to a model in the terminal: text, pictures, sounds and videos in, text out."""

from __future__ import annotations

import io
import sys
from pathlib import Path
from typing import Annotated

import typer
from rich.status import Status

from hocket._errors import ConfigError, HocketError, UnknownNameError
from hocket._log import console
from hocket.cli._dialogue import Dialogue, Reply, checked, split_paths
from hocket.cli._legible import legible
from hocket.cli._prompt import editing, stoppable
from hocket.cli._session import start_session
from hocket.infer.engine import Engine
from hocket.infer.sampling import Sampling
from hocket.tokens.span import Modality

COMMANDS = {
    "/image": "PATH...  attach pictures to the next message",
    "/audio": "PATH...  attach sounds",
    "/video": "PATH...  attach videos",
    "/drop": "         remove what is attached",
    "/clear": "         start a new conversation",
    "/help": "         show this list",
    "/exit": "         leave; Ctrl-D does the same",
}
_ATTACH = {f"/{kind.value}": kind for kind in Modality}
_KEYS = (
    "Ctrl-C stops an answer. A path with spaces goes in quotes. A message that is to start with / "
    "takes a space before it."
)


def command(
    model: Annotated[Path, typer.Argument(metavar="DIR", help="Checkpoint or run folder.")],
    prompt: Annotated[
        str | None, typer.Argument(help="Answer this and leave, instead of a conversation.")
    ] = None,
    image: Annotated[list[Path] | None, typer.Option(help="Picture; may be repeated.")] = None,
    audio: Annotated[list[Path] | None, typer.Option(help="Sound; may be repeated.")] = None,
    video: Annotated[list[Path] | None, typer.Option(help="Video; may be repeated.")] = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="Longest answer in tokens.")] = 256,
    temperature: Annotated[
        float, typer.Option(min=0.0, help="0 takes the likeliest token; higher is more random.")
    ] = 0.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of the randomness.")] = 0,
) -> None:
    """Talk to a model: in a terminal a conversation, from a pipe one answer per line.

    Attach media with /image, /audio and /video followed by a path; /help lists all commands.
    Lines from a pipe are separate questions, each about the media given as options.
    """
    start_session()
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A character that the terminal cannot show is no reason to stop.
        sys.stdout.reconfigure(errors="backslashreplace")
    talking = prompt is None and sys.stdin.isatty() and sys.stdout.isatty()
    if prompt is not None and not prompt.strip():
        raise ConfigError("the prompt is empty. Write a question, or leave it out to talk.")
    sampling = Sampling(max_new_tokens=max_new_tokens, temperature=temperature, seed=seed)
    with Status(f"opening {model}", console=console()):
        dialogue = Dialogue(Engine.load(model), sampling)
    groups = {Modality.IMAGE: image, Modality.AUDIO: audio, Modality.VIDEO: video}
    attached = [
        dialogue.attach(kind, path) for kind, paths in groups.items() for path in paths or []
    ]
    if talking:
        _greet(dialogue, model, attached)
        _talk(dialogue)
    elif prompt is not None:
        _answer_once(dialogue, prompt)
    else:
        _answer_lines(dialogue)


def _answer_once(dialogue: Dialogue, text: str) -> None:
    show = _show if sys.stdout.isatty() else _write
    dialogue.answer(text, show=show)
    typer.echo()


def _answer_lines(dialogue: Dialogue) -> None:
    """Answer each line of standard input by itself."""
    media = list(dialogue.attached)
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(errors="surrogateescape")  # so that checked() may name the fault
    for line in sys.stdin:
        if text := checked(line).strip():
            dialogue.clear()
            dialogue.attached += media
            _answer_once(dialogue, text)


def _greet(dialogue: Dialogue, model: Path, attached: list[str]) -> None:
    processor = dialogue.engine.processor
    kinds = ["text"]
    kinds += ["pictures"] if processor.images else []
    kinds += ["sounds"] if processor.sounds else []
    kinds += ["videos"] if processor.images and processor.sampler else []
    size = sum(weight.numel() for weight in dialogue.engine.model.parameters()) / 1e6
    _note(f"{model}: {size:.1f} M parameters, takes {', '.join(kinds)}.")
    _note("Type a question, or /help. Ctrl-D leaves.")
    for one in attached:
        _note(f"attached {one}")


def _talk(dialogue: Dialogue) -> None:
    """Read lines until the user leaves."""
    pressed = False
    with editing(list(COMMANDS)):
        while True:
            try:
                line = input(_prompt(dialogue))
                pressed = False
                if not _obey(dialogue, line):
                    return
            except EOFError:
                typer.echo()
                return
            except KeyboardInterrupt:
                typer.echo()
                if pressed:
                    return
                pressed = True
                _note("Ctrl-C once more, Ctrl-D or /exit leaves.")
            except HocketError as error:
                _complain(error)


def _prompt(dialogue: Dialogue) -> str:
    count = len(dialogue.attached)
    return f"[{count} attached] > " if count else "> "


def _obey(dialogue: Dialogue, line: str) -> bool:
    """Do what a line says; return whether the conversation goes on.

    Raises:
        HocketError: no such command, or a file or message that does not work.
    """
    if not line.startswith("/"):
        if line.strip():
            _say(dialogue, line.strip())
        return True
    name, _, argument = line.strip().partition(" ")
    if name not in COMMANDS:
        raise UnknownNameError("command", legible(name), COMMANDS)
    if name in _ATTACH:
        _attach(dialogue, _ATTACH[name], argument.strip())
    elif name == "/drop":
        _note(f"removed {dialogue.drop()} attached")
    elif name == "/clear":
        dialogue.clear()
        _note("a new conversation; nothing is attached")
    elif name == "/help":
        for known, meaning in COMMANDS.items():
            _note(f"{known:7}{meaning}")
        _note(_KEYS)
    return name != "/exit"


def _attach(dialogue: Dialogue, kind: Modality, argument: str) -> None:
    if not argument:
        raise ConfigError(f"/{kind.value} needs a path: /{kind.value} PATH.")
    for path in split_paths(argument):
        try:
            _note(f"attached {dialogue.attach(kind, path)}")
        except HocketError as error:
            _complain(error)


def _say(dialogue: Dialogue, text: str) -> None:
    """Send a message and show the answer as it comes; Ctrl-C ends only the answer.

    Raises:
        HocketError: the message could not be sent; its media are dropped.
    """
    try:
        with stoppable() as stop:
            reply = dialogue.answer(text, show=_show, stop=stop)
    except HocketError:
        if count := dialogue.drop():
            _note(f"the message was not sent; removed {count} attached")
        raise
    typer.echo()
    _note(_summary(reply, dialogue.sampling.max_new_tokens))


def _summary(reply: Reply, limit: int) -> str:
    rate = reply.tokens / max(reply.seconds, 1e-9)
    words = f"{reply.tokens} tokens in {reply.seconds:.1f} s, {rate:.1f} tokens/s"
    if reply.stopped:
        kept = "" if reply.text else "; the message is forgotten"
        return f"stopped{kept}. {words}"
    return f"{words}, at the limit of --max-new-tokens" if reply.tokens == limit else words


def _show(piece: str) -> None:
    typer.echo(legible(piece, keep_lines=True), nl=False)


def _write(piece: str) -> None:
    typer.echo(piece, nl=False)


def _note(text: str) -> None:
    console().print(legible(text), style="dim", markup=False, highlight=False, soft_wrap=True)


def _complain(error: HocketError) -> None:
    """Print one line."""
    message = " ".join(str(error).split())
    console().print(f"error: {legible(message)}", style="red", markup=False, soft_wrap=True)

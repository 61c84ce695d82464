"""A conversation with a model: what was said, what is attached, and the next answer.

It knows the engine; it must not know terminals or how a person types.
"""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from hocket._errors import DataError
from hocket.chat.conversation import Conversation, Medium, Message, Part, Role, Text
from hocket.cli._legible import describe
from hocket.infer.engine import Engine
from hocket.infer.sampling import Sampling
from hocket.media.audio import Audio
from hocket.media.image import Image
from hocket.media.video import Video
from hocket.tokens.span import Modality

_SOURCE = "chat"
_OPENERS: dict[Modality, Callable[[Path], Medium]] = {
    Modality.IMAGE: Image.from_path,
    Modality.AUDIO: Audio.from_path,
    Modality.VIDEO: Video.from_path,
}


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back.

    Attributes:
        text: the answer.
        tokens: tokens that were made, the end token included.
        seconds: from the question to the last token.
        stopped: whether somebody stopped it.
    """

    text: str
    tokens: int
    seconds: float
    stopped: bool


class Dialogue:
    """Turns so far and media for the next one.

    Args:
        engine: who answers.
        sampling: how; its seed is of the first answer, the next one has the next seed.
    """

    def __init__(self, engine: Engine, sampling: Sampling) -> None:
        self.engine = engine
        self.sampling = sampling
        self.messages: list[Message] = []
        self.attached: list[Medium] = []
        self._answers = 0

    def attach(self, kind: Modality, path: Path) -> str:
        """Attach a file to the next message, having decoded it once.

        Returns:
            What was attached: file, kind, size and tokens.

        Raises:
            MediaError: it cannot be opened or is damaged.
            ConfigError: the model has no encoder for it.
        """
        medium = _OPENERS[kind](path.expanduser())
        alone = Conversation(_SOURCE, (Message(Role.USER, (medium,)),), source=_SOURCE)
        outline = self.engine.processor.measure(alone, for_answer=True)
        self.engine.processor.encode(alone, for_answer=True, outline=outline)
        self.attached.append(medium)
        rows = outline.spans[0].rows
        return f"{medium.where.name} ({kind.value}, {describe(medium)}, {rows} tokens)"

    def drop(self) -> int:
        """Remove what is attached; return how many there were."""
        count = len(self.attached)
        self.attached.clear()
        return count

    def clear(self) -> None:
        """Start a new conversation."""
        self.messages.clear()
        self.attached.clear()

    def answer(
        self, text: str, *, show: Callable[[str], None], stop: Callable[[], bool] = lambda: False
    ) -> Reply:
        """Send a message and pass the answer on piece by piece.

        The turn is remembered if there was an answer, even a stopped one; the media then leave
        the attachments.

        Args:
            text: the message.
            show: called with each piece.
            stop: asked before every token.

        Raises:
            DataError: the text is no valid Unicode, or a file changed and cannot be decoded.
        """
        question = Message(Role.USER, (*before_text(self.attached), Text(checked(text))))
        asked = Conversation(_SOURCE, (*self.messages, question), source=_SOURCE)
        sampling = replace(self.sampling, seed=self.sampling.seed + self._answers)
        pieces: list[str] = []
        tokens = 0
        stopped = False

        def on_token() -> bool:
            nonlocal tokens, stopped
            stopped = stop()
            tokens += not stopped
            return stopped

        start = time.perf_counter()
        try:
            for piece in self.engine.stream(asked, sampling, stop=on_token):
                pieces.append(piece)
                show(piece)
        except KeyboardInterrupt:
            stopped = True
        reply = Reply("".join(pieces), tokens, time.perf_counter() - start, stopped)
        if reply.text or not stopped:
            self.messages += [question, Message(Role.ASSISTANT, (Text(reply.text),))]
            self.attached.clear()
            self._answers += 1
        return reply


def before_text(media: Sequence[Medium]) -> list[Part]:
    """Return the parts that put media in front of a text, one a line, as in engine prompts."""
    return [part for medium in media for part in (medium, Text("\n"))]


def checked(text: str) -> str:
    """Return the text.

    Raises:
        DataError: bytes of it were not UTF-8.
    """
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise DataError("the message is not UTF-8 text. Set the terminal or the file to UTF-8.")
    return text


def split_paths(argument: str) -> list[Path]:
    """Return the paths of a line: one path as it is, or several, quoted as in a shell."""
    if Path(argument).expanduser().exists():
        return [Path(argument)]
    try:
        return [Path(word) for word in shlex.split(argument)]
    except ValueError:
        return [Path(argument)]

"""Judges: language models that read an answer and say what they think of it.

One is asked over HTTP (any server that speaks OpenAI's chat completions), another replays what a
judge said before, so that a score can be computed again without it. A judge that fails gives None;
no score is made up. Knows chats; must not know benchmarks.
"""

from __future__ import annotations

import hashlib
import json
import time
import urllib.error
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeAlias

from hocket._errors import ConfigError, DataError
from hocket._log import warn
from hocket.checkpoint.manifest import machine_error

Chat: TypeAlias = tuple[tuple[str, str], ...]
"""Pairs of role and text."""

_BUSY = {408, 409, 429, 500, 502, 503, 504}
# A server that is not there, or a wrong key, would else be waited for once per answer.
_FAILURES_IN_A_ROW = 3


class Judge(ABC):
    """Somebody who answers chats."""

    @abstractmethod
    def ask(self, chats: Sequence[Chat]) -> list[str | None]:
        """Return an answer for each chat, or None where there is none."""


@dataclass(frozen=True, slots=True)
class Unasked(Judge):
    """No judge: every answer stays without one."""

    def ask(self, chats: Sequence[Chat]) -> list[str | None]:
        """Return None for each."""
        return [None] * len(chats)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenAiJudge(Judge):
    """A model behind OpenAI's protocol.

    Attributes:
        url: of the server, up to ``/v1``.
        model: its name there.
        key: sent as a bearer token; empty sends none.
        record: JSON-lines file that what is said is added to, for `ReplayJudge`; what it has of
            this model is not asked again.
        tries: how often a busy server is asked.
        timeout_seconds: how long an answer may take.
        wait_seconds: before a second try; each further wait is twice as long.
        max_tokens: longest answer.

    Raises:
        ConfigError: the URL is none of HTTP.
    """

    url: str
    model: str
    key: str = field(default="", repr=False)
    record: Path | None = None
    tries: int = 4
    timeout_seconds: float = 60.0
    wait_seconds: float = 1.0
    max_tokens: int = 256

    def __post_init__(self) -> None:
        """Refuse other protocols, which urllib would open too."""
        if not self.url.startswith(("http://", "https://")):
            raise ConfigError(f"the judge's URL is {self.url!r}, expected http:// or https://.")

    def ask(self, chats: Sequence[Chat]) -> list[str | None]:
        """Return the model's answers; one that fails is None, with a warning that says why.

        What `record` has of this model is not asked again, and what is said is kept at once, so
        that a scoring that was stopped goes on. After three failures in a row nothing is asked.
        """
        kept = self._kept()
        said: list[str | None] = []
        failures = 0
        for chat in chats:
            answer = kept.get(chat_key(chat))
            if answer is None and failures < _FAILURES_IN_A_ROW:
                answer = self._answer(chat)
                failures = 0 if answer is not None else failures + 1
                if failures == _FAILURES_IN_A_ROW:
                    warn(
                        f"the judge failed {failures} times in a row, nothing more is asked: "
                        f"{len(chats) - len(said)} answers are left. Correct it, then run again."
                    )
                self._keep(chat, answer)
            said.append(answer)
        return said

    def _kept(self) -> dict[str, str]:
        """Return what the record has of this model; a line cut by a kill is cut off."""
        if not (self.record and self.record.exists()):
            return {}
        data = self.record.read_bytes()
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            with self.record.open("r+b") as file:
                file.truncate(whole)
        rows = _rows(self.record)
        return {str(row["key"]): str(row["said"]) for row in rows if row.get("model") == self.model}

    def _keep(self, chat: Chat, said: str | None) -> None:
        if not self.record or said is None:
            return
        line = json.dumps({"key": chat_key(chat), "model": self.model, "said": said})
        try:
            with self.record.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        except OSError as error:
            raise machine_error(self.record, error) from error

    def _answer(self, chat: Chat) -> str | None:
        body = {
            "model": self.model,
            "messages": [{"role": role, "content": text} for role, text in chat],
            "temperature": 0,
            "max_tokens": self.max_tokens,
        }
        headers = {"Content-Type": "application/json"}
        if self.key:
            headers["Authorization"] = f"Bearer {self.key}"
        request = urllib.request.Request(
            self.url.rstrip("/") + "/chat/completions",
            data=json.dumps(body).encode(),
            headers=headers,
        )
        for attempt in range(self.tries):
            if attempt:
                time.sleep(self.wait_seconds * 2 ** (attempt - 1))
            try:
                with urllib.request.urlopen(request, timeout=self.timeout_seconds) as reply:
                    return str(json.load(reply)["choices"][0]["message"]["content"])
            except urllib.error.HTTPError as error:
                fault = f"{error.code} {error.reason}"
                if error.code not in _BUSY:
                    break
            except (OSError, ValueError, KeyError, IndexError, TypeError) as error:
                fault = f"{type(error).__name__}: {error}"
        warn(f"the judge {self.model} at {self.url} gave no answer ({fault}): left unscored.")
        return None


@dataclass(frozen=True, slots=True)
class ReplayJudge(Judge):
    """What a judge said before.

    Attributes:
        file: JSON lines that an `OpenAiJudge` recorded.
    """

    file: Path

    def ask(self, chats: Sequence[Chat]) -> list[str | None]:
        """Return what was said of each chat; None where it was never asked.

        Raises:
            DataError: the file is missing or damaged.
        """
        said = {str(row["key"]): str(row["said"]) for row in _rows(self.file)}
        return [said.get(chat_key(chat)) for chat in chats]


def _rows(file: Path) -> list[dict[str, object]]:
    try:
        rows = [json.loads(line) for line in file.read_text("utf-8").split("\n") if line]
        return [{**row, "key": row["key"], "said": row["said"]} for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"{file}: not what a judge recorded ({error}). Give the file of record=."
        ) from error


def chat_key(chat: Chat) -> str:
    """Return a name for a chat: the SHA-256 of its roles and texts."""
    return hashlib.sha256(json.dumps(chat).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class LiteralJudge(Judge):
    """A judge without a model, for generated twins: right is what says the same words."""

    def ask(self, chats: Sequence[Chat]) -> list[str | None]:
        """Return full marks where every predicted answer equals the correct one, else none."""
        return [self._verdict(chat[-1][1].splitlines()) for chat in chats]

    def _verdict(self, lines: Sequence[str]) -> str:
        said = [line.partition(": ")[2] for line in lines if line.startswith("Predicted")]
        right = [line.partition(": ")[2] for line in lines if line.startswith("Correct")]
        same = len(right) == 1 and all(one.strip().lower() == right[0].lower() for one in said)
        return str({"pred": "yes" if same else "no", "score": 5 if same else 0})

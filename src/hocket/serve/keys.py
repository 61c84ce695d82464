"""Keys of clients: read from a file or the environment, never from the command line.

Knows texts; must not know HTTP beyond the one header.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from pathlib import Path

from hocket._errors import ConfigError, MachineError

_SCHEME = "bearer "
_SHORTEST = 8


class Keys:
    """The keys that a server takes; none means that everybody may ask.

    Args:
        keys: the keys themselves; only their hashes are kept.

    Raises:
        ConfigError: a key is too short to be one, or holds what a header cannot.
    """

    def __init__(self, keys: Iterable[str] = ()) -> None:
        self._hashes: list[tuple[str, bytes]] = []
        for number, key in enumerate(keys):
            if len(key) < _SHORTEST or not key.isascii() or any(one.isspace() for one in key):
                raise ConfigError(
                    f"API key {number + 1} has {len(key)} characters, expected at least "
                    f"{_SHORTEST}, all ASCII and none a space. "
                    "Make one: python -c 'import secrets; print(secrets.token_urlsafe(32))'"
                )
            self._hashes.append((f"key-{number + 1}", _digest(key)))

    def __bool__(self) -> bool:
        """Return whether a key is needed."""
        return bool(self._hashes)

    def name_of(self, header: str | None) -> str | None:
        """Return the name of the key in an ``Authorization`` header; None where it has none.

        Every key is compared in constant time, so that the time tells nothing.
        """
        text = header or ""
        given = text[len(_SCHEME) :].strip() if text[: len(_SCHEME)].lower() == _SCHEME else ""
        found = None
        wanted = _digest(given)
        for name, known in self._hashes:
            if hmac.compare_digest(wanted, known):
                found = name
        return found


def read_keys(text: str | None, file: Path | None) -> Keys:
    """Return the keys of a text with one key or several between commas, and of a file's lines.

    Empty lines of the file and those that begin with ``#`` are left out.

    Raises:
        MachineError: the file cannot be read.
        ConfigError: a key is too short, or the file holds none.
    """
    found = [one.strip() for one in (text or "").split(",") if one.strip()]
    if file is not None:
        try:
            lines = file.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise MachineError(
                f"{file}: the file of API keys cannot be read ({error}). Check it and its rights."
            ) from error
        keys = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        if not keys:
            raise ConfigError(f"{file}: holds no API key. Write one key a line.")
        found += keys
    return Keys(found)


def _digest(key: str) -> bytes:
    return hashlib.sha256(key.encode(errors="surrogateescape")).digest()

"""Which model answered which question: hashes that decide whether an answer can be used again.

A checkpoint is its files, not its path; a question is its turns, the bytes of its media and the way
of drawing. Equal keys mean equal answers.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from hocket._errors import CheckpointError
from hocket.chat.conversation import Conversation, Medium, Text
from hocket.checkpoint.directory import find_checkpoint
from hocket.checkpoint.manifest import MANIFEST, verify_directory
from hocket.infer.sampling import Sampling
from hocket.media.audio import Audio
from hocket.media.image import Image

# What a model's answers do not depend on.
_NOTES = ("provenance.json", "recipe.yaml", "manifest.json", "README.md")
_ENDINGS = (".json", ".jinja", ".safetensors", ".txt", ".model")
_DIGEST_BYTES = 16


class _Hash(Protocol):
    def update(self, data: bytes, /) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A checkpoint that is evaluated.

    Attributes:
        name: of its run, with the checkpoint's own name if it is one of several.
        folder: the checkpoint directory.
        fingerprint: hash of its files, 32 hexadecimal digits.
        run: name of the run that it belongs to; checkpoints of one make a curve.
        step: optimizer steps of its stage, where they are known.
        stage: of training.
    """

    name: str
    folder: Path
    fingerprint: str
    run: str
    step: int | None = None
    stage: str = ""

    @property
    def slug(self) -> str:
        """Name of its folder of results: another checkpoint of the same name has another one."""
        return f"{self.name}-{self.fingerprint[:8]}"


def find_candidate(path: str | Path) -> Candidate:
    """Return the checkpoint of a path, or of the run that the path holds.

    Raises:
        CheckpointError: there is none, or its files are damaged.
    """
    folder = find_checkpoint(path).resolve()
    several = folder.parent.name == "checkpoints"
    run = folder.parent.parent.name if several else folder.name
    if folder.name == "model":
        run = folder.parent.name
    notes = _notes(folder)
    step = notes.get("step")
    return Candidate(
        name=f"{run}-{folder.name}" if several else run,
        folder=folder,
        fingerprint=_fingerprint(folder),
        run=run,
        step=step if isinstance(step, int) else None,
        stage=str(notes.get("stage", "")),
    )


def question_key(fingerprint: str, conversation: Conversation, sampling: Sampling) -> str:
    """Return the hash of a model, a question with its media and a way of drawing.

    Raises:
        MediaError: the file of a medium cannot be read.
    """
    digest = hashlib.blake2b(digest_size=_DIGEST_BYTES)
    options = json.dumps(asdict(sampling), sort_keys=True, default=repr)
    tools = json.dumps([dict(tool) for tool in conversation.tools], sort_keys=True)
    _add(digest, fingerprint, options, tools)
    for message in conversation.messages:
        _add(digest, message.role.value)
        for part in message.parts:
            if isinstance(part, Text):
                _add(digest, "text", part.text)
            else:
                _add_medium(digest, part)
    return digest.hexdigest()


def _add(digest: _Hash, *texts: str) -> None:
    for text in texts:
        data = text.encode()
        digest.update(f"{len(data)}:".encode() + data)


def _add_medium(digest: _Hash, medium: Medium) -> None:
    _add(digest, type(medium).__name__)
    if medium.where.path is not None or medium.where.data is not None:
        with medium.where.open() as stream:
            for block in iter(lambda: stream.read(2**20), b""):
                digest.update(block)
        return
    values: list[np.ndarray]
    if isinstance(medium, Image):
        values = [medium.load()]
    elif isinstance(medium, Audio):
        # Its own samples at its own rate: nothing is decoded.
        values = [medium.wave] if medium.wave is not None else []
        _add(digest, str(medium.rate))
    else:
        _add(digest, str(medium.picture_fps))
        for place in medium.pictures:
            _add_medium(digest, Image(place))
        values = [one for one in (medium.frames, medium.times) if one is not None]
    for value in values:
        _add(digest, f"{value.dtype}{value.shape}")
        digest.update(value.tobytes())


def _fingerprint(folder: Path) -> str:
    if (folder / MANIFEST).exists():
        files = verify_directory(folder, hashes=False)
    else:
        files = {file.name: _sha256(file) for file in folder.iterdir() if file.suffix in _ENDINGS}
    kept = {name: files[name] for name in sorted(files) if name not in _NOTES}
    text = json.dumps(kept).encode()
    return hashlib.blake2b(text, digest_size=_DIGEST_BYTES).hexdigest()


def _sha256(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise CheckpointError(
            f"{file} cannot be read ({error.strerror}). Copy it again."
        ) from error


def _notes(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / "provenance.json").read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}

"""Check a checkpoint as a whole: its bytes against the manifest, its answers against its own.

See `hocket.checkpoint.tools.certificate` for what is recorded and how near is near enough.
"""

from __future__ import annotations

from pathlib import Path

from hocket._errors import CheckpointError
from hocket.checkpoint.directory import find_checkpoint, load_checkpoint
from hocket.checkpoint.loading import Placement
from hocket.checkpoint.manifest import MANIFEST, verify_directory, write_directory
from hocket.checkpoint.tools.certificate import (
    Replay,
    dtype_of,
    replay_certificate,
    write_certificate,
)
from hocket.checkpoint.tools.tensors import (
    CERTIFICATE,
    TensorFolder,
    copy_side_files,
    read_json,
    write_tensors,
)


def verify_checkpoint(path: str | Path, *, device: str = "cpu", dtype: str = "") -> Replay:
    """Check every byte, open the checkpoint and replay its certificate.

    Args:
        path: a checkpoint, or a run's folder.
        device: where to run.
        dtype: type of the weights, such as ``bfloat16``; empty for the certificate's own.

    Raises:
        CheckpointError: a file differs from the manifest, or there is no good certificate.
    """
    folder = find_checkpoint(path)
    if (folder / MANIFEST).is_file():
        verify_directory(folder)
    if not (folder / CERTIFICATE).is_file():
        raise CheckpointError(
            f"{folder} has no {CERTIFICATE}: it was saved without one. "
            f"Run: hocket model certify {folder} OUT"
        )
    document = read_json(folder / CERTIFICATE)
    placement = Placement(device=device, dtype=dtype or dtype_of(document))
    model, processor = load_checkpoint(folder, placement)
    return replay_certificate(document, model, processor)


def certify(path: str | Path, target: str | Path) -> None:
    """Write a copy of a checkpoint with a new certificate.

    Args:
        path: a checkpoint, or a run's folder.
        target: the folder to write; may be the checkpoint itself.

    Raises:
        CheckpointError: it cannot be opened.
        MachineError: the folder cannot be written.
    """
    source = find_checkpoint(path)
    model, processor = load_checkpoint(source, Placement(dtype="auto"))
    tensors = TensorFolder.open(source)

    def write(folder: Path) -> None:
        write_tensors(folder, tensors.entries())
        copy_side_files(source, folder, leave=(CERTIFICATE,))
        write_certificate(folder, model, processor)

    write_directory(Path(target), write)

"""Which versions of torch and transformers hocket is tested with, and the check of them.

The only file that compares versions or probes an object for what one version of a library has and
another lacks. It reads package metadata, so it never imports torch or transformers.
"""

from __future__ import annotations

import importlib.metadata
import re
from typing import NamedTuple

from hocket._errors import MachineError


class VersionRange(NamedTuple):
    """Versions from ``low`` up to, but not including, ``high``; None is without a limit."""

    low: str
    high: str | None

    def __contains__(self, version: object) -> bool:
        """Return whether a version such as ``5.23.0`` is inside the range."""
        number = release(str(version))
        return number >= release(self.low) and (self.high is None or number < release(self.high))

    def __str__(self) -> str:
        """Return the range as pip writes it."""
        return f">={self.low}" + (f",<{self.high}" if self.high else "")


TORCH_TESTED = VersionRange("2.8", None)
TRANSFORMERS_TESTED = VersionRange("5.10", "6")

# Equal to the ranges in pyproject.toml; tests/arch/test_ratchets.py compares them.
TESTED = {"torch": TORCH_TESTED, "transformers": TRANSFORMERS_TESTED}


def check_versions() -> None:
    """Check that the libraries hocket leans on are installed in versions it is tested with.

    Raises:
        MachineError: one is missing, or its version is outside the tested range.
    """
    for package, tested in TESTED.items():
        found = installed_version(package)
        if found is None or found not in tested:
            state = "is not installed" if found is None else f"{found} is installed"
            raise MachineError(
                f"{package} {state}, but hocket is tested with {tested}. "
                f"Run: pip install '{package}{tested}'"
            )


def reduce_unused_gradients(root: object) -> None:
    """Let ranks of an FSDP2 model average the gradients of a weight that some have not used.

    Raises:
        MachineError: this torch would wait for ever.
    """
    allow = getattr(root, "set_reduce_scatter_unused_params", None)
    if allow is None:
        raise MachineError(
            f"sharding=fsdp needs torch 2.13 or newer, {installed_version('torch')} is installed. "
            "Run: pip install 'torch>=2.13', or set train.sharding=ddp."
        )
    allow(True)


def set_recomputing(part: object, *, on: bool) -> None:
    """Let a transformers model compute its layers again in the backward pass, or no longer.

    Transformers 5.23 calls activation checkpointing what was called gradient checkpointing before.
    """
    word = "activation" if hasattr(part, "activation_checkpointing_enable") else "gradient"
    if on:
        getattr(part, f"{word}_checkpointing_enable")({"use_reentrant": False})
    elif getattr(part, f"is_{word}_checkpointing"):
        getattr(part, f"{word}_checkpointing_disable")()


def installed_version(package: str) -> str | None:
    """Return the installed version of a package, or None when it is not installed."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def release(version: str) -> tuple[int, ...]:
    """Return the release numbers of a version: ``2.13.0+cpu`` and ``2.13`` are both ``(2, 13)``.

    Raises:
        MachineError: the text does not start with a number.
    """
    numbers = re.match(r"\d+(?:\.\d+)*", version)
    if numbers is None:
        raise MachineError(
            f"{version!r} is not a version number such as 5.23.0. Install the package again."
        )
    parts = [int(part) for part in numbers.group().split(".")]
    while len(parts) > 1 and parts[-1] == 0:
        parts.pop()
    return tuple(parts)

"""Hands a checkpoint to vLLM, which serves it through Hocket's plugin.

Knows vLLM's command line; must not import vLLM.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from hocket._errors import MachineError
from hocket.vllm import TESTED

_PROGRAM = "vllm"


def vllm_command(
    checkpoint: Path, name: str, *, host: str, port: int, more: Sequence[str] = ()
) -> list[str]:
    """Return the words that start vLLM's server.

    A key is not among them: other users of the machine can read the words of a process.

    Args:
        checkpoint: its directory.
        name: what clients call the model.
        host: address to listen on.
        port: port to listen on.
        more: further words for vLLM.

    Raises:
        MachineError: vLLM is not installed.
    """
    beside = Path(sys.executable).with_name(_PROGRAM)
    program = str(beside) if beside.exists() else shutil.which(_PROGRAM)
    if program is None:
        raise MachineError(
            f"vllm is not installed. Run: pip install 'vllm{TESTED}' in an environment of its own "
            "(docs/vllm.md), or leave out --engine vllm."
        )
    return [
        program,
        "serve",
        str(checkpoint),
        "--served-model-name",
        name,
        "--host",
        host,
        "--port",
        str(port),
        "--chat-template-content-format",
        "openai",  # its own guess puts line ends behind media
        *more,
    ]

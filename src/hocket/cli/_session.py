"""What every verb that loads a model does first: threads, and quiet libraries."""

from __future__ import annotations

import logging

import torch
from transformers.utils import logging as transformers_logging

from hocket._compat import check_versions
from hocket._env import num_threads


def start_session() -> None:
    """Check library versions, set compute threads, silence transformers' own bars and notes.

    Raises:
        MachineError: a library is outside the tested range.
        ConfigError: ``HOCKET_THREADS`` is not a number.
    """
    check_versions()
    threads = num_threads()
    if threads:
        torch.set_num_threads(threads)
    transformers_logging.disable_progress_bar()
    transformers_logging.set_verbosity_error()
    logging.getLogger("accelerate").setLevel(logging.ERROR)

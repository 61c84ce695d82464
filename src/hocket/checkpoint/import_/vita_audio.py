"""VITA's audio encoder and its adapter, from the ``train.yaml`` beside a checkpoint.

The checkpoint's own tensors count; of the encoder's folder only the options are read, and
``final.pt`` where the checkpoint has none.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from hocket._errors import CheckpointError
from hocket.checkpoint.import_.keys_vita_audio import (
    MODEL_TYPE,
    adapter_part,
    adapter_rules,
    whale_options,
    whale_rules,
)
from hocket.checkpoint.import_.language import config_options
from hocket.checkpoint.import_.origin import Origin
from hocket.checkpoint.import_.table import Rule, Skip
from hocket.checkpoint.import_.weights import Weights, open_file
from hocket.model.spec import Options, PartSpec, TowerSpec
from hocket.parts.audio import audio_encoders

INSIDE = "model.audio_encoder."
_OPTIONS = "train.yaml"
_WEIGHTS = "final.pt"
# Before the names of what else is in that file, which the original leaves out without a word.
_APART = "final.pt/"


@dataclass(frozen=True, slots=True)
class VitaAudio:
    """The audio encoder as it was found.

    Attributes:
        spec: the tower with its connector.
        rules: where its tensors go, under the names that they have inside a checkpoint.
        weights: the checkpoint's tensors, and the encoder's where the checkpoint lacks them.
        note: where its weights come from.
    """

    spec: TowerSpec
    rules: tuple[Rule, ...]
    weights: Weights
    note: str


def vita_audio(origin: Origin, weights: Weights) -> VitaAudio:
    """Return the audio encoder and the adapter that a checkpoint of VITA names.

    Args:
        origin: the checkpoint.
        weights: its own tensors.

    Raises:
        CheckpointError: a folder or file is missing, or an option has no counterpart.
    """
    folder = origin.find(str(origin.need("mm_audio_encoder")), "audio encoder", holding=_OPTIONS)
    document = _read(folder / _OPTIONS)
    note = f"audio encoder: the checkpoint's own, options of {folder}"
    if not any(name.startswith(f"{INSIDE}encoder.") for name in weights):
        note = f"audio encoder: {folder / _WEIGHTS}"
        weights = weights.over(open_file(folder / _WEIGHTS).renamed(_inside))
    audio_encoders.get(MODEL_TYPE)  # makes its configuration known
    layout = _layout(document)
    spec = TowerSpec(
        model_type=MODEL_TYPE,
        config=config_options(whale_options(document), MODEL_TYPE),
        layout=layout,
        connector=adapter_part(document, weights, INSIDE),
    )
    rules = (
        *whale_rules(re.escape(f"{INSIDE}encoder."), "model.audio_tower."),
        *adapter_rules(re.escape(INSIDE), "model.audio_projector."),
        Skip(re.escape(_APART) + ".+", "no part of the audio encoder or its adapter"),
    )
    return VitaAudio(spec, rules, weights, note)


def _inside(name: str) -> str:
    """Return the name in a checkpoint of a tensor of ``final.pt``."""
    return (INSIDE if name.startswith(("encoder.", "adpter.")) else _APART) + name


def _layout(document: Mapping[str, Any]) -> PartSpec:
    """Return the filter banks of ``dataset_conf``.

    Raises:
        CheckpointError: they are none of 25 ms every 10 ms.
    """
    data = document.get("dataset_conf") or {}
    banks, rate = data.get("fbank_conf") or {}, data.get("resample_conf") or {}
    frames = (banks.get("frame_length", 25), banks.get("frame_shift", 10))
    if frames != (25, 10):
        raise CheckpointError(
            f"{_OPTIONS}: frames of {frames[0]} ms every {frames[1]} ms, expected 25 and 10. "
            "This importer cannot open it."
        )
    # torchaudio's fbank reads the first channel of a file, whatever else is in it.
    options: Options = {"rate": int(rate.get("resample_rate", 16000)), "mix": "first"}
    return PartSpec(kind="audio_fbank", options=options)


def _read(file: Path) -> Mapping[str, Any]:
    try:
        document = yaml.safe_load(file.read_text("utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CheckpointError(f"{file} is no YAML. Copy the audio encoder again.") from error
    if not isinstance(document, dict):
        raise CheckpointError(f"{file} holds no options. Copy the audio encoder again.")
    return document

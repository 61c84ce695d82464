"""transformers' ``Qwen2AudioForConditionalGeneration``: its own encoder, one linear layer, Qwen 2.

Sounds longer than the encoder's 30 s become several chunks, where the original cuts them off.
"""

from __future__ import annotations

from pathlib import Path

from hocket._errors import CheckpointError
from hocket.checkpoint.import_.description import Description
from hocket.checkpoint.import_.kinds import importers
from hocket.checkpoint.import_.language import config_options
from hocket.checkpoint.import_.native import (
    AUDIO,
    PROJECTOR,
    Media,
    describe_native,
    is_native,
    open_native,
)
from hocket.checkpoint.import_.origin import Origin
from hocket.checkpoint.import_.table import Move
from hocket.checkpoint.tools.tensors import read_json
from hocket.model.spec import Options, PartSpec, TowerSpec
from hocket.parts.audio import audio_encoders
from hocket.tokens.tokenizer import AUDIO as PLACE

_TOWER = "qwen2_audio_encoder"
_RATE, _HOP, _WINDOW = 16000, 160, 400
# Mel frames per position of the encoder, before it pools.
_STRIDE = 2


@importers.register
class NativeQwen2Audio:
    """Reads what ``Qwen2AudioForConditionalGeneration`` saves."""

    @staticmethod
    def detect(origin: Origin) -> bool:
        """Say whether config.json is that class's."""
        return is_native(origin, "qwen2_audio")

    @staticmethod
    def describe(origin: Origin) -> Description:
        """Return the checkpoint in Hocket's terms.

        Raises:
            CheckpointError: a file is missing, or an option has no counterpart.
        """
        native = open_native(origin)
        _check_sounds(origin.folder)
        audio = native.config.audio_config
        if audio.model_type != _TOWER:
            raise CheckpointError(
                f"audio_config.model_type is {audio.model_type!r}, expected {_TOWER!r}. "
                "This importer cannot open it."
            )
        audio_encoders.get(_TOWER)
        seconds = audio.max_source_positions * _STRIDE * _HOP / _RATE
        layout: Options = {"mels": int(audio.num_mel_bins), "chunk_seconds": seconds}
        return describe_native(
            native,
            Media(
                audio=TowerSpec(
                    model_type=_TOWER,
                    config=config_options(native.part("audio_config"), _TOWER),
                    layout=PartSpec(kind="audio_mel", options=layout),
                    # The encoder has pooled already.
                    connector=PartSpec(kind="qwen2_audio", options={"pool": 1}),
                ),
                rules=(
                    Move(rf"{AUDIO}(.+)", r"model.audio_tower.\1"),
                    Move(
                        rf"{PROJECTOR}linear\.(weight|bias)",
                        r"model.audio_projector.linear.\1",
                    ),
                ),
                places={native.token("audio_token_index") or PLACE: PLACE},
            ),
        )


def _check_sounds(folder: Path) -> None:
    """Check that the folder's feature extractor is Whisper's with its usual numbers.

    Raises:
        CheckpointError: a number is another.
    """
    file = folder / "preprocessor_config.json"
    document = read_json(file) if file.is_file() else {}
    for key, wanted in (("sampling_rate", _RATE), ("hop_length", _HOP), ("n_fft", _WINDOW)):
        if document.get(key, wanted) != wanted:
            raise CheckpointError(
                f"{file}: {key} is {document[key]}, expected {wanted}. "
                "This importer cannot open it."
            )

"""GGUF for llama.cpp and Ollama: the language model, and eyes and ears in an mmproj file.

SigLIP with two linear layers, Whisper with Ultravox's connector, Qwen2-Audio's encoder with its
linear layer, both kinds in one file; Llama, Mistral, SmolLM, Qwen2 and Qwen3.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import ClassVar

import torch

from hocket._errors import MissingExtraError
from hocket.checkpoint.export import ExportOptions, Source, Verification, exporters
from hocket.checkpoint.export._gguf.answers import compare_greedy, compare_text
from hocket.checkpoint.export._gguf.audio import add_audio
from hocket.checkpoint.export._gguf.language import plan_language
from hocket.checkpoint.export._gguf.plan import TARGET, FilePlan
from hocket.checkpoint.export._gguf.tokenizer import add_tokenizer
from hocket.checkpoint.export._gguf.vision import add_vision
from hocket.checkpoint.export._refusal import refusal

MODEL = "model.gguf"
MMPROJ = "mmproj.gguf"
_PARTS = (
    "model.language_model.",
    "lm_head.",
    "model.vision_tower.",
    "model.multi_modal_projector.",
    "model.audio_tower.",
    "model.audio_projector.",
)


@exporters.register
class Gguf:
    """``model.gguf``, ``mmproj.gguf`` and a ``Modelfile``."""

    takes: ClassVar[Mapping[str, frozenset[str]]] = {
        "vision encoder": frozenset({"hf"}),
        "audio encoder": frozenset({"whisper", "qwen2_audio_encoder"}),
        "layout": frozenset({"image_fixed", "audio_mel"}),
        "connector": frozenset({"mlp", "ultravox", "qwen2_audio"}),
    }

    @staticmethod
    def write(source: Source, folder: Path, options: ExportOptions) -> list[str]:
        """Write the files.

        Raises:
            MissingExtraError: the ``gguf`` package is not installed.
        """
        file = _file_module()
        plans = plan_files(source)
        numbers = file.number_type(options.outtype, _dtype(source))
        for name, plan in plans.items():
            file.write_file(folder / name, plan, numbers=numbers)
        lines = "".join(f"FROM ./{name}\n" for name in plans)
        (folder / "Modelfile").write_text(lines, encoding="utf-8")
        return [note for plan in plans.values() for note in plan.notes]

    @staticmethod
    def verify(source: Source, folder: Path, options: ExportOptions) -> Verification:
        """Read the files back, compare tensors, and answers in transformers and in llama.cpp.

        transformers' own reader of GGUF opens the language model. llama.cpp's server answers
        where ``HOCKET_LLAMA_SERVER`` names it or it is on the ``PATH``.

        Raises:
            CheckpointError: a tensor differs by more than its type explains.
            MissingExtraError: the ``gguf`` package is not installed.
        """
        file = _file_module()
        plans = plan_files(source)
        tensors = sum(file.compare_file(folder / name, plan) for name, plan in plans.items())
        numbers = file.number_type(options.outtype, _dtype(source))
        mmproj = folder / MMPROJ if MMPROJ in plans else None
        said = compare_greedy(source, folder / MODEL, mmproj)
        remark = f"all {tensors} tensors are the checkpoint's; {said}"
        return compare_text(source, folder / MODEL, numbers=numbers, remark=remark)


def plan_files(source: Source) -> dict[str, FilePlan]:
    """Return file name -> what is in it.

    Raises:
        CheckpointError: llama.cpp cannot express a part; the message names it.
    """
    _check_whole(source)
    language = plan_language(source)
    add_tokenizer(language, source)
    plans = {MODEL: language}
    mmproj = FilePlan("clip")
    mmproj.keys["general.type"] = "mmproj"
    if source.config.vision_config is not None:
        add_vision(mmproj, source)
    if source.config.audio_config is not None:
        add_audio(mmproj, source)
    if mmproj.pieces:
        plans[MMPROJ] = mmproj
    return plans


def _check_whole(source: Source) -> None:
    """Check that no part is left out.

    Raises:
        CheckpointError: the checkpoint has a part that neither file has a place for.
    """
    if source.config.shared_positions != 1:
        shared = source.config.shared_positions
        raise refusal(TARGET, "model.language.shared_positions", shared, "1")
    config = source.config
    if config.video_config is not None:
        kind = config.video_config.model_type
        raise refusal(TARGET, "model.video.tower", kind, "no tower for videos alone")
    if config.joint_connector is not None:
        kind = config.joint_connector["kind"]
        raise refusal(TARGET, "model.joint", kind, "a connector per tower")
    for name in source.tensors.names():
        if not name.startswith(_PARTS):
            raise refusal(TARGET, f"the tensor {name}", "it", "only tensors llama.cpp names")


def _dtype(source: Source) -> torch.dtype:
    return source.tensors.info("model.language_model.norm.weight").dtype


def _file_module() -> ModuleType:
    """Return `_gguf.file`, which alone imports the library.

    Raises:
        MissingExtraError: the library is not installed.
    """
    try:
        from hocket.checkpoint.export._gguf import file
    except ModuleNotFoundError as error:
        if error.name != "gguf":
            raise
        raise MissingExtraError("gguf", "gguf") from error
    return file

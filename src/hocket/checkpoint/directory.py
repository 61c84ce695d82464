"""A checkpoint is a transformers directory that needs nothing else.

``config.json``, ``model*.safetensors``, the tokenizer, ``processor_config.json``, the chat
template, ``recipe.yaml`` and ``provenance.json``. `AutoModelForMultimodalLM` and `AutoProcessor`
open it after ``import hocket``, or through the one-line shim with ``trust_remote_code=True``.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from hocket._env import model_folders
from hocket._errors import CheckpointError, HocketError
from hocket.checkpoint.adapters import read_adapters, write_adapters
from hocket.checkpoint.loading import Placement
from hocket.checkpoint.manifest import MANIFEST, verify_directory
from hocket.media.where import reason
from hocket.model.adapters.attach import base_state
from hocket.model.config import HocketConfig
from hocket.model.modeling import HocketForConditionalGeneration
from hocket.model.named_code import named_code
from hocket.model.origin import find_origin
from hocket.model.towers import TOWERS
from hocket.tokens.processor import HocketProcessor

SHIM = "hub_hocket.py"
_JSON = ("config.json", "processor_config.json", "tokenizer.json", "tokenizer_config.json")
_NEEDED = (*_JSON, "chat_template.jinja")
_HASHED_BYTES = 2**30
SHIM_TEXT = (
    '"""Points transformers at the installed hocket package: pip install hocket."""\n\n'
    "from hocket import HocketConfig, HocketForConditionalGeneration, HocketProcessor"
    "  # noqa: F401\n"
)


# What transformers raises on damaged files, as far as damage has been tried.
_UNOPENABLE = (
    OSError,
    ValueError,
    RuntimeError,
    TypeError,
    KeyError,
    AttributeError,
    SafetensorError,
)


class Loaded(NamedTuple):
    """A model and its processor."""

    model: HocketForConditionalGeneration
    processor: HocketProcessor


def write_checkpoint(
    folder: Path,
    model: HocketForConditionalGeneration,
    processor: HocketProcessor,
    *,
    recipe: str = "",
    provenance: dict[str, Any] | None = None,
    state: Mapping[str, Tensor] | None = None,
) -> None:
    """Fill an existing folder; wrap it in `write_directory` to make it atomic.

    Args:
        folder: where to write.
        model: the composite.
        processor: its processor.
        recipe: the resolved configuration of the run, as YAML.
        provenance: where weights and data came from.
        state: a copy of the model's state dict, so that training may go on meanwhile; None takes
            the live one.
    """
    model.save_pretrained(folder, state_dict=base_state(model, model.adapters, state=state))
    write_adapters(folder, model, state=state)
    write_sides(folder, processor, recipe=recipe, provenance=provenance)


def write_sides(
    folder: Path,
    processor: HocketProcessor,
    *,
    recipe: str = "",
    provenance: dict[str, Any] | None = None,
) -> None:
    """Write what stands beside ``config.json`` and the weights, which are there already.

    Args:
        folder: where to write.
        processor: the model's processor.
        recipe: the resolved configuration of the run, as YAML.
        provenance: where weights and data came from.
    """
    processor.save_pretrained(folder)
    _add_shim(folder)
    if recipe:
        (folder / "recipe.yaml").write_text(recipe, encoding="utf-8")
    text = json.dumps(provenance or {}, indent=1, sort_keys=True)
    (folder / "provenance.json").write_text(text, encoding="utf-8")


def find_checkpoint(path: str | Path) -> Path:
    """Return the checkpoint directory of a path, or of the run that the path holds.

    A relative path is looked for here, then in the folders that ``HOCKET_MODELS`` lists.

    Raises:
        CheckpointError: there is none.
    """
    places = (Path(path), *(root / path for root in model_folders()))
    folder = next((place for place in places if place.exists()), None)
    if folder is None:
        raise CheckpointError(f"no folder {path}. Give a checkpoint directory or a run's folder.")
    for candidate in (folder, folder / "model"):
        if (candidate / "config.json").is_file():
            return candidate
    raise CheckpointError(
        f"{folder} holds no config.json, nor does {folder / 'model'}. Give a checkpoint directory; "
        "an unfinished run has them under checkpoints/."
    )


def load_checkpoint(
    path: str | Path, placement: Placement | None = None, *, adapters: bool = True
) -> Loaded:
    """Open a checkpoint strictly: every tensor of the model in the file, and no other.

    Args:
        path: a checkpoint directory or a run's folder.
        placement: devices, number format, attention; float32 on the CPU by default. On the device
            ``meta`` no weight is read: shapes, sizes and the processor are all there is.
        adapters: attach those that the checkpoint holds.

    Raises:
        CheckpointError: it is missing, damaged, of another kind, or a tensor does not fit.
        MissingExtraError: the placement needs a library that is not installed.
    """
    where = placement or Placement()
    folder = find_checkpoint(path)
    if (folder / MANIFEST).exists():
        # A look at every byte costs nothing beside opening a small model, and minutes with a large.
        verify_directory(folder, hashes=_bytes_of(folder) <= _HASHED_BYTES)
    _check_kind(folder)
    report: dict[str, Any] = {}
    try:
        if where.device == "meta":
            config = HocketConfig.from_pretrained(folder, local_files_only=True)
            with torch.device("meta"):
                model = HocketForConditionalGeneration(config)
        else:
            model, report = HocketForConditionalGeneration.from_pretrained(
                folder,
                local_files_only=True,
                output_loading_info=True,
                ignore_mismatched_sizes=True,  # They are reported, and refused below by name.
                **where.arguments(),
            )
        processor = HocketProcessor.from_pretrained(folder, local_files_only=True)
    except HocketError:
        raise
    except _UNOPENABLE as error:
        why = reason(error, max_chars=300).rstrip(".")
        raise CheckpointError(
            f"{folder} cannot be opened: {why}. Use another checkpoint."
        ) from error
    for problem in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if report.get(problem):
            names = sorted(_name_of(key) for key in report[problem])
            raise CheckpointError(
                f"{folder}: {problem.replace('_', ' ')}: {', '.join(names[:3])} "
                f"({len(names)} in all). The weights are not those of config.json."
            )
    assert isinstance(processor.tokenizer, PreTrainedTokenizerFast)
    if where.device != "meta":
        _note_origins(folder, model)
    if adapters and where.device != "meta":
        read_adapters(folder, model)
    if not where.spread:
        model = model.to(where.target())
    return Loaded(model.eval(), processor)


def _note_origins(folder: Path, model: HocketForConditionalGeneration) -> None:
    """Note which files the towers were read from."""
    for name in TOWERS:
        tower = dict(model.model.named_children()).get(name)
        origin = None if tower is None else find_origin(tower, folder.glob("*.safetensors"))
        if origin is not None:
            model.origins[name] = origin


def _bytes_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir() if file.is_file())


def _check_kind(folder: Path) -> None:
    document = _read_object(folder / "config.json")
    kind = document.get("model_type")
    if kind != HocketConfig.model_type:
        raise CheckpointError(
            f"{folder} holds a model of the type {kind!r}; expected 'hocket'. Another system's "
            f"checkpoint is opened by: hocket model import auto {folder} OUT"
        )
    if key := named_code(document):
        raise CheckpointError(
            f"{folder / 'config.json'}: {key} names code of a repository, which is not run. "
            "Remove the key, or use another checkpoint."
        )
    # Transformers opens a folder without some of these, and the model then forgets its media.
    for name in _NEEDED:
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder} lacks {name}. Use another checkpoint.")
    for name in _JSON:
        _read_object(folder / name)


def _read_object(file: Path) -> dict[str, Any]:
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(f"{file} is damaged. Use another checkpoint.") from error
    if not isinstance(document, dict):
        raise CheckpointError(f"{file} holds no JSON object. Use another checkpoint.")
    return document


def _name_of(key: Any) -> str:
    """Name a tensor; one of another shape comes as (name, its shape, the shape expected)."""
    if isinstance(key, str):
        return key
    name, found, expected = key
    return f"{name} {tuple(found)}, expected {tuple(expected)}"


def _add_shim(folder: Path) -> None:
    """Let transformers find the package when nobody imported it."""
    (folder / SHIM).write_text(SHIM_TEXT, encoding="utf-8")
    module = SHIM.removesuffix(".py")
    model = f"{module}.HocketForConditionalGeneration"
    maps = {
        "config.json": {
            "AutoConfig": f"{module}.HocketConfig",
            "AutoModelForMultimodalLM": model,
            "AutoModelForImageTextToText": model,
        },
        "processor_config.json": {"AutoProcessor": f"{module}.HocketProcessor"},
    }
    for name, auto_map in maps.items():
        file = folder / name
        document = json.loads(file.read_text(encoding="utf-8")) | {"auto_map": auto_map}
        file.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")

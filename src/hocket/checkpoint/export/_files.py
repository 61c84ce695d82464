"""The files beside the weights that transformers' own processors open.

``processor_config.json`` is what transformers 5 reads, ``preprocessor_config.json`` what older
versions and other servers read; both say the same.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from PIL import Image as Pil
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

from hocket._errors import CheckpointError
from hocket.checkpoint.export import ACCEPT, ExportOptions, Source
from hocket.checkpoint.export._refusal import refusal
from hocket.checkpoint.export._text import (
    follow_in_template,
    follow_in_tokenizer,
    need_same_tokens,
)
from hocket.checkpoint.tools.tensors import read_json, write_json
from hocket.tokens.tokenizer import IMAGE

# Servers hand over OpenAI's names of parts; our templates know transformers'.
_OPENAI_PARTS = """\
{%- set parts = {'image_url': 'image', 'input_image': 'image', 'audio_url': 'audio',
    'input_audio': 'audio', 'video_url': 'video', 'input_text': 'text'} -%}
{%- set plain = namespace(turns=[]) -%}
{%- for message in messages -%}
  {%- if message.content is defined and message.content and message.content is not string -%}
    {%- set turn = namespace(parts=[]) -%}
    {%- for part in message.content -%}
      {%- set turn.parts = turn.parts + [dict(part, type=parts.get(part.type, part.type))] -%}
    {%- endfor -%}
    {%- set plain.turns = plain.turns + [dict(message, content=turn.parts)] -%}
  {%- else -%}
    {%- set plain.turns = plain.turns + [message] -%}
  {%- endif -%}
{%- endfor -%}
{%- set messages = plain.turns -%}
"""


def write_text_files(
    source: Source, folder: Path, options: ExportOptions, *, processor: str
) -> list[str]:
    """Write tokenizer, chat template and generation options for transformers of any version.

    Args:
        source: the checkpoint.
        folder: where to.
        options: what the caller chose.
        processor: the target's processor class.

    Returns:
        What the user should know about the tokens.

    Raises:
        CheckpointError: the target would tokenise dialogues otherwise than the checkpoint.
    """
    write_ruled_text_files(source, folder, processor=processor)
    return need_same_tokens(source, folder, accept=ACCEPT in options.accept)


def write_ruled_text_files(source: Source, folder: Path, *, processor: str) -> None:
    """Write the same and leave comparing the tokens to the caller."""
    document = follow_in_tokenizer(source, read_json(source.folder / "tokenizer.json"))
    head = _OPENAI_PARTS + follow_in_template(source)
    _write_text(source, folder, document, head, processor=processor)


def write_plain_text_files(source: Source, folder: Path, *, processor: str) -> None:
    """Write the same for a target whose own code follows the checkpoint's rules of text."""
    document = read_json(source.folder / "tokenizer.json")
    _write_text(source, folder, document, _OPENAI_PARTS, processor=processor)


def _write_text(
    source: Source, folder: Path, document: dict[str, Any], head: str, *, processor: str
) -> None:
    write_json(folder / "tokenizer.json", document)
    options = read_json(source.folder / "tokenizer_config.json")
    options.pop("auto_map", None)
    if options.get("tokenizer_class") == "TokenizersBackend":
        options["tokenizer_class"] = "PreTrainedTokenizerFast"
    if isinstance(options.get("extra_special_tokens"), list):
        options["additional_special_tokens"] = options.pop("extra_special_tokens")
    write_json(folder / "tokenizer_config.json", options | {"processor_class": processor})
    template = (source.folder / "chat_template.jinja").read_text(encoding="utf-8")
    (folder / "chat_template.jinja").write_text(head + template, encoding="utf-8")
    if (source.folder / "generation_config.json").is_file():
        shutil.copyfile(source.folder / "generation_config.json", folder / "generation_config.json")


def write_image_processor(folder: Path, image: dict[str, Any], own: dict[str, Any]) -> None:
    """Write the options of pictures and of the processor around them, new form and old.

    Args:
        folder: where to.
        image: options of the image processor.
        own: options of the processor, its class among them.
    """
    write_json(folder / "processor_config.json", own | {"image_processor": image})
    write_json(
        folder / "preprocessor_config.json", image | {"processor_class": own["processor_class"]}
    )


def fixed_image_options(
    layout: dict[str, Any], *, squash: str = "CLIPImageProcessor"
) -> dict[str, Any]:
    """Return transformers' options that prepare pictures as the layout ``image_fixed`` does.

    Args:
        layout: options of the layout.
        squash: the class for pictures that are not cropped.
    """
    side = layout["size"]
    square = {"height": side, "width": side}
    crop = {"do_center_crop": True, "crop_size": square, "size": {"shortest_edge": side}}
    shapes: dict[str, dict[str, Any]] = {
        "squash": {"image_processor_type": squash, "do_center_crop": False, "size": square},
        "crop": {"image_processor_type": "CLIPImageProcessor"} | crop,
        "pad": {"image_processor_type": "LlavaImageProcessor", "do_pad": True} | crop,
    }
    return shapes[layout["fit"]] | pixel_options(layout)


def pixel_options(layout: dict[str, Any]) -> dict[str, Any]:
    """Return transformers' options of resampling, scaling and normalising."""
    return {
        "do_resize": True,
        "resample": int(Pil.Resampling[layout["resample"].upper()]),
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": list(layout["mean"]),
        "image_std": list(layout["std"]),
        "do_convert_rgb": True,
    }


def text_config(source: Source, *, target: str) -> dict[str, Any]:
    """Return the language model's configuration with the name of its class, which servers need.

    Raises:
        CheckpointError: transformers knows no class of it that writes text.
    """
    config = _part(source, "text_config")
    name = MODEL_FOR_CAUSAL_LM_MAPPING_NAMES.get(config["model_type"])
    if not isinstance(name, str):
        raise refusal(target, "model.language.model_type", config["model_type"], "a text model")
    return config | {"architectures": [name], "tie_word_embeddings": tied(source)}


def vision_config(source: Source) -> dict[str, Any]:
    """Return the vision tower's configuration."""
    return _part(source, "vision_config")


def tied(source: Source) -> bool:
    """Return whether the output head is the token table."""
    return bool(source.config.tie_word_embeddings)


def shared_options(source: Source) -> dict[str, Any]:
    """Return what every composite's ``config.json`` says of tokens and types."""
    config = read_json(source.folder / "config.json")
    kept = ("dtype", "pad_token_id", "eos_token_id", "bos_token_id", "transformers_version")
    return {name: config[name] for name in kept if config.get(name) is not None}


def need_placeholder(source: Source) -> int:
    """Return the id of the one token that stands for a picture.

    Raises:
        CheckpointError: the tokenizer splits the placeholder.
    """
    ids = source.processor.tokenizer(IMAGE, add_special_tokens=False)["input_ids"]
    if ids != [source.config.image_token_id]:
        raise CheckpointError(
            f"{source.folder}: the tokenizer makes {ids} of {IMAGE}, expected "
            f"[{source.config.image_token_id}]. Use another checkpoint."
        )
    return int(ids[0])


def video_notes(source: Source) -> list[str]:
    """Return a note when the checkpoint takes videos and the target takes none."""
    if source.processor.sampler is None:
        return []
    return ["videos: the target takes pictures only; sample frames yourself and give them as such."]


def _part(source: Source, name: str) -> dict[str, Any]:
    config = read_json(source.folder / "config.json").get(name)
    if not isinstance(config, dict):
        raise CheckpointError(f"{source.folder / 'config.json'} has no {name}.")
    return config

"""Image processors of transformers as options of Hocket's layouts.

``preprocessor_config.json`` is what older versions write, ``processor_config.json`` with a nested
``image_processor`` what transformers 5 writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from PIL import Image as Pil

from hocket._errors import CheckpointError
from hocket.checkpoint.import_.language import config_options
from hocket.checkpoint.import_.native import PROJECTOR, VISION, Native
from hocket.checkpoint.import_.projector import TARGET
from hocket.checkpoint.import_.table import Move, Rule
from hocket.checkpoint.import_.tower import selected_layer, tower_rules
from hocket.checkpoint.tools.tensors import read_json
from hocket.model.spec import Options, PartSpec, TowerSpec

TOWERS = ("clip_vision_model", "siglip_vision_model")
_LEADING = {"clip_vision_model": 1, "siglip_vision_model": 0, "internvl_vision": 1}
_CLIP = ((0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711))
_HALF = ((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))
_IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
# Mean and deviation of each tower's own processor.
_COLOURS = {
    "clip_vision_model": _CLIP,
    "siglip_vision_model": _HALF,
    "internvl_vision": _IMAGENET,
    "aimv2_vision_model": _CLIP,
}
# Classes that crop the middle unless told otherwise.
_CROPPING = ("CLIPImageProcessor", "LlavaImageProcessor", "LlavaNextImageProcessor")
_BYTE = 1 / 255


def image_document(folder: Path) -> Mapping[str, Any]:
    """Return the options of a folder's image processor; none without its files."""
    file = folder / "preprocessor_config.json"
    if file.is_file():
        return read_json(file)
    file = folder / "processor_config.json"
    found = read_json(file).get("image_processor") if file.is_file() else None
    return found if isinstance(found, dict) else {}


def pixel_options(document: Mapping[str, Any], model_type: str) -> Options:
    """Return resampling, mean and deviation of an image processor.

    Args:
        document: its options.
        model_type: the tower's, whose own numbers count where the file has none.

    Raises:
        CheckpointError: pixels are scaled in another way than to 0..1.
    """
    factor = document.get("rescale_factor", _BYTE)
    if not document.get("do_rescale", True) or abs(factor - _BYTE) > 1e-9:
        raise CheckpointError(
            f"the image processor scales pixels by {factor!r} (do_rescale "
            f"{document.get('do_rescale', True)}), expected 1/255. This importer cannot open it."
        )
    mean, std = _COLOURS[model_type]
    if not document.get("do_normalize", True):
        mean, std = (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)
    else:
        mean, std = document.get("image_mean", mean), document.get("image_std", std)
    resample = Pil.Resampling(document.get("resample", Pil.Resampling.BICUBIC))
    return {"mean": list(mean), "std": list(std), "resample": resample.name.lower()}


def fit_of(document: Mapping[str, Any], model_type: str, size: int) -> str:
    """Return how pictures become square.

    Args:
        document: options of an image processor.
        model_type: the tower's.
        size: side of the tower's picture in pixels.

    Raises:
        CheckpointError: it makes pictures of another size.
    """
    kind = str(document.get("image_processor_type", "")).removesuffix("Fast")
    default = kind in _CROPPING or (not kind and model_type == "clip_vision_model")
    crop = document.get("do_center_crop", default)
    wanted = {"height": size, "width": size}
    sides: dict[str, Any] = {"size": document.get("size", wanted)}
    if crop:
        sides["crop_size"] = document.get("crop_size", wanted)
    for key, found in sides.items():
        values = set(found.values()) if isinstance(found, dict) else {found}
        if values != {size}:
            raise CheckpointError(
                f"the image processor's {key} is {found}, but the vision tower takes {size} "
                "pixels. This importer cannot open it."
            )
    if document.get("do_pad", False) and kind == "LlavaImageProcessor":
        return "pad"
    return "crop" if crop else "squash"


def square_side(native: Native) -> int:
    """Return the side of the vision tower's picture in pixels."""
    size = native.config.vision_config.image_size
    return int(size if isinstance(size, int) else size[0])


def fixed_layout(native: Native) -> tuple[PartSpec, tuple[str, ...]]:
    """Return the layout of one square per picture, and a note where a file is missing."""
    document = image_document(native.origin.folder)
    model_type = native.config.vision_config.model_type
    fit = fit_of(document, model_type, square_side(native))
    options = {"fit": fit} | pixel_options(document, model_type)
    return PartSpec(kind="image_fixed", options=dict(options)), missing_note(document)


def missing_note(document: Mapping[str, Any]) -> tuple[str, ...]:
    """Return a note that says what counts where a folder has no image processor."""
    if document:
        return ()
    return ("pictures: no preprocessor_config.json, so the numbers of the tower's own count",)


def read_vision(native: Native, layout: PartSpec, **more: Any) -> TowerSpec:
    """Return a CLIP or SigLIP tower with two linear layers behind it.

    Args:
        native: the checkpoint.
        layout: how pictures are cut.
        **more: further fields of the tower.

    Raises:
        CheckpointError: the tower or how it is read has no counterpart.
    """
    model_type = str(native.config.vision_config.model_type)
    if model_type not in TOWERS:
        raise CheckpointError(
            f"vision_config.model_type is {model_type!r}, expected {' or '.join(TOWERS)}. "
            "This importer cannot open it."
        )
    options = config_options(native.part("vision_config"), model_type)
    return TowerSpec(
        model_type=model_type,
        config=options,
        layer=selected_layer(model_type, options, one_layer(native)),
        drop=dropped(native, model_type),
        layout=layout,
        connector=PartSpec(
            kind="mlp", options={"depth": 2, "bias": bool(native.config.multimodal_projector_bias)}
        ),
        **more,
    )


def dropped(native: Native, model_type: str) -> int:
    """Return how many leading positions ``vision_feature_select_strategy`` leaves out.

    Raises:
        CheckpointError: what it selects is no grid of patches.
    """
    strategy = native.config.vision_feature_select_strategy
    leading = _LEADING[model_type]
    if {"default": 1, "full": 0}.get(strategy) != leading:
        expected = "default" if leading else "full"
        raise CheckpointError(
            f"vision_feature_select_strategy is {strategy!r} on a {model_type!r}: what it selects "
            f"is no grid of patches. Expected {expected!r} there."
        )
    return leading


def one_layer(native: Native) -> int:
    """Return ``vision_feature_layer``.

    Raises:
        CheckpointError: it names several layers.
    """
    layer = native.config.vision_feature_layer
    if not isinstance(layer, int):
        raise CheckpointError(
            f"vision_feature_layer is {layer}, expected one number. This importer cannot open it."
        )
    return layer


def tiled_layout(native: Native, kind: str, more: Options) -> tuple[PartSpec, tuple[str, ...]]:
    """Return a layout of tiles behind an overview, and a note where a file is missing.

    Args:
        native: the checkpoint.
        kind: the layout.
        more: options of it beside the grids and the pixels.

    Raises:
        CheckpointError: a grid is no multiple of the tower's picture.
    """
    document = image_document(native.origin.folder)
    side = square_side(native)
    pairs = [(int(high), int(wide)) for high, wide in native.config.image_grid_pinpoints]
    if not pairs or any(pixels % side for pair in pairs for pixels in pair):
        raise CheckpointError(
            f"image_grid_pinpoints is {pairs}, expected multiples of the tower's {side} pixels."
        )
    grids = [f"{wide // side}x{high // side}" for high, wide in pairs]
    pixels = pixel_options(document, native.config.vision_config.model_type)
    options = {"grids": grids} | pixels | more
    return PartSpec(kind=kind, options=dict(options)), missing_note(document)


def tiled_rules() -> tuple[Rule, ...]:
    """Return the rules of a tower, two linear layers and the learned line end."""
    return (
        *linear_rules(),
        Move(r"(?:model\.)?image_newline", "model.image_arrange.image_newline"),
    )


def linear_rules() -> tuple[Rule, ...]:
    """Return the rules of a CLIP or SigLIP tower and two linear layers."""
    return (
        *tower_rules(VISION),
        Move(rf"{PROJECTOR}(linear_[12]\.(?:weight|bias))", rf"{TARGET}.\1"),
    )

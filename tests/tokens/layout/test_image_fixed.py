from __future__ import annotations

import numpy as np
import pytest
from PIL import Image as Pil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.siglip.image_processing_pil_siglip import SiglipImageProcessorPil

from hocket._errors import ConfigError
from hocket.tokens.layout._pixels import Filter, Fit
from hocket.tokens.layout.image_fixed import ImageFixed

SIZES = [
    (224, 224),
    (1, 1),
    (1, 50),
    (50, 1),
    (3, 200),
    (37, 53),
    (480, 640),
    (640, 480),
    (225, 223),
    (1000, 301),
    (224, 500),
]
MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def pixels(height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(height * 1000 + width)
    return rng.integers(0, 256, (height, width, 3), dtype=np.uint8)


def cut(layout: ImageFixed, array: np.ndarray) -> np.ndarray:
    return layout.units(array[None], layout.plan(*array.shape[:2]))


def twin(processor: CLIPImageProcessorPil, array: np.ndarray) -> np.ndarray:
    return np.asarray(processor(Pil.fromarray(array), return_tensors="np")["pixel_values"])


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("size", [32, 224])
def test_crop_is_clips_preprocessing(height: int, width: int, size: int) -> None:
    array = pixels(height, width)
    own = cut(ImageFixed(size=size, fit=Fit.CROP, mean=MEAN, std=STD), array)
    clip = CLIPImageProcessorPil(
        size={"shortest_edge": size}, crop_size={"height": size, "width": size}
    )
    assert own.dtype == np.float32
    np.testing.assert_allclose(own, twin(clip, array), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("height", "width"), SIZES)
@pytest.mark.parametrize("size", [32, 224])
def test_squash_is_siglips_preprocessing(height: int, width: int, size: int) -> None:
    array = pixels(height, width)
    own = cut(ImageFixed(size=size), array)
    siglip = SiglipImageProcessorPil(
        size={"height": size, "width": size}, resample=Pil.Resampling.BICUBIC
    )
    np.testing.assert_allclose(own, twin(siglip, array), rtol=0, atol=1e-6)


@pytest.mark.parametrize(("height", "width"), SIZES)
def test_pad_is_llavas_preprocessing(height: int, width: int) -> None:
    array = pixels(height, width)
    own = cut(ImageFixed(fit=Fit.PAD, mean=MEAN, std=STD), array)
    square = expand2square(Pil.fromarray(array), tuple(int(x * 255) for x in MEAN))
    np.testing.assert_allclose(
        own, twin(CLIPImageProcessorPil(), np.asarray(square)), rtol=0, atol=1e-6
    )


@pytest.mark.parametrize("resample", Filter)
def test_every_filter_is_pils(resample: Filter) -> None:
    array = pixels(37, 53)
    own = ImageFixed(size=16, patch=4, resample=resample, mean=(0, 0, 0), std=(1, 1, 1))
    pil = Pil.fromarray(array).resize((16, 16), Pil.Resampling[resample.name])
    np.testing.assert_allclose(cut(own, array)[0].transpose(1, 2, 0), np.asarray(pil) / 255)


def test_the_plan_does_not_depend_on_the_picture() -> None:
    layout = ImageFixed(size=28, patch=14, rows_per_unit=3)
    assert layout.plan(1, 900) == layout.plan(28, 28)
    assert layout.plan(28, 28).patches == (2, 2)
    assert layout.plan(28, 28).rows == 3
    assert ImageFixed(size=28, patch=14).plan(5, 5).grid == (1, 2, 2)
    # 81 positions of 1152 pixels, as S2 makes them of 27 x 27 squares: no whole patch gives that.
    assert ImageFixed(size=1152, patch=14, side=81).plan(5, 5).patches == (81, 81)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"patch": 0}, "patch is 0"),
        ({"size": 8}, "size is 8"),
        ({"side": -1}, "side is -1"),
        ({"std": (0.5, 0.0, 0.5)}, "std is"),
    ],
)
def test_impossible_numbers_are_refused(options: dict[str, int], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        ImageFixed(**options)  # type: ignore[arg-type] # the numbers are of the fields' types


def expand2square(picture: Pil.Image, colour: tuple[int, ...]) -> Pil.Image:
    """LLaVA's function, from llava/mm_utils.py."""
    width, height = picture.size
    if width == height:
        return picture
    if width > height:
        result = Pil.new(picture.mode, (width, width), colour)
        result.paste(picture, (0, (width - height) // 2))
        return result
    result = Pil.new(picture.mode, (height, height), colour)
    result.paste(picture, ((height - width) // 2, 0))
    return result

"""The packaged models have the sizes and token counts of the systems they are named after."""

from __future__ import annotations

import pytest
from tests.checkpoint.import_.parity import note
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from hocket.cli._compose import compose_run, options_of
from hocket.model.build import Built, build
from hocket.model.spec import ModelSpec

# Parameters in billions as published, and rows of a square picture of the tower's own size.
SIZES = {
    "llava15_7b": (7.06, 336, 576),
    "llava16_7b": (7.06, 336, 1176),
    "vila15_8b": (8.48, 384, 196),
    "navila_8b": (8.48, 384, 196),
    "nvila_lite_8b": (8.09, 448, 121),
    "vita15_7b": (8.32, 448, 256),
    "ovis2_8b": (8.94, 448, 259),
    "ovis25_9b": (9.17, 448, 198),
    "hydra_video": (2.16, 336, 576),
    "clip_mistral_7b": (7.57, 336, 576),
    "internvit_llama_70b": (76.26, 448, 256),
}


def described(name: str) -> Built:
    spec: ModelSpec = compose_run([f"model={name}"]).model
    return build(spec, weights=False)


def test_every_packaged_model_is_here() -> None:
    small = {"tiny", "llava15_tiny", "rooms_nav"}
    assert set(options_of("model")) - small == set(SIZES)


@pytest.mark.parametrize("name", SIZES)
def test_sizes_are_those_of_the_original(name: str) -> None:
    billions, side, rows = SIZES[name]
    model, processor = described(name)
    assert model.num_parameters() / 1e9 == pytest.approx(billions, abs=0.02)
    assert processor.images is not None
    assert processor.images.plan(side, side).rows == rows
    assert model.config.text_config.model_type in CONFIG_MAPPING
    note("build", model.num_parameters() / 1e9)


def test_a_walk_is_eight_pictures() -> None:
    _, processor = described("navila_8b")
    assert processor.films is not None and processor.sampler is not None
    picked = processor.sampler.pick(100, 10.0)
    assert (len(picked), picked[-1]) == (8, 99)
    assert processor.films.plan(480, 640, frames=8).rows == 8 * 196

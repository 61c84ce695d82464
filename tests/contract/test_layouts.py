"""What every layout must do; a new file is tested without being named here."""

from __future__ import annotations

import dataclasses
import inspect
import io
import json
from typing import Any

import numpy as np
import pytest
import soundfile

from hocket._errors import ConfigError
from hocket.media.audio import Audio
from hocket.tokens.cutter import MediaCutter
from hocket.tokens.layout import layout_from, layouts, options_of

KINDS = layouts.names()
SIZES = [(20, 30), (1, 40), (224, 224), (700, 90)]
LENGTHS = [1, 400, 16000, 500000]
# Options that keep the units of a picture few and small; other layouts take their defaults.
SMALL: dict[str, dict[str, Any]] = {
    "image_anyres": {"size": 28},
    "image_covering": {"size": 28},
    "image_dynamic_s2": {"size": 28},
    "image_frame_cat": {"size": 28},
    "image_onevision": {"size": 28},
    "image_tiles": {"size": 28},
}

# Learned rows end lines, tiles and videos, so the rows are no multiple of the connector's.
LINES = {"image_covering", "image_onevision"}


def takes_sound(kind: str) -> bool:
    return "rate" in {field.name for field in dataclasses.fields(layouts.get(kind))}  # type: ignore[arg-type] # layouts are dataclasses


SOUND = [kind for kind in KINDS if takes_sound(kind)]
SIGHT = [kind for kind in KINDS if not takes_sound(kind)]


def test_both_kinds_of_layout_are_registered() -> None:
    assert SOUND
    assert SIGHT


@pytest.mark.parametrize("kind", KINDS)
def test_options_survive_json(kind: str) -> None:
    layout = layout_from({"kind": kind})
    options = json.loads(json.dumps(options_of(layout)))
    assert options["kind"] == kind
    assert layout_from(options) == layout
    assert options_of(layout_from(options)) == options_of(layout)


@pytest.mark.parametrize("kind", KINDS)
def test_options_are_documented_and_checked(kind: str) -> None:
    cls = layouts.get(kind)
    text = inspect.getdoc(cls) or ""
    assert inspect.getmodule(cls).__doc__
    for field in dataclasses.fields(cls):  # type: ignore[arg-type] # layouts are dataclasses
        assert f"{field.name}: " in text, f"{kind} does not describe {field.name}"
        with pytest.raises(ConfigError, match=rf"layout '{kind}', option '{field.name}"):
            layout_from({"kind": kind, field.name: {"no": "value"}})  # type: ignore[dict-item] # wrong on purpose
    with pytest.raises(ConfigError, match=rf"layout '{kind}' has no option 'colour'"):
        layout_from({"kind": kind, "colour": 1})


def seen(kind: str, **options: Any) -> Any:
    return layout_from({"kind": kind, **SMALL.get(kind, {}), **options})


@pytest.mark.parametrize(("frames", "media"), [(None, 1), (None, 3), (1, 1), (5, 1)])
@pytest.mark.parametrize("kind", SIGHT)
def test_pictures_and_videos_fill_their_plan(kind: str, frames: int | None, media: int) -> None:
    layout = seen(kind)
    for height, width in SIZES:
        plan = layout.plan(height, width, frames=frames, media=media)
        pixels = np.full((frames or 1, height, width, 3), 90, np.uint8)
        before = pixels.copy()
        units = layout.units(pixels, plan)
        assert units.dtype == np.float32
        assert len(units) == plan.units
        assert plan.pieces is None or sum(plan.pieces) == plan.rows
        assert units.shape[1:] == layout.units(pixels[:1], layout.plan(height, width)).shape[1:]
        assert np.array_equal(pixels, before)
        assert np.array_equal(units, layout.units(pixels, plan))


@pytest.mark.parametrize("media", [1, 3])
@pytest.mark.parametrize("kind", SIGHT)
def test_a_picture_gets_smaller_step_by_step_and_ends(kind: str, media: int) -> None:
    layout = seen(kind)
    for height, width in [(20, 30), (224, 224), (700, 90)]:
        pixels = np.full((1, height, width, 3), 90, np.uint8)
        plan, steps = layout.plan(height, width, media=media), 0
        while (smaller := layout.smaller(plan, height, width, media=media)) is not None:
            assert smaller.units < plan.units
            # A map that was resized for its size may be whole again with fewer tiles.
            assert smaller.rows <= plan.rows or kind in LINES
            assert len(layout.units(pixels, smaller)) == smaller.units > 0
            plan, steps = smaller, steps + 1
            assert steps < 50


@pytest.mark.parametrize("frames", [None, 5])
@pytest.mark.parametrize("kind", SIGHT)
def test_rows_follow_the_connector(kind: str, frames: int | None) -> None:
    for height, width in SIZES:
        bare = seen(kind, rows_per_unit=4).plan(height, width, frames=frames)
        more = seen(kind, rows_per_unit=16).plan(height, width, frames=frames)
        assert more.rows > bare.rows if kind in LINES else more.rows == 4 * bare.rows
        assert more.units == bare.units
        learned = seen(kind, rows_per_unit=4, extra_rows=2).plan(height, width, frames=frames)
        assert learned.rows == bare.rows + 2
        assert learned.pieces is None or sum(learned.pieces) == learned.rows


@pytest.mark.parametrize("kind", SOUND)
def test_sounds_fill_their_plan(kind: str) -> None:
    layout: Any = layout_from({"kind": kind})
    for samples in LENGTHS:
        plan = layout.plan(samples)
        wave = np.random.default_rng(0).standard_normal(samples).astype(np.float32)
        before = wave.copy()
        units = layout.units(wave, plan)
        assert units.dtype == np.float32
        assert len(units) == plan.units == len(layout.lengths(plan))
        assert plan.rows == np.prod(plan.grid)
        assert layout.capacity(plan) >= samples
        assert layout.plan(layout.capacity(plan)).rows == plan.rows
        assert all(0 < length <= plan.patches[1] for length in layout.lengths(plan))
        assert np.array_equal(wave, before)


@pytest.mark.parametrize("rate", [8000, 11025, 16000, 22050, 44100, 48000, 96000])
@pytest.mark.parametrize("kind", SOUND)
def test_stereo_of_every_rate_fills_its_plan(kind: str, rate: int) -> None:
    layout: Any = layout_from({"kind": kind})
    planes = np.random.default_rng(rate).uniform(-0.3, 0.3, (rate, 2)).astype(np.float32)
    stream = io.BytesIO()
    soundfile.write(stream, planes, rate, format="WAV", subtype="FLOAT")
    sound = Audio.from_bytes(stream.getvalue())
    plan = layout.plan(sound.frames(layout.rate, resampler=layout.resampler))
    wave = sound.load(layout.rate, resampler=layout.resampler)
    mono = Audio.from_array(planes.mean(axis=1), rate=rate)
    same = mono.load(layout.rate, resampler=layout.resampler)
    units = layout.units(wave, plan)
    assert len(units) == plan.units
    assert abs(len(wave) - layout.rate) <= 1
    np.testing.assert_allclose(units, layout.units(same, plan), atol=2e-2)


@pytest.mark.parametrize("kind", SOUND)
def test_long_sounds_are_cut_into_chunks_without_losing_a_row(kind: str) -> None:
    layout: Any = layout_from({"kind": kind})
    short, long = layout.plan(layout.rate * 20), layout.plan(layout.rate * 200)
    assert long.units > short.units
    assert long.rows == pytest.approx(10 * short.rows, rel=0.01)
    wave = np.random.default_rng(0).standard_normal(layout.rate * 200).astype(np.float32)
    units = layout.units(wave, long)
    assert len(units) == long.units
    # What is said at the end is in the last units, whatever the cut.
    other = wave.copy()
    other[-layout.rate // 2 :] = 0
    assert not np.allclose(units[-2:], layout.units(other, long)[-2:], atol=1e-2)


@pytest.mark.parametrize("kind", ["audio_fbank", "audio_mel", "audio_wave"])
def test_the_first_channel_can_be_chosen(kind: str) -> None:
    layout: Any = layout_from({"kind": kind, "mix": "first"})
    media = MediaCutter(None, None, layout, None)
    assert media.mix == "first"
    assert MediaCutter(None, None, layout_from({"kind": kind}), None).mix == "mean"  # type: ignore[arg-type] # a layout of sound

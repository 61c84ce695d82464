"""The recorded preprocessing of the originals, number by number."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hocket.tokens.layout import ImageLayout
from hocket.tokens.layout._pixels import Filter, Fit, cut, resize, rows_grid, to_square
from hocket.tokens.layout._tiling import tile_grid
from hocket.tokens.layout.image_anyres import ImageAnyres, Merge
from hocket.tokens.layout.image_dynamic_s2 import ImageDynamicS2
from hocket.tokens.layout.image_fixed import ImageFixed
from hocket.tokens.layout.image_native import ImageNative, smart_size
from hocket.tokens.layout.image_tiles import ImageTiles

GOLDEN = Path(__file__).parents[2] / "golden"
CLIP: dict[str, Any] = {
    "mean": (0.48145466, 0.4578275, 0.40821073),
    "std": (0.26862954, 0.26130258, 0.27577711),
}
HALF: dict[str, Any] = {"mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5)}
NATIVE: dict[str, Any] = {
    f"{name}{end}": value
    for name in ("", "several_", "video_")
    for end, value in (("min_pixels", 1024), ("max_pixels", 4096))
}


def recorded(item: str) -> Any:
    return np.load(GOLDEN / item / "pixels.npz")


def units(layout: ImageLayout, pixels: np.ndarray, **where: int) -> np.ndarray:
    frames = pixels if pixels.ndim == 4 else pixels[None]
    plan = layout.plan(*frames.shape[1:3], **where)
    made = layout.units(frames, plan)
    assert len(made) == plan.units
    return made


def close(made: np.ndarray, wanted: np.ndarray) -> None:
    assert made.shape == wanted.shape
    np.testing.assert_allclose(made, wanted, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("item", "layout", "picture", "wanted"),
    [
        ("llava15", ImageFixed(size=56, fit=Fit.PAD, **CLIP), "picture", "units"),
        ("towers", ImageFixed(size=56), "picture", "siglip"),
        ("towers", ImageFixed(size=56, fit=Fit.CROP, **CLIP), "picture", "clip"),
        ("towers", ImageFixed(size=56, fit=Fit.CROP, **CLIP), "picture", "eva"),
        ("towers", ImageFixed(size=112, patch=28), "picture", "siglip_s2"),
        (
            "llava_clip_s2",
            ImageFixed(size=126, patch=42, fit=Fit.CROP, **CLIP),
            "picture",
            "units",
        ),
        ("navila", ImageFixed(size=70), "frames", "units"),
        ("vita15", ImageTiles(size=56, max_tiles=6), "picture", "units"),
        ("vila2", ImageTiles(size=56, max_tiles=6, **HALF), "picture", "units"),
    ],
)
def test_units_are_those_of_the_original(
    item: str, layout: ImageLayout, picture: str, wanted: str
) -> None:
    given = recorded(item)
    for pixels, unit in (
        zip(given[picture], given[wanted], strict=True)
        if given[picture].ndim == 4
        else [(given[picture], None)]
    ):
        close(units(layout, pixels), given[wanted] if unit is None else unit[None])


def test_frames_and_pictures_among_several_are_not_tiled() -> None:
    given = recorded("vita15")
    layout = ImageTiles(size=56, max_tiles=6, fit=Fit.CROP)
    close(units(layout, given["frame"], frames=1), given["frame_units"])
    three = np.stack([given["frame"]] * 3)
    close(units(layout, three, frames=3), np.concatenate([given["frame_units"]] * 3))
    given = recorded("vila2")
    layout = ImageTiles(size=56, max_tiles=6, tile_several=False, **HALF)
    for name, wanted in zip(("picture", "second"), given["several"], strict=True):
        close(units(layout, given[name], media=2), wanted[None])
    assert layout.plan(60, 130, media=2).units == 1 < layout.plan(60, 130).units


@pytest.mark.parametrize("number", range(4))
def test_anyres_units_are_those_of_llava16(number: int) -> None:
    given = recorded("llava16_anyres")
    grids = tuple(f"{wide // 56}x{high // 56}" for wide, high in given["pinpoints"])
    layout = ImageAnyres(size=56, grids=grids, merge=Merge.UNPAD)
    close(units(layout, given[f"picture{number}"]), given[f"units{number}"])


def test_native_patches_are_those_of_ovis() -> None:
    given = recorded("ovis25")
    layout = ImageNative(patch=8, **NATIVE)
    made = [units(layout, given[name]).reshape(-1, 192) for name in ("first", "second")]
    close(np.concatenate(made), given["patches"])
    for name, (steps, high, wide) in zip(("first", "second"), given["grids"], strict=True):
        plan = layout.plan(*given[name].shape[:2])
        assert plan.grid == (steps, high // 2, wide // 2)
    frames = given["frames"]
    close(units(layout, frames, frames=5).reshape(-1, 192), given["video_patches"])


def test_native_pictures_share_a_budget_and_videos_have_their_own() -> None:
    given = recorded("ovis25")
    layout = ImageNative(patch=8, **NATIVE | {"several_max_pixels": -1, "video_max_pixels": 2048})
    means = []
    for name, (_, high, wide) in zip(("first", "second"), given["several_grids"], strict=True):
        plan = layout.plan(*given[name].shape[:2], media=2)
        assert plan.grid == (1, high // 2, wide // 2)
        means.append(layout.units(given[name][None], plan).reshape(-1, 192).mean(axis=1))
    close(np.concatenate(means), given["several_rowmean"])
    steps, high, wide = given["small_video_grid"][0]
    assert layout.plan(*given["frames"].shape[1:3], frames=3).grid == (steps, high // 2, wide // 2)


def read(name: str) -> Any:
    content = json.loads((GOLDEN / name).read_text())
    return content if isinstance(content, list) else content["vectors"]


def test_smart_sizes_are_those_of_ovis() -> None:
    vectors = read("ovis25/smart_resize.json")
    assert len(vectors) == 80
    for one in vectors:
        size = smart_size(
            one["height"],
            one["width"],
            cell=one["factor"],
            least=one["min_pixels"],
            most=one["max_pixels"],
        )
        assert list(size) == one["out"], one


def test_grids_of_tiles_are_those_of_vita() -> None:
    for one in read("pure_vita/dynamic_preprocess.json"):
        width, height = one["size"]
        down, across = tile_grid(
            height, width, size=one["image_size"], least=one["min_num"], most=one["max_num"]
        )
        overview = one["thumbnail"] and down * across > 1
        assert [across, down] == one["grid_cols_rows"], one
        assert down * across + overview == one["patch_num"], one


def test_tilings_are_those_of_vila() -> None:
    for one in read("pure_vila/tiling.json"):
        width, height = one["size"]
        if one["kind"] == "dynamic":
            tiles = ImageTiles(
                size=one["image_size"], min_tiles=one["min_num"], max_tiles=one["max_num"]
            )
            plan = tiles.plan(height, width)
            assert [plan.tiles[1] * tiles.size, plan.tiles[0] * tiles.size] == one["resizes"][0]
        else:
            scales = tuple(one["s2_scales"])
            layout = ImageDynamicS2(size=scales[0], scales=scales, max_tiles=one["max_num"])
            plan = layout.plan(height, width)
            assert list(plan.tiles) == one["block_size_hw"], one
            assert [plan.tiles[1] * scales[0], plan.tiles[0] * scales[0]] == one["resizes"][-1]
        assert plan.units == one["n"], one


def test_anyres_rows_are_those_of_llava() -> None:
    for one in read("pure_llava/anyres.json"):
        (width, height), size = one["size"], one["patch"]
        layout = ImageAnyres(
            size=size,
            patch=size // one["side"],
            grids=tuple(f"{wide // size}x{high // size}" for wide, high in one["grid"]),
            merge=Merge.UNPAD,
        )
        plan = layout.plan(height, width)
        assert list(plan.tiles[::-1]) == one["grid_shape"], one
        assert list(plan.grid[1:]) == one["unpadded_hw"], one
        assert plan.rows == one["n_visual_tokens"], one


def test_tiles_are_cut_row_by_row() -> None:
    picture = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3)
    tiles = cut(picture, 2)
    assert tiles.shape == (6, 2, 2, 3)
    assert np.array_equal(tiles[1], picture[:2, 2:4])
    assert np.array_equal(tiles[3], picture[2:, :2])


def test_a_picture_of_the_right_size_is_not_resampled() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    assert resize(picture, 5, 7, Filter.LANCZOS) is picture


def test_the_grid_of_rows_is_square_where_it_can_be() -> None:
    assert rows_grid(9) == (1, 3, 3)
    assert rows_grid(9, (2, 3)) == (1, 6, 9)
    assert rows_grid(10) == (1, 1, 10)
    assert rows_grid(10, (2, 3)) == (1, 6, 10)


def test_the_longest_edge_gets_the_size_and_grey_fills_the_rest() -> None:
    pixels = np.full((20, 40, 3), 7, np.uint8)
    for given, seen in ((pixels, (32, 64)), (pixels.swapaxes(0, 1), (64, 32))):
        made = to_square(given, 64, fit=Fit.LONGEST, resample=Filter.BICUBIC, mean=(0.5, 0.5, 0.5))
        assert made.shape == (64, 64, 3)
        assert (made[: seen[0], : seen[1]] == 7).all()
        assert (made == 116).all(axis=-1).sum() == 64 * 32

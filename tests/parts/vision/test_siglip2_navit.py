from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from einops import rearrange
from safetensors.torch import load_file
from tests.parts.vision.imported import imported
from torch import Tensor
from torch.nn import functional
from transformers import AutoConfig

from hocket._errors import ConfigError
from hocket.checkpoint.import_.keys_navit import navit_rules, vocab_rules
from hocket.parts.connector.visual_vocab import VisualVocab
from hocket.parts.features import Features
from hocket.parts.vision.siglip2_navit import (
    Siglip2Navit,
    Siglip2NavitModel,
    window_cells,
    window_order,
)
from hocket.tokens.span import Modality

GOLDEN = Path(__file__).parents[2] / "golden" / "ovis25"
TINY: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 4,
    "window_size": 20,
}
GRIDS = [(2, 3, 5), (1, 1, 4), (1, 4, 4)]


def spans_of(grids: list[tuple[int, int, int]]) -> Tensor:
    return torch.tensor([[t * h * w, 0, t, h, w, 1, 1] for t, h, w in grids])


def tiny(**options: Any) -> Siglip2NavitModel:
    config = AutoConfig.for_model("siglip2_navit", **(TINY | options))
    torch.manual_seed(0)
    tower = Siglip2NavitModel(config).eval()
    for value in tower.parameters():
        value.data = value + 0.2 * torch.randn_like(value)
    return tower


def read(tower: Siglip2NavitModel, units: Tensor, spans: Tensor, layer: int = -1) -> Tensor:
    with torch.inference_mode():
        return Siglip2Navit.encode(tower, units, {"layer": layer, "drop": 0}, spans)


def of_ovis() -> tuple[Siglip2NavitModel, dict[str, Tensor]]:
    """Return the recorded tower and the other weights of the visual tokenizer."""
    options = json.loads((GOLDEN / "vit_config.json").read_text("utf-8"))
    names = ("_attn_implementation_autoset", "attention_dropout", "model_type")
    config = AutoConfig.for_model(
        "siglip2_navit", **{key: value for key, value in options.items() if key not in names}
    )
    stored = load_file(GOLDEN / "navit.safetensors")
    vit = {key: value for key, value in stored.items() if ".vit." in key}
    rest = {key: value for key, value in stored.items() if ".vit." not in key}
    return imported(Siglip2NavitModel(config), vit, navit_rules()), rest


def test_features_are_those_of_ovis() -> None:
    tower, _ = of_ovis()
    golden = load_file(GOLDEN / "features.safetensors")
    cells = [(t, h // 2, w // 2) for t, h, w in golden["vit.grid_thws"].tolist()]
    units = rearrange(golden["vit.pixel_values"], "(u p) k -> u p k", p=4)
    for layer, name in ((0, "vit.embeddings"), (1, "vit.layer0")):
        x = rearrange(read(tower, units, spans_of(cells), layer), "u p c -> (u p) c")
        torch.testing.assert_close(x, golden[name], rtol=0, atol=1e-5)
    x = rearrange(read(tower, units, spans_of(cells)), "u p c -> u (p c)")
    torch.testing.assert_close(x, golden["vit.features"], rtol=0, atol=1e-5)

    order: list[int] = []
    ends = [0]
    for t, h, w in cells:
        start = len(order)
        for window in window_order((t, h, w), window_cells(tower.config)):
            order += [start + cell for cell in window]
            ends.append(ends[-1] + 4 * len(window))
    assert order == golden["vit.window_index"].tolist()
    assert ends == golden["vit.cu_window_seqlens"].unique_consecutive().tolist()


def by_hand(tower: Siglip2NavitModel, units: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """Run the tower on one film patch by patch, with a mask for who sees whom."""
    config, (t, h, w) = tower.config, grid
    head = config.hidden_size // config.num_attention_heads
    reach = window_cells(config)
    table = tower.position_embedding.weight.view(8, 8, -1).permute(2, 0, 1)[None]
    table = functional.interpolate(table, size=(2 * h, 2 * w), mode="bicubic")[0]
    places = [
        (time, 2 * row + a, 2 * column + b)
        for time in range(t)
        for row in range(h)
        for column in range(w)
        for a in range(2)
        for b in range(2)
    ]
    x = tower.patch_embedding(units.reshape(len(places), -1))
    x = x + torch.stack([table[:, row, column] for _, row, column in places])
    frequency = [10000 ** (-2 * i / (head // 2)) for i in range(head // 4)]
    angle = torch.tensor([[p * f for p in place[1:] for f in frequency] for place in places])
    half = head // 2

    def turn(values: Tensor) -> Tensor:
        a, b = values[..., :half], values[..., half:]
        cos, sin = angle.cos()[:, None], angle.sin()[:, None]
        return torch.cat([a * cos - b * sin, b * cos + a * sin], dim=-1)

    windows = torch.tensor([[f, r // 2 // reach, c // 2 // reach] for f, r, c in places])
    frames = windows[:, :1]
    full = {int(number) for number in config.fullatt_block_indexes.split("|")}
    for number, layer in enumerate(tower.layers):
        keys = frames if number in full else windows
        seen = (keys[:, None] == keys[None]).all(dim=-1)
        normed = layer.layer_norm1(x)
        q, k, v = (
            project(normed).view(len(places), -1, head)
            for project in (layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj)
        )
        scores = torch.einsum("nae,mae->anm", turn(q), turn(k)) * head**-0.5
        scores = scores.masked_fill(~seen, -torch.inf).softmax(dim=-1)
        merged = torch.einsum("anm,mae->nae", scores, v).flatten(1)
        x = x + layer.self_attn.out_proj(merged)
        inner = functional.gelu(layer.fc1(layer.layer_norm2(x)), approximate="tanh")
        x = x + layer.fc2(inner)
    return x.view(len(units), 4, -1)


@pytest.mark.parametrize("frames", [1, 2])
@pytest.mark.parametrize("full", ["1", "0|2"])
def test_windows_frames_and_positions_are_as_described(full: str, frames: int) -> None:
    tower = tiny(fullatt_block_indexes=full, temporal_patch_size=frames)
    assert window_cells(tower.config) == 2
    units = torch.randn(sum(t * h * w for t, h, w in GRIDS), 4, 3 * frames * 16)
    x = read(tower, units, spans_of(GRIDS))
    start = 0
    for grid in GRIDS:
        stop = start + grid[0] * grid[1] * grid[2]
        with torch.inference_mode():
            expected = by_hand(tower, units[start:stop], grid)
        torch.testing.assert_close(x[start:stop], expected, rtol=0, atol=1e-5)
        start = stop


def test_a_list_and_a_string_name_the_same_blocks() -> None:
    units = torch.randn(30, 4, 48)
    spans = spans_of([(1, 5, 6)])
    one = read(tiny(fullatt_block_indexes="0|2"), units, spans)
    assert torch.equal(one, read(tiny(fullatt_block_indexes=[0, 2]), units, spans))
    every = read(tiny(), units, spans)
    assert torch.equal(every, read(tiny(fullatt_block_indexes="0|1|2"), units, spans))
    assert not torch.allclose(one, every, atol=1e-3)


def test_patches_of_several_frames_see_all_of_them() -> None:
    tower = tiny(temporal_patch_size=2)
    assert Siglip2Navit.inputs(tower.config, {})["temporal_patch"] == 2
    units = torch.randn(6, 4, 96)
    x = read(tower, units, spans_of([(1, 2, 3)]))
    later = units.clone().unflatten(-1, (3, 2, 16))
    later[:, :, :, 1] += 1
    assert not torch.allclose(x, read(tower, later.flatten(2), spans_of([(1, 2, 3)])), atol=1e-3)


def test_positions_can_be_left_out() -> None:
    bare = tiny(preserve_original_pe=False, use_rope=False)
    assert "position_embedding.weight" not in bare.state_dict()
    # Without positions the cells of a frame may change places.
    units, spans = torch.randn(6, 4, 48), spans_of([(1, 2, 3)])
    torch.testing.assert_close(read(bare, units.flip(0), spans), read(bare, units, spans).flip(0))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fullatt_block_indexes": "1", "window_size": 7}, "window_size is 7, expected at least"),
        ({"hidden_size": 36}, "multiple of 4"),
    ],
)
def test_impossible_shapes_are_refused(options: dict[str, Any], message: str) -> None:
    config = AutoConfig.for_model("siglip2_navit", **(TINY | options))
    with pytest.raises(ConfigError, match=message):
        Siglip2Navit.inputs(config, {})


def test_a_film_becomes_the_rows_of_ovis() -> None:
    tower, rest = of_ovis()
    words = VisualVocab(VisualVocab.Config(vocab=72), in_width=32, out_width=48)
    golden = load_file(GOLDEN / "video.safetensors")
    t, h, w = golden["grid"][0].tolist()
    spans = spans_of([(t, h // 2, w // 2)])
    units = rearrange(golden["pixel_values"], "(u p) k -> u p k", p=4)
    x = read(tower, units, spans)
    with torch.inference_mode():
        rows = imported(words, rest, vocab_rules())(
            Features(x, (2, 2), spans=spans, modality=Modality.VIDEO)
        )
    torch.testing.assert_close(rows, golden["rows"], rtol=0, atol=1e-5)

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from hocket.parts.connector.mlp_downsample import MlpDownsample, Order, Variant, fold_squares
from hocket.parts.features import Features
from hocket.tokens.span import Plan

GOLDEN = Path(__file__).parents[2] / "golden"
VILA2 = load_file(GOLDEN / "pure_vila" / "downsample_pool.safetensors")
NAVILA = load_file(GOLDEN / "pure_navila" / "downsample_navila.safetensors")

LAYERS = {
    Variant.FOLD2: {"norm_1": 1, "linear_1": 2, "linear_2": 4},
    Variant.FOLD3: {"norm_1": 1, "linear_1": 2, "norm_2": 4, "linear_2": 5, "linear_3": 7},
}


@pytest.mark.parametrize("side", [4, 5, 7, 27])
@pytest.mark.parametrize(
    ("block", "fold"),
    [("DownSampleBlock", 2), ("DownSample2x2BlockFix", 2), ("DownSample3x3BlockFix", 3)],
)
def test_squares_are_folded_as_in_vila2(block: str, fold: int, side: int) -> None:
    made = fold_squares(VILA2[f"{side}.in"], (side, side), fold=fold, order=Order.ROW_MAJOR)
    assert torch.equal(made, VILA2[f"{side}.{block}"])


@pytest.mark.parametrize("side", [4, 5, 7, 27])
def test_squares_are_folded_as_in_navila(side: int) -> None:
    x = NAVILA[f"navila.{side}.in"]
    made = fold_squares(x, (side, side), fold=2, order=Order.COLUMN_MAJOR)
    assert torch.equal(made, NAVILA[f"navila.{side}.out"])
    assert not torch.equal(made, fold_squares(x, (side, side), fold=2, order=Order.ROW_MAJOR))


@pytest.mark.parametrize("order", Order)
def test_squares_of_an_oblong_grid_follow_the_order(order: Order) -> None:
    x = torch.arange(1.0, 16.0).reshape(1, 15, 1)
    made = fold_squares(x, (3, 5), fold=2, order=order)[0]
    rows = [
        [[1, 2, 6, 7], [3, 4, 8, 9], [5, 0, 10, 0]],
        [[11, 12, 0, 0], [13, 14, 0, 0], [15, 0, 0, 0]],
    ]
    if order is Order.ROW_MAJOR:
        expected = rows[0] + rows[1]
    else:
        expected = [rows[row][column] for column in range(3) for row in range(2)]
    assert made.tolist() == expected


@pytest.mark.parametrize(
    ("item", "variant", "order", "side"),
    [
        ("navila", Variant.FOLD2, Order.COLUMN_MAJOR, 5),
        ("vila2", Variant.FOLD3, Order.ROW_MAJOR, 4),
    ],
)
def test_recorded_projectors_give_the_recorded_rows(
    item: str, variant: Variant, order: Order, side: int
) -> None:
    golden = load_file(GOLDEN / item / "projector.safetensors")
    config = MlpDownsample.Config(variant=variant, order=order)
    connector = MlpDownsample(config, in_width=32, out_width=48)
    weights: dict[str, Tensor] = {
        f"{name}.{leaf}": golden[f"weights.layers.{number}.{leaf}"]
        for name, number in LAYERS[variant].items()
        for leaf in ("weight", "bias")
    }
    assert len(weights) == sum(name.startswith("weights.") for name in golden)
    connector.load_state_dict(weights)
    rows = connector(Features(golden["in"], (side, side)))
    torch.testing.assert_close(rows, golden["out"].flatten(0, 1), rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("variant", "widths"),
    [
        (Variant.FOLD2, [24, 10, 10]),
        (Variant.FOLD3, [54, 18, 10, 10]),
        (Variant.FOLD3_S2, [54, 18, 6, 2, 10, 10]),
        (Variant.FOLD3_S2_NEW, [54, 24, 12, 6, 2, 10, 10]),
    ],
)
def test_layers_have_vilas_widths(variant: Variant, widths: list[int]) -> None:
    connector = MlpDownsample(MlpDownsample.Config(variant=variant), in_width=6, out_width=10)
    shapes = {name: list(value.shape) for name, value in connector.state_dict().items()}
    expected: dict[str, list[int]] = {}
    for number, (before, after) in enumerate(pairwise(widths), start=1):
        if number < len(widths) - 1:
            expected |= {f"norm_{number}.weight": [before], f"norm_{number}.bias": [before]}
        expected |= {f"linear_{number}.weight": [after, before], f"linear_{number}.bias": [after]}
    assert shapes == expected


def test_every_hidden_layer_is_normalised_before_and_bent_behind() -> None:
    connector = MlpDownsample(
        MlpDownsample.Config(variant=Variant.FOLD3_S2), in_width=6, out_width=10
    )
    x = torch.randn(2, 36, 6)
    state = connector.state_dict()
    expected = fold_squares(x, (6, 6), fold=3, order=Order.ROW_MAJOR).flatten(0, 1)
    for number in range(1, 6):
        if number < 5:
            expected = torch.nn.functional.layer_norm(expected, expected.shape[-1:])
        expected = expected @ state[f"linear_{number}.weight"].T + state[f"linear_{number}.bias"]
        if number < 5:
            expected = torch.nn.functional.gelu(expected)
    torch.testing.assert_close(connector(Features(x, (6, 6))), expected)


def test_an_odd_end_makes_rows_of_its_own() -> None:
    connector = MlpDownsample(MlpDownsample.Config(), in_width=6, out_width=10)
    assert connector.rows(Plan(units=3, patches=(5, 4), rows=0, grid=(1, 5, 4))) == 3 * 3 * 2

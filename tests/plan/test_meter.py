"""Bytes and operations counted on `meta` against those counted by hand."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.checkpoint import checkpoint

from hocket.plan.meter import metered


def test_a_matrix_keeps_its_input_and_a_frozen_one_does_not() -> None:
    for trains, kept in ((True, 4 * 8 * 4 + 4 * 16 * 4), (False, 4 * 16 * 4)):
        with torch.device("meta"):
            layer = nn.Linear(8, 16, bias=False)
        layer.requires_grad_(trains)
        with metered(layer) as meter:
            x = layer(torch.empty(4, 8, device="meta"))
            assert meter.live == kept
            if trains:
                x.sum().backward()
                del x
                assert meter.gradients == 8 * 16 * 4
                assert meter.flops == 2 * 2 * 4 * 8 * 16
        assert layer.weight.grad is None


def test_attention_keeps_no_table_of_pairs() -> None:
    module = nn.Module()
    with metered(module) as meter:
        q = torch.empty(1, 2, 512, 8, device="meta", requires_grad=True)
        before = meter.live
        out = functional.scaled_dot_product_attention(q, q, q)
        assert meter.live - before < 512 * 512 * 4
        assert out.shape == q.shape
        assert meter.flops == 2 * 2 * 2 * 512 * 512 * 8


def test_a_mask_of_booleans_becomes_numbers() -> None:
    with metered(nn.Module()) as meter:
        q = torch.empty(1, 2, 64, 8, device="meta", requires_grad=True)
        mask = torch.empty(1, 1, 64, 64, dtype=torch.bool, device="meta")
        before = meter.live
        out = functional.scaled_dot_product_attention(q, q, q, attn_mask=mask)
        assert meter.live - before >= 64 * 64 * 4
        del out
        assert meter.live == before


def test_numbers_of_the_processor_choose_rows_of_shapes() -> None:
    with metered(nn.Module()):
        rows = torch.empty(3, 5, 7, device="meta")
        real = torch.tensor([1, 5, 2])
        chosen = rows[torch.arange(5, device=rows.device) < real[:, None]]
        assert chosen.shape == (8, 7)


def test_a_recomputed_block_is_alive_while_its_gradients_are_made_and_no_longer() -> None:
    def block(x: Tensor) -> Tensor:
        for layer in layers:
            x = functional.scaled_dot_product_attention(*(layer(x).relu()[None],) * 3)[0]
        return x

    with torch.device("meta"):
        layers = nn.ModuleList(nn.Linear(64, 64) for _ in range(4))
    peaks = {}
    for again in (False, True):
        with metered(layers) as meter:
            x = torch.empty(512, 64, device="meta", requires_grad=True)
            for _ in range(6):
                x = checkpoint(block, x, use_reentrant=False) if again else block(x)
            kept = meter.live
            x.sum().backward()
            peaks[again] = (kept, meter.live_peak)
    one_block = peaks[False][0] / 6
    assert peaks[True][0] <= 8 * 512 * 64 * 4
    # Two blocks at most: the one that is computed again and what its backward pass makes.
    assert one_block < peaks[True][1] - peaks[True][0] < 2 * one_block

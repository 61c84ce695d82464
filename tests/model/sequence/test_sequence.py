"""Rows that processes share give the loss and the gradients of whole rows."""

from __future__ import annotations

import pytest
import torch
from tests.model.sequence.shared import Found, compare, refused, share_and_stray
from tests.together import together

from hocket._errors import ConfigError
from hocket.model.sequence import RingKind, SequenceSpec
from hocket.model.sequence.block import Partial, _attend, _attend_backward, attend, merge

PLAIN = RingKind.PLAIN
# The loss is a float32 sum of a few numbers near 6; gradients are in double precision.
LOSS, GRADIENT = 1e-6, 1e-9


def check(found: list[Found]) -> None:
    for one in found:
        assert one.largest > 0.1, "the gradients are too small to compare"
        assert one.loss <= LOSS
        assert one.samples <= LOSS
        assert one.gradient <= GRADIENT


def test_two_processes_share_rows_with_all_media() -> None:
    ways = [SequenceSpec(ulysses=2), SequenceSpec(ring=2, ring_kind=PLAIN), SequenceSpec(ring=2)]
    families = [
        ("qwen3", {}),
        # Fewer key heads than processes, and layers that see a few tokens back.
        ("mistral", {"num_key_value_heads": 1, "sliding_window": 6}),
    ]
    for found in together(2, compare, ways, families):
        check(found)


@pytest.mark.slow
def test_four_processes_share_rows_with_all_media() -> None:
    ways = [
        SequenceSpec(ulysses=4),
        SequenceSpec(ring=4, ring_kind=PLAIN),
        SequenceSpec(ring=4),
        SequenceSpec(ulysses=2, ring=2, ring_kind=PLAIN),
        SequenceSpec(ulysses=2, ring=2),
        # Two groups with the same rows each.
        SequenceSpec(ring=2),
    ]
    for found in together(4, compare, ways, [("qwen3", {})]):
        check(found)


def test_what_cannot_be_shared_is_refused() -> None:
    for messages in together(2, refused):
        heads, rows, dropout, softcap, world = messages
        assert "does not divide the 3 attention heads" in heads
        assert "packed rows" in rows
        assert "attention_dropout=0.1" in dropout
        assert "softcap" in softcap
        assert "Start a multiple of 3" in world


def test_the_proof_finds_a_model_that_ignores_what_other_processes_hold() -> None:
    for off, message in together(2, share_and_stray):
        assert off < 1e-5
        assert "cannot be shared by processes" in message


def test_degrees_below_one_are_refused() -> None:
    with pytest.raises(ConfigError, match="0 x 1"):
        SequenceSpec(ulysses=0)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_merged_blocks_are_attention_to_all_keys(dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    q, g = (torch.randn(2, 4, 5, 8, dtype=dtype) for _ in range(2))
    k, v = (torch.randn(2, 2, 9, 8, dtype=dtype) for _ in range(2))
    mask = torch.rand(2, 1, 5, 9) > 0.5
    mask[..., 0] = True
    mask[0, :, 2, 1:] = False
    whole = attend(q, k, v, mask, 0.3)
    cuts = (slice(5, 9), slice(0, 3), slice(3, 5))
    none = Partial(torch.zeros_like(q), torch.full_like(whole.lse, float("-inf")))
    merged = none
    for cut in cuts:
        merged = merge(merged, attend(q, k[:, :, cut], v[:, :, cut], mask[..., cut], 0.3))
    tight = {"rtol": 1e-5, "atol": 1e-6}
    torch.testing.assert_close(merged, whole, **tight)
    wide = [x.repeat_interleave(2, dim=1) for x in (k, v)]
    expected = torch.nn.functional.scaled_dot_product_attention(q, *wide, attn_mask=mask, scale=0.3)
    torch.testing.assert_close(whole.out, expected, **tight)
    # What runs where the kernel does not.
    torch.testing.assert_close(_attend(q, *wide, mask, 0.3), whole, **tight)
    plain = _attend_backward(g, q, *wide, mask, 0.3, whole)
    for one in (q, *wide):
        one.requires_grad_(True)
    torch.nn.functional.scaled_dot_product_attention(q, *wide, attn_mask=mask, scale=0.3).backward(
        g
    )
    for ours, leaf in zip(plain, (q, *wide), strict=True):
        torch.testing.assert_close(ours, leaf.grad, **tight)

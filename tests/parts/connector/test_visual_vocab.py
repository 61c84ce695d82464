from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from einops import rearrange
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional

from hocket._errors import ConfigError
from hocket.parts.connector import build_connector
from hocket.parts.connector.visual_vocab import VisualVocab
from hocket.parts.features import Features
from hocket.tokens.span import Modality, Plan

GOLDEN = Path(__file__).parents[2] / "golden" / "ovis25"
NAMES = {
    "visual_tokenizer.head.0.weight": "head.weight",
    "visual_tokenizer.head.1.weight": "norm.weight",
    "visual_tokenizer.head.1.bias": "norm.bias",
    "vte.weight": "table.weight",
}


def made(**options: Any) -> VisualVocab:
    torch.manual_seed(0)
    given = {"kind": "visual_vocab", "vocab": 40, "stride": 2} | options
    connector = build_connector(given, in_width=6, out_width=10)
    assert isinstance(connector, VisualVocab)
    return connector


def cells(*units: int, modality: Modality = Modality.IMAGE) -> Features:
    """Return native media of so many cells of 2 x 2 patches."""
    torch.manual_seed(1)
    spans = torch.tensor([[count, 0, 1, 1, count, 1, 1] for count in units])
    x = torch.randn(sum(units), 4, 6, requires_grad=True)
    return Features(x, (2, 2), spans=spans, modality=modality)


def test_rows_are_those_of_ovis() -> None:
    connector = VisualVocab(VisualVocab.Config(vocab=72), in_width=32, out_width=48)
    stored = load_file(GOLDEN / "navit.safetensors")
    connector.load_state_dict({new: stored[old] for old, new in NAMES.items()}, strict=True)
    golden = load_file(GOLDEN / "features.safetensors")
    units = [int(grid.prod()) // 4 for grid in golden["vit.grid_thws"]]
    spans = torch.tensor([[count, 0, 1, 1, count, 1, 1] for count in units])
    squares = golden["vit.features"]
    x = rearrange(squares, "u (p c) -> u p c", p=4)
    with torch.inference_mode():
        for values, name in (
            (connector.scores(squares), "vt.logits"),
            (connector.weights(squares), "vt.tokens"),
        ):
            torch.testing.assert_close(values, golden[name][:, :68], rtol=0, atol=1e-5)
        assert not golden["vt.tokens"][:, 68:].any()
        rows = connector(Features(x, (2, 2), spans=spans))
    table, start = stored["vte.weight"], 0
    for count, expected in zip(units, golden["vte.embeds"].split(units), strict=True):
        medium = rows[start : start + count + 2]
        assert torch.equal(medium[0], table[-4])
        torch.testing.assert_close(medium[1:-1], expected, rtol=0, atol=1e-5)
        assert torch.equal(medium[-1], table[-3])
        start += count + 2
    assert start == len(rows)


@pytest.mark.parametrize(("modality", "first"), [(Modality.IMAGE, 36), (Modality.VIDEO, 38)])
def test_marks_stand_around_every_medium(modality: Modality, first: int) -> None:
    connector = made()
    rows = connector(cells(3, 1, modality=modality))
    bare = made(marks=False)(cells(3, 1, modality=modality))
    table = connector.table.weight
    expected = [table[first : first + 1], bare[:3], table[first + 1 : first + 2]]
    expected += [table[first : first + 1], bare[3:], table[first + 1 : first + 2]]
    assert torch.equal(rows, torch.cat(expected))
    plan = Plan(units=3, patches=(2, 2), rows=0, grid=(1, 1, 3))
    assert connector.rows(plan) == 5
    assert made(marks=False).rows(plan) == 3


def test_a_fifth_indicator_of_older_ovis_is_never_mixed() -> None:
    connector = made(indicators=5)
    assert connector.head.out_features == 35
    rows = connector(cells(1))
    assert torch.equal(rows[0], connector.table.weight[35])
    assert torch.equal(rows[2], connector.table.weight[36])


def test_a_grid_that_is_no_multiple_is_padded_at_its_end() -> None:
    connector = made(marks=False)
    x = torch.randn(2, 15, 6)
    padded = functional.pad(x.view(2, 3, 5, 6), (0, 0, 0, 1, 0, 1)).reshape(2, 24, 6)
    assert torch.equal(connector(Features(x, (3, 5))), connector(Features(padded, (4, 6))))
    assert connector.rows(Plan(units=2, patches=(3, 5), rows=0, grid=(1, 3, 5))) == 12


def gradients(connector: VisualVocab, given: Features) -> list[Tensor]:
    connector.zero_grad()
    assert given.x.grad is None
    connector(given).square().sum().backward()
    assert given.x.grad is not None
    found = [given.x.grad]
    for value in connector.parameters():
        assert value.grad is not None
        found.append(value.grad.clone())
    return found


@pytest.mark.parametrize("tokenize", ["softmax", "straight_through"])
def test_chunks_change_neither_rows_nor_gradients(tokenize: str) -> None:
    whole, parts = made(tokenize=tokenize), made(tokenize=tokenize, chunk=2)
    torch.testing.assert_close(parts(cells(5, 2)), whole(cells(5, 2)), rtol=0, atol=1e-6)
    for one, other in zip(
        gradients(whole, cells(5, 2)), gradients(parts, cells(5, 2)), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-6)


def test_no_more_probabilities_than_a_chunk_are_kept_for_the_way_back() -> None:
    connector = made(chunk=3)
    kept: list[int] = []

    def note(values: Tensor) -> Tensor:
        if values.shape[-1] == connector.words and values.dim() == 2:
            kept.append(len(values))
        return values

    with torch.autograd.graph.saved_tensors_hooks(note, lambda values: values):
        connector(cells(12))
    assert not [rows for rows in kept if rows != connector.words and rows > 3]
    unbounded = made(chunk=100)
    kept.clear()
    with torch.autograd.graph.saved_tensors_hooks(note, lambda values: values):
        unbounded(cells(12))
    assert 12 in kept


def test_straight_through_picks_one_word_and_learns_as_the_mixture() -> None:
    soft, hard = made(marks=False), made(marks=False, tokenize="straight_through")
    given = cells(4)
    squares = rearrange(given.x.detach(), "u p c -> u (p c)")
    best = soft.scores(squares).argmax(dim=-1)
    torch.testing.assert_close(hard(given), hard.table.weight[best], rtol=0, atol=1e-6)
    weights = torch.randn(4, 36)
    for connector in (soft, hard):
        (connector.weights(squares) * weights).sum().backward()
    assert soft.head.weight.grad is not None
    torch.testing.assert_close(hard.head.weight.grad, soft.head.weight.grad, rtol=0, atol=1e-6)


def test_gumbel_noise_belongs_to_training_alone() -> None:
    connector = made(marks=False, tokenize="gumbel", tau=5.0)
    given = cells(8)
    one, other = connector(given), connector(given)
    assert not torch.equal(one, other)
    # Each row is one word's, as in training so in answers.
    distance = (one[:, None] - connector.table.weight[:36]).abs().amax(dim=-1)
    assert distance.amin(dim=-1).max() < 1e-5
    connector.eval()
    best = connector.scores(rearrange(given.x, "u p c -> u (p c)")).argmax(dim=-1)
    torch.testing.assert_close(connector(given), connector.table.weight[best], rtol=0, atol=1e-6)


def test_probabilities_are_computed_in_single_precision() -> None:
    connector = made(vocab=4100, marks=False).to(torch.bfloat16)
    x = torch.randn(3, 24, dtype=torch.bfloat16)
    expected = functional.softmax(connector.scores(x).float(), dim=-1).to(torch.bfloat16)
    assert torch.equal(connector.weights(x), expected)
    assert math.isclose(float(expected.detach().float().sum()), 3.0, rel_tol=0.02)


@pytest.mark.parametrize(
    "options", [{"stride": 0}, {"chunk": 0}, {"tau": 0.0}, {"indicators": 40}, {"indicators": 2}]
)
def test_impossible_options_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=f"visual_vocab.*{next(iter(options))}"):
        made(**options)


def test_sounds_are_refused() -> None:
    with pytest.raises(ConfigError, match="found a sound"):
        made().rows(Plan(units=1, patches=(1, 7), rows=0, grid=(1, 1, 7), valid=(7,)))

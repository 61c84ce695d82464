from __future__ import annotations

import pytest
import torch

from hocket._errors import CheckpointError
from hocket.checkpoint.import_.table import Move, Rows, Skip, Split, plan_tensors
from hocket.checkpoint.import_.weights import Item, Weights


def weights(**tensors: torch.Tensor) -> Weights:
    def item(name: str, tensor: torch.Tensor) -> Item:
        return Item(tensor.dtype, tuple(tensor.shape), lambda: tensor, (f"file: {name}",))

    return Weights({name: item(name, tensor) for name, tensor in tensors.items()})


def test_moves_splits_and_skips() -> None:
    qkv, conv = torch.arange(6.0).reshape(6, 1), torch.arange(8.0).reshape(2, 4)
    source = weights(qkv=qkv, conv=conv, old=torch.zeros(1))
    rules = (
        Split("qkv", ("q", "k", "v")),
        Move("(co)nv", r"\1ol", reshape=True),
        Skip("old", "unused"),
    )
    targets = {"q": (2, 1), "k": (2, 1), "v": (2, 1), "cool": (2, 2, 2)}
    plan = plan_tensors(source, rules, targets)
    made = {name: piece.make(piece.item.read()) for name, piece in plan.pieces.items()}
    assert torch.equal(made["k"], qkv[2:4])
    assert torch.equal(made["cool"], conv.reshape(2, 2, 2))
    assert plan.skipped == {"old": "unused"}


def test_new_rows_are_the_mean_of_the_others() -> None:
    table = torch.tensor([[1.0, 2.0], [3.0, 6.0]])
    rules = (Move("table", "table", Rows.MEAN),)
    plan = plan_tensors(weights(table=table), rules, {"table": (3, 2)})
    piece = plan.pieces["table"]
    assert torch.equal(piece.make(table), torch.tensor([[1.0, 2.0], [3.0, 6.0], [2.0, 4.0]]))
    assert piece.what == "1 rows added, the mean of the 2 others"


def test_tied_tensors_need_no_source_and_are_left_out() -> None:
    rules = (Move("(.+)", r"\1"),)
    source = weights(table=torch.zeros(2), head=torch.zeros(2))
    plan = plan_tensors(source, rules, {"table": (2,)}, {"head": (2,)})
    assert list(plan.pieces) == ["table"] and list(plan.skipped) == ["head"]
    assert plan_tensors(weights(table=torch.zeros(2)), rules, {"table": (2,)}, {"head": (2,)})


@pytest.mark.parametrize(
    ("names", "rules", "match"),
    [
        (["a", "b"], [Move("a", "a")], "nothing is known about b"),
        ([], [Move("a", "a")], "holds nothing for a"),
        (["a", "b"], [Move("a|b", "a")], "a would come from a and from b"),
        (["a", "b"], [Move("(.)", r"\1")], "b belongs to b, which the model does not have"),
        (["a"], [Split("a", ("a", "a"))], "does not fit"),
    ],
)
def test_gaps_are_errors(names: list[str], rules: list[Move | Split], match: str) -> None:
    source = weights(**{name: torch.zeros(2) for name in names})
    with pytest.raises(CheckpointError, match=match):
        plan_tensors(source, rules, {"a": (2,)})


def test_fewer_rows_in_the_model_are_an_error() -> None:
    rules = (Move("a", "a", Rows.MEAN),)
    with pytest.raises(CheckpointError, match="does not fit"):
        plan_tensors(weights(a=torch.zeros(3, 2)), rules, {"a": (2, 2)})

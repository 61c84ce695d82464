from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from hocket._errors import CheckpointError
from hocket.checkpoint.import_.experts import fuse_experts
from hocket.checkpoint.import_.weights import Weights, open_weights

HOME = "model.layers.3.block_sparse_moe.experts"


def test_experts_become_one_tensor_each(tmp_path: Path) -> None:
    tensors = _experts(count=11)
    fused = fuse_experts(_open(tensors, tmp_path))
    assert set(fused) == {f"{HOME}.gate_up_proj", f"{HOME}.down_proj", "model.norm.weight"}
    joined = fused[f"{HOME}.gate_up_proj"]
    assert joined.shape == (11, 12, 4) == tuple(joined.read().shape)
    assert fused[f"{HOME}.down_proj"].shape == (11, 4, 6)
    for number in (0, 2, 10):
        gate, up = (tensors[f"{HOME}.{number}.{name}.weight"] for name in ("w1", "w3"))
        assert torch.equal(joined.read()[number], torch.cat([gate, up]))
        down = tensors[f"{HOME}.{number}.w2.weight"]
        assert torch.equal(fused[f"{HOME}.down_proj"].read()[number], down)
    assert len(joined.origins) == 22


def test_a_missing_expert_is_named(tmp_path: Path) -> None:
    tensors = _experts(count=3)
    del tensors[f"{HOME}.1.w3.weight"]
    with pytest.raises(CheckpointError, match=r"3 experts, but no 1\.w3\.weight"):
        fuse_experts(_open(tensors, tmp_path))


def test_experts_of_two_models_are_refused(tmp_path: Path) -> None:
    tensors = _experts(count=2)
    tensors[f"{HOME}.1.w2.weight"] = torch.zeros(4, 5)
    with pytest.raises(CheckpointError, match=r"\(4, 5\), \(4, 6\)"):
        fuse_experts(_open(tensors, tmp_path))


def _experts(*, count: int) -> dict[str, Tensor]:
    """Return experts of width 4 with 6 inside, and a tensor that is none of theirs."""
    shapes = {"w1": (6, 4), "w2": (4, 6), "w3": (6, 4)}
    tensors = {
        f"{HOME}.{number}.{name}.weight": torch.randn(shape)
        for number in range(count)
        for name, shape in shapes.items()
    }
    return tensors | {"model.norm.weight": torch.ones(4)}


def _open(tensors: dict[str, Tensor], folder: Path) -> Weights:
    save_file(tensors, folder / "model.safetensors")
    return open_weights(folder)

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from hocket._errors import CheckpointError
from hocket.parts.connector.mlp import Mlp
from hocket.parts.weights import load_connector


def mlp(seed: int = 0, *, width: int = 3) -> Mlp:
    torch.manual_seed(seed)
    return Mlp(Mlp.Config(), in_width=width, out_width=4)


def same(one: Mlp, two: Mlp) -> bool:
    state = two.state_dict()
    return all(torch.equal(value, state[name]) for name, value in one.state_dict().items())


def test_weights_come_from_the_file(tmp_path: Path) -> None:
    given, made = mlp(1), mlp(2)
    save_file(given.state_dict(), tmp_path / "a.safetensors")
    load_connector(made, tmp_path / "a.safetensors")
    assert same(given, made)


def test_a_prefix_selects_and_names_are_mapped(tmp_path: Path) -> None:
    given, made = mlp(1), mlp(2)
    state = given.state_dict()
    path = tmp_path / "a.safetensors"
    foreign = {
        f"linear_{n}.{leaf}": f"{2 * n - 2}.{leaf}" for n in (1, 2) for leaf in ("weight", "bias")
    }
    save_file(
        {f"model.mm_projector.{foreign[name]}": value for name, value in state.items()}
        | {"model.embed_tokens.weight": torch.ones(2)},
        path,
    )
    rename = {theirs: ours for ours, theirs in foreign.items()}
    load_connector(made, path, prefix="model.mm_projector.", rename=rename)
    assert same(given, made)
    with pytest.raises(CheckpointError, match=r"unexpected: 0\.bias, 0\.weight"):
        load_connector(made, path, prefix="model.mm_projector.")
    with pytest.raises(CheckpointError, match=r"no weight that begins with 'projector\.'"):
        load_connector(made, path, prefix="projector.")


def test_what_does_not_fit_is_named_and_changes_nothing(tmp_path: Path) -> None:
    made, before = mlp(2), mlp(2)
    state = mlp(1, width=5).state_dict()
    state["colour"] = state.pop("linear_2.bias")
    save_file(state, tmp_path / "a.safetensors")
    with pytest.raises(CheckpointError) as caught:
        load_connector(made, tmp_path / "a.safetensors")
    message = str(caught.value)
    assert "missing: linear_2.bias; unexpected: colour; of another shape: " in message
    assert "linear_1.weight (4, 5), expected (4, 3)" in message
    assert same(made, before)


def test_a_pickle_is_read_when_asked_for_and_holds_tensors_only(tmp_path: Path) -> None:
    given, made = mlp(1), mlp(2)
    path = tmp_path / "mm_projector.bin"
    torch.save(given.state_dict(), path)
    with pytest.raises(CheckpointError, match="is no safetensors file"):
        load_connector(made, path)
    load_connector(made, path, pickled=True)
    assert same(given, made)
    torch.save(given, path)
    with pytest.raises(CheckpointError, match="no file of tensors"):
        load_connector(made, path, pickled=True)
    torch.save({"a": 1}, path)
    with pytest.raises(CheckpointError, match="something else than names and tensors"):
        load_connector(made, path, pickled=True)
    path.write_bytes(b"")
    with pytest.raises(CheckpointError, match="no file of tensors"):
        load_connector(made, path, pickled=True)


def test_a_missing_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no file"):
        load_connector(mlp(), tmp_path / "none.safetensors")

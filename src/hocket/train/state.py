"""Where a run stands, and how it is written so that a killed run goes on bit for bit.

Nothing random is saved: order, augmentation and dropout are functions of (seed, stage, step), so
the state is a few integers and the optimizer's tensors.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from hocket._errors import CheckpointError
from hocket.data.budget import Cuts
from hocket.data.pack import PackerState
from hocket.model.heads import HEADS
from hocket.model.modeling import HocketForConditionalGeneration
from hocket.train.parallel.fsdp import placed_like

_FOLDER = "training"
_HEADS_FILE = "heads.safetensors"


@dataclass(frozen=True, slots=True)
class TrainState:
    """A point in a run.

    Attributes:
        stage: name of the stage.
        step: optimizer steps done in this stage.
        tokens_seen: tokens seen by all ranks since the start of the run.
        seconds: time trained since the start of the run.
        packer: where the data goes on.
    """

    stage: str
    step: int = 0
    tokens_seen: int = 0
    seconds: float = 0.0
    packer: PackerState = field(default_factory=PackerState)

    def advance(self, *, tokens: int, seconds: float, packer: PackerState) -> TrainState:
        """Return the state one optimizer step later."""
        return replace(
            self,
            step=self.step + 1,
            tokens_seen=self.tokens_seen + tokens,
            seconds=self.seconds + seconds,
            packer=packer,
        )


class OptimizerTensors(NamedTuple):
    """What an optimizer knows.

    Attributes:
        tensors: ``kind:parameter`` -> tensor.
        trained: names of the parameters that train.
    """

    tensors: dict[str, Tensor]
    trained: list[str]


def optimizer_tensors(optimizer: torch.optim.Optimizer) -> OptimizerTensors:
    """Return the optimizer's own tensors: the next step changes them."""
    tensors: dict[str, Tensor] = {}
    trained: list[str] = []
    for group in optimizer.param_groups:
        for name, parameter in zip(group["names"], group["params"], strict=True):
            trained.append(name)
            # Empty as long as no sample has reached the parameter.
            for key, value in optimizer.state.get(parameter, {}).items():
                tensors[f"{key}:{name}"] = value
    return OptimizerTensors(tensors, trained)


def write_state(
    folder: Path, state: TrainState, optimizer: OptimizerTensors, model: Mapping[str, Tensor]
) -> None:
    """Write counters as JSON, the optimizer's tensors and those of heads as safetensors.

    Args:
        folder: the checkpoint's.
        state: the counters.
        optimizer: what the optimizer knows.
        model: the model's state dict, whose heads are kept here, apart from the model.
    """
    target = folder / _FOLDER
    target.mkdir()
    document = asdict(state) | {"packer": state.packer._asdict()}
    (target / "state.json").write_text(json.dumps(document, indent=1), encoding="utf-8")
    names = {"trained": json.dumps(optimizer.trained)}
    save_file(optimizer.tensors, target / "optimizer.safetensors", metadata=names)
    heads = {name: value for name, value in model.items() if name.startswith(HEADS)}
    if heads:
        save_file(heads, target / _HEADS_FILE)


def read_state(folder: Path) -> TrainState:
    """Read the counters.

    Raises:
        CheckpointError: they are missing or damaged.
    """
    file = folder / _FOLDER / "state.json"
    try:
        document = json.loads(file.read_text(encoding="utf-8"))
        packer = document.pop("packer")
        packer["pool"] = tuple(packer["pool"])
        packer["cuts"] = Cuts(*packer.get("cuts", ()))
        return TrainState(**document, packer=PackerState(**packer))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"{file} is missing or damaged. Use another checkpoint.") from error


def read_heads(folder: Path, model: HocketForConditionalGeneration) -> None:
    """Fill the heads of a model, if it has any.

    Raises:
        CheckpointError: the saved ones are others, missing or damaged.
    """
    if model.heads is None:
        return
    file = folder / _FOLDER / _HEADS_FILE
    try:
        saved = load_file(file) if file.exists() else {}
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{file} is damaged. Use another checkpoint.") from error
    live = {f"{HEADS}{name}": value for name, value in model.heads.state_dict().items()}
    sizes = [{name: value.shape for name, value in one.items()} for one in (saved, live)]
    if sizes[0] != sizes[1]:
        raise CheckpointError(
            f"{folder}: its heads differ from those of the recipe's loss.heads now. Undo the "
            "change, or start into another folder with out=FOLDER."
        )
    for name, value in live.items():
        value.copy_(saved[name])


def read_optimizer(folder: Path, optimizer: torch.optim.Optimizer) -> None:
    """Fill the optimizer with the saved tensors.

    Raises:
        CheckpointError: the tensors are not those of this optimizer's parameters.
    """
    saved: dict[str, dict[str, Tensor]] = {}
    with safe_open(folder / _FOLDER / "optimizer.safetensors", framework="pt") as file:
        for name in json.loads((file.metadata() or {}).get("trained", "[]")):
            saved[name] = {}
        for key in file.keys():  # noqa: SIM118 # a safetensors file is no dictionary
            kind, _, name = key.partition(":")
            saved.setdefault(name, {})[kind] = file.get_tensor(key)
    for group in optimizer.param_groups:
        for name, parameter in zip(group["names"], group["params"], strict=True):
            if name not in saved:
                raise CheckpointError(
                    f"{folder}: the optimizer's state lacks {name}. The recipe's trainable groups "
                    "have changed since it was written: start into another folder."
                )
            if tensors := saved.pop(name):
                optimizer.state[parameter] = {
                    kind: placed_like(value, parameter) for kind, value in tensors.items()
                }
    if saved:
        raise CheckpointError(
            f"{folder}: the optimizer's state holds {next(iter(saved))}, which does not train now. "
            "The recipe has changed since it was written: start into another folder."
        )

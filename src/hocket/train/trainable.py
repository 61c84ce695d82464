"""What trains: named groups of parameters, everything else frozen and in eval mode."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from hocket._errors import ConfigError, did_you_mean
from hocket.checkpoint.manifest import machine_error
from hocket.data.storing import put_file
from hocket.model.names import PARTS, known_names, parameters_of
from hocket.train.recipe import Group, Stage

COLUMNS = ("group", "pattern", "count", "rate", "decay", "schedule", "warm-up")
_TABLE = re.compile(r"embed|token")


@dataclass(frozen=True, slots=True)
class Trainable:
    """One group's parameters.

    Attributes:
        name: the group's name.
        group: its learning rate and weight decay.
        decayed: names of matrices, which weight decay applies to.
        plain: names of biases, norms, token and position tables, which it does not.
    """

    name: str
    group: Group
    decayed: tuple[str, ...]
    plain: tuple[str, ...]


def select_trainable(
    model: nn.Module,
    groups: Mapping[str, Group],
    adapters: Mapping[str, tuple[Group, Sequence[str]]] | None = None,
) -> list[Trainable]:
    """Freeze the model, then free what the groups match; the first match counts.

    Args:
        model: the composite.
        groups: group name -> what its pattern matches trains.
        adapters: adapter or head -> its learning rate and its parameters, which no pattern reaches.

    Raises:
        ConfigError: a pattern matches no parameter, or nothing trains.
    """
    adapted = {key for _, keys in (adapters or {}).values() for key in keys}
    tables = {
        f"{name}.weight"
        for name, module in model.named_modules()
        if isinstance(module, nn.Embedding)
    }
    fixed = _fixed_tables(model)
    parameters = dict(model.named_parameters())
    free = [name for name in parameters if name not in fixed and name not in adapted]
    for parameter in parameters.values():
        parameter.requires_grad_(False)
    chosen = []
    for name, matched in assign(groups, free).items():
        decayed: list[str] = []
        plain: list[str] = []
        for key in matched:
            parameter = parameters[key]
            parameter.requires_grad_(True)
            # Positions and class tokens are tables too, though no `nn.Embedding` holds them.
            is_table = key in tables or _TABLE.search(key.rpartition(".")[2]) is not None
            (plain if is_table or parameter.ndim < 2 else decayed).append(key)
        chosen.append(Trainable(name, groups[name], tuple(decayed), tuple(plain)))
    for name, (group, keys) in (adapters or {}).items():
        for key in keys:
            parameters[key].requires_grad_(True)
        matrices = tuple(key for key in keys if parameters[key].ndim >= 2)
        rest = tuple(key for key in keys if parameters[key].ndim < 2)
        chosen.append(Trainable(name, group, matrices, rest))
    if not chosen:
        raise ConfigError("train: nothing trains. Give the stage a trainable group or an adapter.")
    return chosen


def assign(groups: Mapping[str, Group], names: Sequence[str]) -> dict[str, list[str]]:
    """Return the parameters of each group; the first match counts.

    Args:
        groups: group name -> what its pattern matches trains.
        names: parameters that may train.

    Raises:
        ConfigError: a pattern matches no parameter, or groups before it have all that it matches.
    """
    left, found = dict.fromkeys(names), {}
    for name, group in groups.items():
        if not parameters_of(group.match, names):
            # A name that is right, of a part that this model lacks, needs no other spelling.
            known = known_names()
            hint = "" if group.match in known else did_you_mean(group.match, known)
            raise ConfigError(
                f"the group {name!r} matches no parameter with {group.match!r}.{hint} "
                f"Known: {', '.join(known)}, and patterns on names such as {names[0]}."
            )
        found[name] = parameters_of(group.match, left)
        if not found[name]:
            raise ConfigError(
                f"the group {name!r} matches no parameter that is left with {group.match!r}: the "
                "first match counts, and groups before it have them all. Put it before these."
            )
        for key in found[name]:
            del left[key]
    return found


def set_modes(model: nn.Module) -> None:
    """Put what trains into train mode and every fully frozen part into eval mode."""
    model.train()
    for name, module in model.named_modules():
        is_part = name in PARTS.values()
        if is_part and not any(parameter.requires_grad for parameter in module.parameters()):
            module.eval()


def describe_trainable(
    model: nn.Module, chosen: list[Trainable], stage: Stage
) -> list[tuple[str, ...]]:
    """Return a row of `COLUMNS` for each group; a group without a schedule has the stage's."""
    sizes = {name: value.numel() for name, value in model.named_parameters()}
    rows: list[tuple[str, ...]] = []
    for one in chosen:
        count = sum(sizes[name] for name in (*one.decayed, *one.plain))
        group = one.group
        schedule, warmup = group.schedule or stage.schedule, group.warmup_steps
        numbers = (f"{count:,}", f"{group.lr:g}", f"{group.weight_decay:g}")
        shape = (str(schedule), str(stage.warmup_steps if warmup is None else warmup))
        rows.append((one.name, group.match, *numbers, *shape))
    return rows


def write_table(out: Path, stage: str, rows: Sequence[Sequence[str]]) -> None:
    """Write what a stage trains as ``trainable-STAGE.tsv``, tabs between `COLUMNS`.

    Args:
        out: the run's folder.
        stage: the stage's name.
        rows: as `describe_trainable` returns them.

    Raises:
        MachineError: it cannot be written.
    """
    text = io.StringIO()
    writer = csv.writer(text, delimiter="\t", lineterminator="\n")
    writer.writerows([COLUMNS, *rows])
    file = out / f"trainable-{stage}.tsv"
    try:
        put_file(file, lambda place: place.write_text(text.getvalue(), encoding="utf-8"))
    except OSError as error:
        raise machine_error(file, error) from error


def _fixed_tables(model: nn.Module) -> set[str]:
    """Parameters that transformers itself never trains, such as sinusoidal positions."""
    return {
        name
        for name, value in model.named_parameters()
        if name.endswith("audio_tower.embed_positions.weight") and value.ndim == 2
    }

r"""Mixtures written as VILA and NaVILA write them: ``r2r*2+rxr@easy:0.5+human``.

A mixture is items joined by ``+``; an item is a name with any of ``*N`` (shown N times an epoch),
``@SUBSET`` (without the rows that the subset's file lists) and ``:RATIO`` (that share of the rows).
A name is a data set, or another mixture, whose items it multiplies. Order and case are kept.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from hocket._errors import ConfigError, UnknownNameError
from hocket.data.spec import DatasetSpec

_PART = re.compile(r"([*@:])([^*@:+]*)")


class Resolved(NamedTuple):
    """What a mixture comes to.

    Attributes:
        weights: data set -> its weight in an epoch.
        datasets: the data sets that the weights name and the given ones do not have: those with a
            subset, called ``NAME@SUBSET``.
    """

    weights: dict[str, float]
    datasets: dict[str, DatasetSpec]


def read_mixture(
    text: str,
    *,
    datasets: Mapping[str, DatasetSpec],
    mixtures: Mapping[str, str],
    subsets: str = "",
) -> Resolved:
    """Resolve a mixture.

    Args:
        text: the expression.
        datasets: every data set by name.
        mixtures: every named mixture.
        subsets: folder that holds ``SUBSET/NAME.json``: the rows of NAME that SUBSET leaves out.

    Raises:
        ConfigError: the expression cannot be read, or a mixture holds itself.
        UnknownNameError: no data set or mixture has a name.
    """
    found = Resolved({}, {})
    _add(text, 1.0, found, _Known(datasets, mixtures, subsets), ())
    return found


class _Known(NamedTuple):
    datasets: Mapping[str, DatasetSpec]
    mixtures: Mapping[str, str]
    subsets: str


class _Item(NamedTuple):
    name: str
    weight: float
    subset: str


def _add(text: str, weight: float, into: Resolved, known: _Known, inside: tuple[str, ...]) -> None:
    for piece in text.split("+"):
        item = _read(piece.strip(), text)
        share = weight * item.weight
        if item.name in known.datasets:
            name = _named(item, into, known)
            into.weights[name] = into.weights.get(name, 0.0) + share
        elif item.name in known.mixtures:
            if item.name in inside:
                chain = " -> ".join((*inside, item.name))
                raise ConfigError(f"data.mixtures.{item.name} holds itself: {chain}. Break it.")
            if item.subset:
                raise ConfigError(
                    f"mixture {text!r}: {item.name} is a mixture, and only a data set can have a "
                    "subset. Write the subset behind its data sets."
                )
            _add(known.mixtures[item.name], share, into, known, (*inside, item.name))
        else:
            names = [*known.datasets, *known.mixtures]
            raise UnknownNameError("data set or mixture", item.name, names)


def _read(piece: str, text: str) -> _Item:
    name = re.split(r"[*@:]", piece, maxsplit=1)[0]
    parts = _PART.findall(piece[len(name) :])
    if not name or "".join(mark + value for mark, value in parts) != piece[len(name) :]:
        raise ConfigError(
            f"mixture {text!r}: {piece!r} cannot be read. Write NAME*TIMES@SUBSET:RATIO and +."
        )
    given = dict(parts)
    if len(given) != len(parts):
        raise ConfigError(f"mixture {text!r}: {piece!r} has one of * @ : twice. Leave one out.")
    times, ratio = (_number(given.get(mark, "1"), piece, text) for mark in "*:")
    return _Item(name, times * ratio, given.get("@", ""))


def _number(value: str, piece: str, text: str) -> float:
    try:
        number = float(value)
    except ValueError:
        number = -1.0
    if not 0 < number < float("inf"):
        raise ConfigError(f"mixture {text!r}: {value!r} in {piece!r} is no number above 0.")
    return number


def _named(item: _Item, into: Resolved, known: _Known) -> str:
    if not item.subset:
        return item.name
    name = f"{item.name}@{item.subset}"
    file = Path(known.subsets) / item.subset / f"{item.name}.json"
    into.datasets[name] = replace(known.datasets[item.name], without_rows=str(file))
    return name

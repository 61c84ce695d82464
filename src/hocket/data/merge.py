"""Several data sets as one list of rows to be written, ids that differ, order known.

Knows data sets and ids; must not know files or row formats.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from hocket._errors import ConfigError, DataError
from hocket.chat.conversation import Conversation
from hocket.data.chosen import ChosenRows, row_number
from hocket.data.mixture import Mixture
from hocket.data.sources import Source

Parts = Mapping[str, Source | ChosenRows]


class MergedRows:
    """Rows of data sets as one sequence that can be sent to other processes.

    Args:
        parts: name -> its rows.
        order: int64 (N, 2), number of the data set and of its row; None takes every row once.
    """

    def __init__(self, parts: Parts, order: np.ndarray | None = None) -> None:
        self._names = list(parts)
        self._parts = list(parts.values())
        self._order = _all_rows(self._parts) if order is None else order
        self._ids: dict[int, str] = {}

    def __len__(self) -> int:
        return len(self._order)

    def __getitem__(self, index: int) -> Conversation:
        """Return a row, under its new id if it has one.

        Raises:
            DataError: the row cannot be understood.
        """
        number, row = self._order[index]
        conversation = self._parts[number][int(row)]
        new = self._ids.get(index)
        return conversation if new is None else replace(conversation, id=new)

    def where(self, index: int) -> str:
        """Return the data set and the number of a row in its file."""
        number, row = self._order[index]
        return f"{self._names[number]} row {row_number(self._parts[number], int(row))}"

    def separate_ids(
        self, *, refuse: bool, advance: Callable[[int], None] = lambda rows: None
    ) -> int:
        """Give rows whose id came before a new one, ``ID-2``, ``ID-3``, and return how many.

        Which row keeps its id depends on the order alone. Rows that cannot be read are left to
        whoever writes them.

        Args:
            refuse: raise an error instead.
            advance: called with 1 for each row that was looked at.

        Raises:
            DataError: an id is there twice, and ``refuse`` is true.
        """
        self._ids.clear()
        found: list[str | None] = []
        for index in range(len(self)):
            try:
                found.append(self[index].id)
            except DataError:
                found.append(None)
            advance(1)
        taken = {each for each in found if each is not None}
        first: dict[str, int] = {}
        for index, each in enumerate(found):
            if each is None:
                continue
            before = first.setdefault(each, index)
            if before == index:
                continue
            if refuse:
                raise DataError(
                    f"the id {each!r} stands in {self.where(before)} and in {self.where(index)}. "
                    f"Change one of them, or leave --ids refuse out."
                )
            self._ids[index] = _free(each, taken)
        return len(self._ids)


def mix(
    parts: Parts, *, weights: Sequence[float] = (), seed: int = 0, shuffle: bool = True
) -> MergedRows:
    """Return one epoch of a mixture as rows.

    Args:
        parts: name -> its rows.
        weights: of each; 2 has every row twice, 0.5 a half that the seed draws. Without any, 1.
        seed: seed of the halves and of the order.
        shuffle: mix the data sets; false keeps one behind the other, rows in their order.

    Raises:
        ConfigError: another number of weights than data sets, or a weight below 0.
    """
    if weights and len(weights) != len(parts):
        raise ConfigError(
            f"{len(weights)} weights for {len(parts)} data sets. Give one for each, in order."
        )
    given = weights or [1.0] * len(parts)
    names = list(parts)
    mixture = Mixture(
        dict(zip(names, zip(parts.values(), given, strict=True), strict=True)), seed=seed
    )
    numbers = {name: number for number, name in enumerate(names)}
    refs = [mixture.ref(position) for position in range(len(mixture))]
    order = np.array([(numbers[ref.dataset], ref.row) for ref in refs], dtype=np.int64)
    if not shuffle:
        order = order[np.lexsort((order[:, 1], order[:, 0]))]
    return MergedRows(parts, order)


def _all_rows(parts: Sequence[Source | ChosenRows]) -> np.ndarray:
    pieces = [
        np.stack([np.full(len(part), number), np.arange(len(part))], axis=1)
        for number, part in enumerate(parts)
    ]
    return np.concatenate(pieces).astype(np.int64)


def _free(name: str, taken: set[str]) -> str:
    number = 2
    while f"{name}-{number}" in taken:
        number += 1
    taken.add(f"{name}-{number}")
    return f"{name}-{number}"

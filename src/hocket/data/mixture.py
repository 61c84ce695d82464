"""Several data sets as one endless, shuffled sequence; a pure function of (seed, position).

A position counts samples since the start of the run. Which sample stands there does not depend on
workers, ranks or on what was read before, so a run resumes by one integer.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from hocket._errors import ConfigError, DataError, UnknownNameError, did_you_mean
from hocket.chat.conversation import Conversation
from hocket.chat.readers import Reader, readers
from hocket.data.chosen import ChosenRows, choose_rows
from hocket.data.seed import generator
from hocket.data.sources import Source, sources
from hocket.data.spec import DatasetSpec


class SampleRef(NamedTuple):
    """Where a sample comes from, and for the how-manieth time it is seen."""

    epoch: int
    dataset: str
    row: int


def open_source(name: str, spec: DatasetSpec) -> Source | ChosenRows:
    """Open one data set.

    Raises:
        ConfigError: the path is empty.
        UnknownNameError: no such source or reader.
        DataError: the file cannot be read.
    """
    if not spec.path:
        raise ConfigError(f"data.datasets.{name}.path is empty. Give the data file.")
    path = Path(spec.path)
    root = Path(spec.media_root) if spec.media_root else None
    whole = sources.get(spec.source)(path, reader=_reader(name, spec), root=root)
    return choose_rows(whole, without=spec.without_rows, most=spec.max_rows)


def _reader(name: str, spec: DatasetSpec) -> Reader:
    """Return a data set's reader with its options set."""
    reader = readers.get(spec.reader)
    if not spec.reader_options:
        return reader
    known = set(inspect.signature(reader).parameters) - {"row", "root", "where"}
    for option in spec.reader_options:
        if option not in known:
            hint = did_you_mean(option, known)
            listed = f"Known: {', '.join(sorted(known))}." if known else "It takes none."
            raise ConfigError(
                f"data.datasets.{name}.reader_options: the reader {spec.reader!r} has no option "
                f"{option!r}.{hint} {listed}"
            )
    options: dict[str, Any] = dict(spec.reader_options)
    return partial(reader, **options)


class Mixture:
    """Data sets with weights, shuffled together.

    Args:
        parts: name -> (source, weight). A weight of 2 shows every row twice an epoch, 0.5 shows
            a different half of the rows each epoch.
        seed: seed of the order.
        temperature: above 1 evens out the sources: each is used in proportion to its weighted rows
            to the power of 1 / temperature, and the epoch stays as long as it was.

    Raises:
        ConfigError: a weight is below zero or not finite, or no sample is left.
    """

    def __init__(
        self,
        parts: Mapping[str, tuple[Source | ChosenRows, float]],
        *,
        seed: int,
        temperature: float = 1.0,
    ) -> None:
        self.sources = {name: source for name, (source, _) in parts.items()}
        self._names = list(parts)
        for name, (_, weight) in parts.items():
            if not 0 <= weight < math.inf:
                raise ConfigError(f"data set {name!r}: weight is {weight}, expected 0 or more.")
        if not 0 < temperature < math.inf:
            raise ConfigError(f"data.temperature is {temperature}, expected above 0.")
        wanted = {name: len(source) * weight for name, (source, weight) in parts.items()}
        tempered = {name: count ** (1 / temperature) for name, count in wanted.items() if count}
        scale = sum(wanted.values()) / (sum(tempered.values()) or 1)
        self._counts = {name: round(tempered.get(name, 0.0) * scale) for name in parts}
        self._seed = seed
        self._orders: dict[int, np.ndarray] = {}
        if not len(self):
            raise ConfigError(f"the mixture of {self._names} holds no samples: raise a weight.")

    def __len__(self) -> int:
        """Samples in one epoch."""
        return sum(self._counts.values())

    def ref(self, position: int) -> SampleRef:
        """Return which sample stands at a position."""
        epoch, at = divmod(position, len(self))
        if epoch not in self._orders:
            # The packer's pool may hold samples of the epoch before.
            self._orders = {e: order for e, order in self._orders.items() if e == epoch - 1}
            self._orders[epoch] = self._shuffle(epoch)
        name, index = self._orders[epoch][at]
        return SampleRef(epoch, self._names[name], int(index))

    def read(self, ref: SampleRef) -> Conversation:
        """Return the sample.

        Raises:
            DataError: the row cannot be understood.
        """
        if ref.dataset not in self.sources:
            raise UnknownNameError("data set", ref.dataset, self.sources)
        return self.sources[ref.dataset][ref.row]

    def texts(self) -> Iterator[str]:
        """Yield the text of every turn of every row that can be read, for building a tokenizer."""
        for source in self.sources.values():
            for index in range(len(source)):
                try:
                    conversation = source[index]
                except DataError:
                    continue  # named and counted when it is its turn to be learned
                for message in conversation.messages:
                    yield message.text

    def _shuffle(self, epoch: int) -> np.ndarray:
        """Return int64 (N, 2): data set number and row of each sample of an epoch."""
        columns = []
        for number, name in enumerate(self._names):
            rows, count = len(self.sources[name]), self._counts[name]
            whole, rest = divmod(count, rows)
            some = generator(self._seed, "subset", epoch, name).permutation(rows)[:rest]
            index = np.concatenate([np.tile(np.arange(rows), whole), some]).astype(np.int64)
            columns.append(np.stack([np.full(count, number), index], axis=1))
        order = np.concatenate(columns)
        return order[generator(self._seed, "order", epoch).permutation(len(order))]

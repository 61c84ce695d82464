"""Several data sets as one endless, shuffled sequence; a pure function of (seed, position).

A position counts samples since the start of the run. Which sample stands there does not depend on
workers, ranks or on what was read before, so a run resumes by one integer.
"""

from __future__ import annotations

import bisect
import hashlib
import inspect
import itertools
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
from hocket.data.guarded import GuardedRows
from hocket.data.quarantine import read_quarantine
from hocket.data.seed import generator
from hocket.data.sources import Source, sources
from hocket.data.spec import DatasetSpec
from hocket.media.guard import Guard


class SampleRef(NamedTuple):
    """Where a sample comes from, and for the how-manieth time it is seen."""

    epoch: int
    dataset: str
    row: int


def open_source(
    name: str, spec: DatasetSpec, *, quarantine: str = "", guard: Guard | None = None
) -> Source | ChosenRows:
    """Open one data set.

    Args:
        name: its name in the config.
        spec: where and what it is.
        quarantine: file of rows to leave out, see `hocket.data.quarantine`; empty for none.
        guard: the process that opens its media; None opens them in this one.

    Raises:
        ConfigError: the path is empty.
        UnknownNameError: no such source or reader.
        DataError: the file cannot be read.
    """
    if not spec.path:
        raise ConfigError(f"data.datasets.{name}.path is empty. Give the data file.")
    path = Path(spec.path)
    root = Path(spec.media_root) if spec.media_root else None
    whole: Source = sources.get(spec.source)(path, reader=open_reader(name, spec), root=root)
    found = read_quarantine(Path(quarantine), name=name, path=spec.path) if quarantine else None
    return choose_rows(
        GuardedRows(whole, guard) if guard else whole,
        without=spec.without_rows,
        most=spec.max_rows,
        quarantined=found,
    )


def open_reader(name: str, spec: DatasetSpec) -> Reader:
    """Return a data set's reader with its options set.

    Raises:
        ConfigError: the reader has no such option.
        UnknownNameError: no such reader.
    """
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
        self._orders: dict[int, _Epoch] = {}
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
        name, row = self._orders[epoch].find(at)
        return SampleRef(epoch, self._names[name], row)

    def stamp(self) -> str:
        """Return what tells this order from another: seed, data sets, weights, rows left out."""
        found = hashlib.blake2b(str(self._seed).encode(), digest_size=12)
        for name, source in self.sources.items():
            found.update(f"\0{name}\0{len(source)}\0{self._counts[name]}\0".encode())
            if isinstance(source, ChosenRows):
                found.update(source.rows.astype(np.int64).tobytes())
        return found.hexdigest()

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

    def _shuffle(self, epoch: int) -> _Epoch:
        sizes = [len(self.sources[name]) for name in self._names]
        counts = [self._counts[name] for name in self._names]
        some = []
        for name, rows, count in zip(self._names, sizes, counts, strict=True):
            rest = count % rows if count else 0
            drawn = generator(self._seed, "subset", epoch, name).permutation(rows if rest else 0)
            some.append(drawn[:rest].astype(np.uint32))
        # Four bytes a sample and nothing else: 10 million samples take 40 MB and a second.
        order = np.arange(sum(counts), dtype=np.uint32)
        generator(self._seed, "order", epoch).shuffle(order)
        return _Epoch(order, list(itertools.accumulate(counts)), sizes, some)


class _Epoch(NamedTuple):
    """The order of an epoch.

    Samples are numbered data set by data set, each with all its rows as often as they come whole,
    then with some of them.

    Attributes:
        order: uint32 (N,) number of the sample at each place.
        ends: for each data set the number behind its last sample.
        sizes: for each data set its rows.
        some: for each data set uint32 the rows that come once more.
    """

    order: np.ndarray
    ends: list[int]
    sizes: list[int]
    some: list[np.ndarray]

    def find(self, at: int) -> tuple[int, int]:
        """Return data set number and row of the sample at a place."""
        number = int(self.order[at])
        which = bisect.bisect_right(self.ends, number)
        count = self.ends[which] - (self.ends[which - 1] if which else 0)
        inside = number - (self.ends[which] - count)
        whole = count - len(self.some[which])
        if inside < whole:
            return which, inside % self.sizes[which]
        return which, int(self.some[which][inside - whole])

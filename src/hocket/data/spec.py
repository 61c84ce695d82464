"""What a data set and a mixture of data sets are, as plain data validated at the edge."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSpec:
    """One data set of a mixture.

    Attributes:
        path: the data file.
        source: name of the storage format, a file in ``data/sources``.
        reader: name of the row format, a file in ``chat/readers``.
        media_root: folder that relative media paths start from; empty means the folder of `path`.
        weight: share of the rows used in one epoch; 2.0 shows every row twice, 0.5 half of them.
    """

    path: str
    source: str = "json"
    reader: str = "llava"
    media_root: str = ""
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSpec:
    """Every data set a run may use, and what is done to their media.

    Attributes:
        datasets: name -> data set; a stage picks names from here.
        heldout: data sets that are only evaluated.
        augment: name of an augmentation -> its options, for training samples only.
        max_bad_share: share of rows that may be unreadable before the run stops.
    """

    datasets: dict[str, DatasetSpec]
    heldout: dict[str, DatasetSpec] = field(default_factory=dict)
    augment: dict[str, dict[str, float]] = field(default_factory=dict)
    max_bad_share: float = 0.01

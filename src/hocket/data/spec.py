"""What a data set and a mixture of data sets are, as plain data validated at the edge."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from hocket.tokens.layout import OptionValue


class OnBad(StrEnum):
    """What a run does with a sample that cannot be used: leave it out and count it, or stop."""

    SKIP = "skip"
    STOP = "stop"


class FeatureDtype(StrEnum):
    """Number format of features of frozen towers on the disk."""

    BFLOAT16 = "bfloat16"
    FLOAT32 = "float32"


class Overlong(StrEnum):
    """What a run does with a sample that costs more than a row may.

    ``fit`` cuts it: pixels, frames and seconds first, then whole media, then words. ``skip`` leaves
    it out, which is counted but not as bad. ``stop`` stops the run.
    """

    FIT = "fit"
    SKIP = "skip"
    STOP = "stop"


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetSpec:
    """One data set of a mixture.

    Attributes:
        path: the data file.
        source: name of the storage format, a file in ``data/sources``.
        reader: name of the row format, a file in ``chat/readers``.
        reader_options: options of the reader, such as the ``prompt`` of ``caption``.
        media_root: folder that relative media paths start from; empty means the folder of `path`.
        weight: share of the rows used in one epoch; 2.0 shows every row twice, 0.5 half of them.
        loss_weight: how much its tokens count in the loss; a row's own ``weight`` multiplies it.
        without_rows: JSON file with a list of row numbers to leave out; empty leaves none out.
        max_rows: rows used at most, the first ones; 0 uses all.
        on_bad: ``skip`` or ``stop`` at a row that cannot be used; empty takes the mixture's.
    """

    path: str
    source: str = "json"
    reader: str = "llava"
    reader_options: dict[str, OptionValue | dict[str, str]] = field(default_factory=dict)
    media_root: str = ""
    weight: float = 1.0
    loss_weight: float = 1.0
    without_rows: str = ""
    max_rows: int = 0
    on_bad: OnBad | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSpec:
    """Every data set a run may use, and what is done to their media.

    Attributes:
        datasets: name -> data set; a stage picks names from here.
        heldout: data sets that are only evaluated.
        mixtures: name -> mixture of data sets, such as ``r2r*2+rxr@easy:0.5``; a stage picks one.
        subsets: folder of the files that ``@SUBSET`` of a mixture stands for.
        temperature: above 1 evens out data sets of different sizes: each is used in proportion to
            its rows to the power of 1 / temperature.
        augment: name of an augmentation -> its options, for training samples only.
        max_bad_share: share of rows that may be unreadable before the run stops.
        on_bad: ``skip`` counts and names rows that cannot be used, ``stop`` stops at the first.
        overlong: ``fit`` cuts a sample that is too long for a row, ``skip`` leaves it out, ``stop``
            stops the run.
        quarantine: JSON lines of rows to leave out, of any of the data sets, as
            ``hocket data check --quarantine`` writes them; empty leaves none out.
        decode_deadline_seconds: how long the decoder of one medium may take; it runs in a process
            of its own, so a hang or a crash costs that sample alone. 0 decodes without one.
    """

    datasets: dict[str, DatasetSpec]
    heldout: dict[str, DatasetSpec] = field(default_factory=dict)
    mixtures: dict[str, str] = field(default_factory=dict)
    subsets: str = ""
    temperature: float = 1.0
    augment: dict[str, dict[str, OptionValue]] = field(default_factory=dict)
    max_bad_share: float = 0.01
    on_bad: OnBad = OnBad.SKIP
    overlong: Overlong = Overlong.FIT
    quarantine: str = ""
    decode_deadline_seconds: float = 60.0

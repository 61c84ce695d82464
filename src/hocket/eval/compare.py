"""Two models on the same questions: which is better, by how much, and which answers changed.

Only questions that both have answered count, and only scores of the same task, version and metrics
are compared. Knows results on the disk; must not know models.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hocket._errors import ConfigError, DataError
from hocket.eval.answers import Line, read_answers
from hocket.eval.exam import open_exam
from hocket.eval.metrics import Stat
from hocket.eval.resample import Difference, McNemar, difference, holm, mcnemar
from hocket.eval.run import log_files
from hocket.eval.scores import SCORES, Scores, read_samples, read_scores


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """A question whose score changed.

    Attributes:
        id: of the question.
        first: the first model's line.
        second: the second's.
        first_stat: what the metric measured of the first's answer.
        second_stat: of the second's.
        gain: the second's score minus the first's; below 0 where less is better.
    """

    id: str
    first: Line
    second: Line
    first_stat: Stat
    second_stat: Stat
    gain: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Two models on one exam.

    Attributes:
        first: scores of the first model.
        second: scores of the second.
        questions: that both have answered.
        difference: of the headline.
        corrected: its p, corrected for the number of exams by Holm.
        mcnemar: where answers are right or wrong alone.
        fixed: better with the second, the largest gain first.
        broken: worse with the second, the largest loss first.
    """

    first: Scores
    second: Scores
    questions: int
    difference: Difference
    corrected: float
    mcnemar: McNemar | None
    fixed: tuple[Change, ...]
    broken: tuple[Change, ...]


def find_results(out: Path, name: str) -> Path:
    """Return the folder of a model's results.

    Args:
        out: where results are kept.
        name: a folder, or the beginning of the name of a folder in `out`.

    Raises:
        ConfigError: there is none, or there are several.
    """
    if any(Path(name).glob(f"*/{SCORES}")):
        return Path(name)
    found = sorted(
        {file.parent.parent for file in out.glob(f"*/*/{SCORES}")}, key=lambda path: path.name
    )
    exact = [path for path in found if name in (path.name, path.name.rpartition("-")[0])]
    near = exact or [path for path in found if path.name.startswith(name)]
    if len(near) == 1:
        return near[0]
    known = ", ".join(path.name for path in near or found) or "no results"
    kind = "several" if near else "no"
    raise ConfigError(
        f"{out} holds {kind} results of {name!r}; it has {known}. Give one of these, or run: "
        "hocket eval CHECKPOINT"
    )


def compare(first: Path, second: Path, *, force: bool = False) -> list[Comparison]:
    """Compare two models on every exam that both have sat.

    Args:
        first: folder of the first model's results.
        second: folder of the second's.
        force: compare scores of other versions or judges all the same.

    Raises:
        ConfigError: they share no exam, or scores cannot be compared.
        DataError: a file is damaged.
    """
    both = sorted(
        {file.parent.name for file in first.glob(f"*/{SCORES}")}
        & {file.parent.name for file in second.glob(f"*/{SCORES}")}
    )
    if not both:
        raise ConfigError(
            f"{first} and {second} share no exam. Evaluate both with the same -t, then compare."
        )
    found = [_compare_one(first / name, second / name, force=force) for name in both]
    p_values = {str(at): one.difference.p for at, one in enumerate(found)}
    corrected = holm(p_values)
    return [
        Comparison(
            first=one.first,
            second=one.second,
            questions=one.questions,
            difference=one.difference,
            corrected=corrected[str(at)],
            mcnemar=one.mcnemar,
            fixed=one.fixed,
            broken=one.broken,
        )
        for at, one in enumerate(found)
    ]


def _compare_one(first: Path, second: Path, *, force: bool) -> Comparison:
    one, two = read_scores(first), read_scores(second)
    if one is None or two is None:
        raise DataError(f"{first} or {second} has no scores. Run hocket eval with --rescore.")
    if not force:
        _refuse_unlike(one, two)
    metric = open_exam(one.origin).metrics[0]
    samples = (read_samples(first), read_samples(second))
    ids = [name for name in samples[0] if name in samples[1]]
    lines = (read_answers(log_files(first)), read_answers(log_files(second)))
    if not force:
        _refuse_other_questions(one.exam, ids, lines)
    label = one.metrics[0].label
    stats = [[known[name].stats[label] for name in ids] for known in samples]
    found = difference(metric, stats[0], stats[1], [samples[0][name].cluster for name in ids])
    if found is None:
        raise DataError(f"{one.exam}: the two have no scored question in common. Ask more.")
    upwards = metric.best >= metric.worst
    changes = _changes(lines, ids, stats, upwards=upwards)
    return Comparison(
        first=one,
        second=two,
        questions=len(ids),
        difference=found,
        corrected=found.p,
        mcnemar=mcnemar(metric, stats[0], stats[1]),
        fixed=tuple(one for one in changes if one.gain > 0),
        broken=tuple(one for one in changes if one.gain < 0),
    )


def _refuse_unlike(one: Scores, two: Scores) -> None:
    for what, left, right in (
        ("versions", one.version, two.version),
        ("metrics", one.metrics[0].label, two.metrics[0].label),
        ("judges", one.judge, two.judge),
    ):
        if left != right:
            raise ConfigError(
                f"{one.exam}: {what} differ ({left!r} of {one.model}, {right!r} of {two.model}), "
                "so scores cannot be compared. Rescore both alike, or insist with --force."
            )


def _refuse_other_questions(
    exam: str, ids: Sequence[str], lines: tuple[Mapping[str, Line], Mapping[str, Line]]
) -> None:
    for name in ids:
        left, right = lines[0][name], lines[1][name]
        if (left.prompt, left.target, left.truth) != (right.prompt, right.target, right.truth):
            raise ConfigError(
                f"{exam}: question {name} has another prompt or answer for the second model: "
                "the file was changed in between. Evaluate both again, or insist with --force."
            )


def _changes(
    lines: tuple[Mapping[str, Line], Mapping[str, Line]],
    ids: Sequence[str],
    stats: Sequence[Sequence[Stat]],
    *,
    upwards: bool,
) -> list[Change]:
    found = []
    for name, first, second in zip(ids, *stats, strict=True):
        if first.score is None or second.score is None or first.score == second.score:
            continue
        gain = second.score - first.score
        found.append(
            Change(
                id=name,
                first=lines[0][name],
                second=lines[1][name],
                first_stat=first,
                second_stat=second,
                gain=gain if upwards else -gain,
            )
        )
    return sorted(found, key=lambda one: -abs(one.gain))

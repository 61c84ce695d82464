"""The quickstart's report: one HTML file that needs nothing else, not even a network.

Knows the result and the log; must not know how either was made. Pictures, sounds and films are
inside the file, so it can be mailed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from hocket.checkpoint.manifest import machine_error
from hocket.eval.interval import Share
from hocket.eval.scored import Scored
from hocket.quickstart.result import QuickstartResult
from hocket.report.charts import SMOOTHING_STEPS, interval_bar, loss_chart
from hocket.report.media import environment, turn_view


def pick_examples(scored: Sequence[Scored], *, count: int = 24) -> tuple[Scored, ...]:
    """Choose questions to show, so that every kind is seen and mistakes are not hidden.

    Modalities are dealt first, then tasks, each with and without earlier turns. The choice depends
    on nothing but the arguments.

    Args:
        scored: every answered question.
        count: how many to show.

    Returns:
        At most ``count``, in the order of ``scored``; wrong ones are at most a third of ``count``.
    """
    right = _in_turn([at for at, one in enumerate(scored) if one.right], scored)
    answered = {scored[at].question.task for at in right}
    wrong = _in_turn([at for at, one in enumerate(scored) if not one.right], scored)
    # A task without a right answer can only be shown by a wrong one.
    wrong.sort(key=lambda at: scored[at].question.task in answered)
    kept = wrong[: count // 3]
    return tuple(scored[at] for at in sorted([*kept, *right[: count - len(kept)]]))


def write_report(
    path: Path, result: QuickstartResult, log: Sequence[Mapping[str, Any]], *, config_yaml: str
) -> None:
    """Write the report.

    Args:
        path: the HTML file.
        result: what the run measured.
        log: one line per optimizer step, as `hocket.train.log.read_log` returns them.
        config_yaml: the resolved configuration.

    Raises:
        MachineError: the file cannot be written.
        MediaError: a medium of an example cannot be read.
    """
    pages = environment("hocket.quickstart")
    pages.filters["percent"] = _percent
    pages.filters["clock"] = _clock
    page = pages.get_template("report.html.jinja").render(
        result=result,
        rows=_rows(result),
        mistakes=_count_wrong(result),
        tasks=[(name, share, _bar(share)) for name, share in result.tasks.items()],
        chart=loss_chart(log),
        smoothing_steps=SMOOTHING_STEPS,
        speed=_speed(log),
        cards=[_card(one) for one in result.examples],
        config_yaml=config_yaml,
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise machine_error(path, error) from error


def _in_turn(indices: Sequence[int], scored: Sequence[Scored]) -> list[int]:
    """Deal one question of each kind after the other, beginning with one of each modality."""
    piles: dict[tuple[str, str, bool], list[int]] = {}
    for at in indices:
        asked = scored[at].question
        kind = (asked.modality, asked.task, len(asked.conversation.messages) > 1)
        piles.setdefault(kind, []).append(at)
    seen: Counter[str] = Counter()
    ranked: list[tuple[int, list[int]]] = []
    for (modality, _, _), pile in piles.items():
        ranked.append((seen[modality], pile))
        seen[modality] += 1
    in_order = [pile for _, pile in sorted(ranked, key=lambda one: one[0])]
    turns = range(max(map(len, in_order), default=0))
    return [pile[turn] for turn in turns for pile in in_order if turn < len(pile)]


def _rows(result: QuickstartResult) -> list[dict[str, Any]]:
    return [
        {
            "modality": modality,
            "after": after,
            "bar": _bar(after),
            "before": result.before.get(modality),
            "removed": result.removed.get(modality),
            "swapped": result.swapped.get(modality),
        }
        for modality, after in result.after.items()
    ]


def _count_wrong(result: QuickstartResult) -> dict[str, int]:
    """Return how many questions were answered wrongly, of those shown and of all."""
    every = result.tasks.values()
    return {
        "shown": sum(not one.right for one in result.examples),
        "all": sum(round((1 - share.value) * share.trials) for share in every),
        "questions": sum(share.trials for share in every),
    }


def _speed(log: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return tokens per second, padding and the share of time spent waiting for data."""
    seconds = sum(line["step_seconds"] for line in log) or 1.0
    return {
        "steps": len(log),
        "tokens_per_second": sum(line["tokens"] for line in log) / seconds,
        "padding": sum(line["padding"] for line in log) / max(len(log), 1),
        "waiting": sum(line["data_seconds"] for line in log) / seconds,
    }


def _card(one: Scored) -> dict[str, Any]:
    """Return a question as the template shows it: turns of text and media, and the answers."""
    question = one.question
    return {
        "task": question.task,
        "right": one.right,
        "turns": [turn_view(message) for message in question.conversation.messages],
        "target": question.target,
        "answer": one.answer,
    }


def _bar(share: Share) -> str:
    return interval_bar(share.value, share.low, share.high)


def _percent(share: Share) -> str:
    return f"{share.value:.1%}"


def _clock(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"

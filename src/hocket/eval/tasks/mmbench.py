"""MMBench: each question is asked once for every rotation of its options."""

from __future__ import annotations

from collections.abc import Iterable

from hocket.eval.draw import one
from hocket.eval.metrics.choice import Choice
from hocket.eval.table import InColumn, Layout, Row, Table
from hocket.eval.task import LETTER, Anchor, Task, tasks

_LETTERS = "ABCD"
_NOTHING = ("", "nan")


@tasks.register
def task() -> Task:
    """Return MMBench's development split in English, as its TSV file or VLMEvalKit's."""
    return Task(
        title="MMBench",
        download="mmbench_dev_20230712.tsv of https://mmbench.opencompass.org.cn",
        layouts=(
            Layout(
                table=Table(path="mmbench_dev_*.tsv", kind="tsv"),
                fields={"cluster": "index", "group": "category"},
                media={"image": InColumn(name="image", base64=True)},
            ),
        ),
        hook=_rotations,
        prompt="{hint}{question}\n{options}" + LETTER,
        metrics=(Choice(all_of_cluster=True),),
        twin=_twin,
        anchors=(
            Anchor(
                model="LLaVA-1.5-7B",
                metric="choice",
                value=64.3,
                source="LLaVA, docs/MODEL_ZOO.md",
            ),
            Anchor(model="VILA1.5-3B", metric="choice", value=63.4, source="VILA, README"),
        ),
        tags=("image", "choice", "short"),
    )


def _rotations(row: Row) -> Iterable[Row]:
    texts = [row[letter] for letter in _LETTERS if row.get(letter, "") not in _NOTHING]
    right = texts[_LETTERS.index(row["answer"])]
    hint = row.get("hint", "")
    for turn in range(len(texts)):
        options = texts[turn:] + texts[:turn]
        yield {
            **row,
            "id": f"{row['cluster']}-{turn}",
            "hint": "" if hint in _NOTHING else f"{hint}\n",
            "options": options,
            "answer": _LETTERS[options.index(right)],
        }


def _twin() -> list[Row]:
    return [
        {
            "cluster": "241",
            "group": "object_localization",
            "question": "Which shape is in the picture?",
            "hint": "There is one shape.",
            "A": "square",
            "B": "circle",
            "C": "triangle",
            "answer": "B",
            "image": one("blue", "circle"),
        },
        {
            "cluster": "252",
            "group": "attribute_recognition",
            "question": "Which colour has it?",
            "A": "red",
            "B": "green",
            "answer": "A",
            "image": one("red", "square"),
        },
    ]

"""VLMEvalKit's tables: any TSV with ``index``, ``image``, ``question`` and ``answer`` is a task.

Pictures are base 64, an index of an earlier row, or paths in ``image_path``. With options in
columns ``A``, ``B`` and so on the answer is a letter; without, answers that are all yes or no are
scored as POPE's, and others are compared. Knows tables; must not know models.
"""

from __future__ import annotations

import ast
import functools
import string
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from hocket._errors import DataError
from hocket.eval.metrics import Metric
from hocket.eval.metrics.choice import Choice
from hocket.eval.metrics.exact_match import ExactMatch
from hocket.eval.metrics.yes_no import YesNo
from hocket.eval.table import SHORTEST_BASE64, InColumn, Layout, Row, Table
from hocket.eval.task import LETTER, SHORT, Task
from hocket.media.image import Image

_NEEDED = ("index", "question", "answer")
_NOTHING = ("", "nan", "None")


def task_of_table(file: Path) -> Task:
    """Return the task that a VLMEvalKit table is.

    Raises:
        DataError: it cannot be read, has no rows, or lacks a column.
    """
    if not file.is_file():
        raise DataError(f"no file {file}. Give a TSV of VLMEvalKit, such as LMUData/MMBench.tsv.")
    table = Table(path=file.name, kind="tsv")
    rows = [row for _, row in table.rows(file.parent)]
    columns = [name for name in rows[0] if name != "file"] if rows else []
    missing = [name for name in _NEEDED if name not in columns]
    if missing:
        raise DataError(
            f"{file}: no column {missing[0]!r}; it has {', '.join(columns) or 'no rows'}. Expected "
            f"VLMEvalKit's {', '.join(_NEEDED)}, an image and the options A, B and so on."
        )
    letters = "A" in columns
    inside = "image" in columns
    return Task(
        title=file.stem,
        download=file.name,
        layouts=(
            Layout(
                table=table,
                fields={"id": "index"} | ({"picture": "image"} if inside else {}),
                media={"image": InColumn(name="image", base64=True)} if inside else {},
            ),
        ),
        hook=functools.partial(_named, file.parent),
        prompt=("{question}\n{options}" + LETTER) if letters else ("{question}" + SHORT),
        metrics=_metrics(rows, letters=letters),
        twin=list,
        anchors=(),
        tags=("image", "choice" if letters else "short"),
        keep=("category",),
        name=file.stem,
    )


def _metrics(rows: Sequence[Mapping[str, object]], *, letters: bool) -> tuple[Metric, ...]:
    if letters:
        return (Choice(),)
    answers = {str(row["answer"]).strip().lower() for row in rows}
    return (YesNo(), ExactMatch()) if answers <= {"yes", "no"} else (ExactMatch(),)


def _named(folder: Path, row: Row) -> Iterator[Row]:
    """Yield a row with the task's names; paths in ``image_path`` start from the table's folder."""
    options = [
        str(row[letter])
        for letter in string.ascii_uppercase
        if str(row.get(letter, "")) not in _NOTHING
    ]
    hint = str(row.get("hint", ""))
    made = {
        **row,
        "question": row["question"] if hint in _NOTHING else f"{hint}\n{row['question']}",
        "group": "" if str(row.get("category", "")) in _NOTHING else str(row["category"]),
    }
    if options:
        made["options"] = options
    if len(str(row.get("picture", row["id"]))) < SHORTEST_BASE64:
        # Several questions about the picture of one row.
        made["cluster"] = str(row.get("picture", row["id"]))
    if "image" not in row and str(row.get("image_path", "")) not in _NOTHING:
        made["image"] = tuple(Image.from_path(folder / name) for name in _paths(row["image_path"]))
    yield made


def _paths(cell: str) -> list[str]:
    """Return the paths of a cell: one, or several as a Python list."""
    if not cell.startswith("["):
        return [cell]
    found = ast.literal_eval(cell)
    return [str(name) for name in found]

"""Video-ChatGPT's benchmark: free answers about videos, marked by a language model."""

from __future__ import annotations

from collections.abc import Iterable

from hocket.eval.draw import moving
from hocket.eval.judge import LiteralJudge
from hocket.eval.metrics.judged_score import JudgedScore
from hocket.eval.table import InFile, Layout, Row, Table
from hocket.eval.task import Anchor, Task, tasks
from hocket.infer.sampling import Sampling

_PAPER = "arXiv 2306.05424"
_MEMORY = "quoted from memory: compare with the paper before use"


@tasks.register
def task() -> Task:
    """Return the generic, temporal and consistency questions; they need a judge."""
    return Task(
        title="Video-ChatGPT",
        download="lmms-lab/VideoChatGPT of the Hugging Face hub: the folders Generic, Temporal and "
        "Consistency, and the videos in videos/",
        layouts=(
            Layout(
                table=Table(path="*/test-*.parquet", kind="parquet"),
                fields={"cluster": "video_name"},
                media={"video": InFile(path="videos/{video_name}.mp4")},
            ),
        ),
        hook=_one_question_each,
        prompt="{question}",
        metrics=(JudgedScore(),),
        sampling=Sampling(max_new_tokens=512),
        twin=_twin,
        twin_metrics=(JudgedScore(judge=LiteralJudge()),),
        anchors=(
            Anchor(
                model="Video-ChatGPT-7B",
                metric="correctness",
                value=2.40,
                source=_PAPER,
                note=_MEMORY,
            ),
            Anchor(
                model="Video-ChatGPT-7B",
                metric="consistency",
                value=2.37,
                source=_PAPER,
                note=_MEMORY,
            ),
        ),
        tags=("video", "open", "judge"),
    )


def _one_question_each(row: Row) -> Iterable[Row]:
    """Yield both questions of a consistency row, else the one; absent ones are the text None."""
    asked = [row.get(f"question_{number}") for number in (1, 2)]
    pair = [question for question in asked if question not in (None, "", "None")]
    group = row["file"].partition("/")[0].lower()
    for question in pair or [row["question"]]:
        yield {
            **row,
            "id": f"{row['cluster']} {question}",
            "cluster": f"{row['cluster']} {row['answer']}" if pair else row["cluster"],
            "question": question,
            "group": group,
        }


def _twin() -> list[Row]:
    circle, square = moving("red", "circle"), moving("blue", "square", "down")
    asked = [
        ("Generic", "v_1", "What happens?", "", "", "A red circle moves right.", circle),
        ("Temporal", "v_2", "What happens first?", "", "", "A blue square moves down.", square),
        ("Consistency", "v_2", "", "Where does it go?", "Which way?", "It goes down.", square),
    ]
    return [
        {
            "file": f"{folder}/test-00000-of-00001.parquet",
            "cluster": name,
            "question": question or "None",
            "question_1": first or "None",
            "question_2": second or "None",
            "answer": answer,
            "video": video,
        }
        for folder, name, question, first, second, answer, video in asked
    ]

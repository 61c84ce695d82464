"""Clotho-AQA: questions about sounds of the world, each answered by three people."""

from __future__ import annotations

from hocket.eval.draw import tones
from hocket.eval.metrics.exact_match import ExactMatch
from hocket.eval.table import InFile, Layout, Row, Table
from hocket.eval.task import SHORT, Anchor, Task, tasks


@tasks.register
def task() -> Task:
    """Return Clotho-AQA's test split; the answer of each of the people is a row of its own."""
    return Task(
        title="Clotho-AQA",
        download="clotho_aqa_test.csv and audio_files of https://zenodo.org/records/6473207",
        layouts=(
            Layout(
                table=Table(path="clotho_aqa_test.csv", kind="csv"),
                fields={"cluster": "file_name", "question": "QuestionText"},
                media={"audio": InFile(path="audio_files/{file_name}")},
            ),
        ),
        hook=lambda row: (
            {
                **row,
                "id": f"{row['cluster']} {row['question']}",
                "group": "yes or no" if row["answer"] in ("yes", "no") else "word",
            },
        ),
        prompt="{question}" + SHORT,
        metrics=(ExactMatch(),),
        twin=_twin,
        anchors=(
            Anchor(
                model="Qwen-Audio",
                metric="exact_match",
                value=57.9,
                source="arXiv 2311.07919",
                note="quoted from memory: compare with the paper before use",
            ),
        ),
        tags=("audio", "vqa", "short"),
    )


def _twin() -> list[Row]:
    asked = [
        ("a.wav", "Is the tone high?", "yes", "high"),
        ("b.wav", "How many tones are there?", "three", "low low middle"),
    ]
    return [
        {
            "cluster": name,
            "question": question,
            "answer": answer,
            "confidence": "yes",
            "audio": tones(words),
        }
        for name, question, answer, words in asked
    ]

"""LibriSpeech: read English, to be written down."""

from __future__ import annotations

from collections.abc import Iterable

from hocket.eval.draw import tones
from hocket.eval.metrics.word_error_rate import WordErrorRate
from hocket.eval.table import InColumn, InFile, Layout, Row, Table
from hocket.eval.task import Anchor, Task, tasks
from hocket.infer.sampling import Sampling


@tasks.register
def task() -> Task:
    """Return LibriSpeech's test-other; any folder of its form will do as well."""
    return Task(
        title="LibriSpeech test-other",
        download="test-other.tar.gz of https://www.openslr.org/12, or other/test-*.parquet of "
        "openslr/librispeech_asr of the Hugging Face hub",
        layouts=(
            Layout(
                table=Table(path="test-other/*/*/*.trans.txt", kind="transcripts"),
                media={"audio": InFile(path="{id}.flac", beside=True)},
            ),
            Layout(
                table=Table(path="other/test-*.parquet", kind="parquet"),
                media={"audio": InColumn(name="audio")},
            ),
        ),
        hook=_by_speaker,
        prompt="Write down what is said.",
        metrics=(WordErrorRate(), WordErrorRate(unit="characters")),
        sampling=Sampling(max_new_tokens=256),
        twin=_twin,
        anchors=(
            Anchor(model="VITA-1.5", metric="word_error_rate", value=7.5, source="VITA, README"),
            Anchor(
                model="VITA-1.0",
                metric="word_error_rate",
                value=18.41,
                source="VITA, asset pictures",
            ),
        ),
        tags=("audio", "asr"),
    )


def _by_speaker(row: Row) -> Iterable[Row]:
    yield {**row, "answer": row["text"], "cluster": row["id"].split("-")[0]}


def _twin() -> list[Row]:
    said = ["LOW HIGH HIGH", "MIDDLE LOW", "HIGH MIDDLE LOW LOW"]
    return [
        {"id": f"1-1-{at:04d}", "text": text, "audio": tones(text)} for at, text in enumerate(said)
    ]

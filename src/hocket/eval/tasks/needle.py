"""Vision needle in a haystack: one odd picture among the frames of a video (LongVILA)."""

from __future__ import annotations

import functools
from collections.abc import Iterable
from pathlib import Path

from hocket.eval.draw import moving, printed
from hocket.eval.metrics.needle import Needle
from hocket.eval.table import InColumn, InFile, Layout, Row, Table
from hocket.eval.task import Anchor, Task, tasks
from hocket.media.film import Frames
from hocket.media.frames import sampler_from
from hocket.media.image import Image
from hocket.media.video import Video

FRAMES = (4, 8, 16, 32)
DEPTHS = 5


@tasks.register
def task() -> Task:
    """Return the grid of lengths and depths; every frame is a picture, so none is left out."""
    return Task(
        title="Vision needle in a haystack",
        download="lmms-lab/v_niah_needles of the Hugging Face hub, and any long video as "
        "haystack.mp4",
        layouts=(
            Layout(
                table=Table(path="data/test-*.parquet", kind="parquet"),
                media={
                    "image": InColumn(name="image"),
                    "video": InFile(path="haystack.mp4"),
                },
            ),
        ),
        hook=_hidden,
        prompt="{question}",
        metrics=(Needle(),),
        keep=("frames", "depth"),
        twin=_twin,
        anchors=(
            Anchor(
                model="LongVILA-7B",
                metric="needle",
                value=99.8,
                source="arXiv 2408.10188",
                note="up to 6,000 frames, teacher forced; quoted from memory",
            ),
        ),
        tags=("video", "image", "long", "needle"),
    )


def _hidden(row: Row) -> Iterable[Row]:
    """Yield the needle at each depth of each length; depth 0 is the first frame, 1 the last."""
    needle: Image = row["image"]
    video: Video = row["video"]
    for count in FRAMES:
        frames = _haystack(video.where.path, count)
        for step in range(DEPTHS + 1):
            at = round((count - 1) * step / DEPTHS)
            pictures = [Image.from_array(frame, f"frame {n}") for n, frame in enumerate(frames)]
            pictures[at] = needle
            shown = {name: value for name, value in row.items() if name != "video"}
            yield {
                **shown,
                "id": f"{row['question']} {count} frames, {step}/{DEPTHS}",
                "image": tuple(pictures),
                "group": f"{count} frames",
                "cluster": row["question"],
                "frames": count,
                "depth": step / DEPTHS,
            }


@functools.lru_cache(maxsize=1)
def _haystack(path: Path, count: int) -> Frames:
    """Return frames spread evenly over a video; kept, since each needle asks for them in turn."""
    return Video.from_path(path).load(sampler_from({"kind": "uniform", "frames": count}))[0]


def _twin() -> list[Row]:
    return [
        {
            "question": "Which word is printed on the white sheet?",
            "answer": "needle",
            "image": printed("needle"),
            "video": moving("blue", "square", frames=32),
        }
    ]

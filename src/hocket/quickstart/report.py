"""The quickstart's report: one HTML file that needs nothing else, not even a network.

Knows the result and the log; must not know how either was made. Pictures, sounds and films are
inside the file, so it can be mailed.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from jinja2 import Environment, StrictUndefined
from PIL import Image as Pil

from hocket.chat.conversation import Medium, Message, Text
from hocket.eval.interval import Share
from hocket.eval.run import Scored
from hocket.media.audio import Audio
from hocket.media.frames import Uniform
from hocket.media.image import Image
from hocket.media.video import Video
from hocket.quickstart.charts import interval_bar, loss_chart
from hocket.quickstart.result import QuickstartResult

SOUND_RATE = 16_000
STRIP_FRAMES = 8
BIGGEST_FILM_BYTES = 200_000


def pick_examples(scored: Sequence[Scored], *, count: int = 24) -> tuple[Scored, ...]:
    """Choose questions to show: every task in turn, wrong answers up to a third.

    Args:
        scored: every answered question.
        count: how many to show.
    """
    wrong = _in_turn([one for one in scored if not one.right])[: count // 3]
    right = _in_turn([one for one in scored if one.right])[: count - len(wrong)]
    return tuple(sorted([*right, *wrong], key=lambda one: one.question.task))


def write_report(
    path: Path, result: QuickstartResult, log: Sequence[Mapping[str, Any]], *, config_yaml: str
) -> None:
    """Write the report.

    Args:
        path: the HTML file.
        result: what the run measured.
        log: one line per optimizer step, as `hocket.train.log.read_log` returns them.
        config_yaml: the resolved configuration.
    """
    source = (files("hocket.quickstart") / "page" / "report.html.jinja").read_text("utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["percent"] = _percent
    page = environment.from_string(source).render(
        result=result,
        minutes=sum(result.seconds.values()) / 60,
        rows=_rows(result),
        tasks=[(name, share, interval_bar(share)) for name, share in result.tasks.items()],
        chart=loss_chart(log),
        speed=_speed(log),
        cards=[_card(one) for one in result.examples],
        config_yaml=config_yaml,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8")


def _in_turn(scored: Sequence[Scored]) -> list[Scored]:
    """Deal one question of each task after the other."""
    piles: dict[str, list[Scored]] = {}
    for one in scored:
        piles.setdefault(one.question.task, []).append(one)
    dealt = []
    for turn in range(max((len(pile) for pile in piles.values()), default=0)):
        dealt += [pile[turn] for pile in piles.values() if turn < len(pile)]
    return dealt


def _rows(result: QuickstartResult) -> list[dict[str, Any]]:
    return [
        {
            "modality": modality,
            "after": after,
            "bar": interval_bar(after),
            "before": result.before.get(modality),
            "removed": result.removed.get(modality),
            "swapped": result.swapped.get(modality),
        }
        for modality, after in result.after.items()
    ]


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
        "turns": [_turn(message) for message in question.conversation.messages],
        "target": question.target,
        "answer": one.answer,
    }


def _turn(message: Message) -> dict[str, Any]:
    parts = [
        {"text": part.text} if isinstance(part, Text) else _medium(part) for part in message.parts
    ]
    return {"role": message.role.value, "parts": parts}


def _medium(medium: Medium) -> dict[str, str]:
    if isinstance(medium, Image):
        return {"image": _data_url("image/png", _png(medium.load())), "name": medium.where.name}
    if isinstance(medium, Audio):
        return {"audio": _data_url("audio/wav", _wav(medium)), "name": medium.where.name}
    return _film(medium)


def _film(video: Video) -> dict[str, str]:
    """Return a strip of frames, and the film itself when it is small."""
    frames, _ = video.load(Uniform(STRIP_FRAMES))
    shown = {"strip": _data_url("image/png", _png(np.concatenate(list(frames), axis=1)))}
    path = video.where.path
    if path is not None and path.stat().st_size <= BIGGEST_FILM_BYTES:
        shown["film"] = _data_url("video/mp4", path.read_bytes())
    return shown | {"name": video.where.name}


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Pil.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return buffer.getvalue()


def _wav(sound: Audio) -> bytes:
    buffer = io.BytesIO()
    soundfile.write(buffer, sound.load(SOUND_RATE), SOUND_RATE, format="WAV", subtype="PCM_16")
    return buffer.getvalue()


def _data_url(kind: str, data: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def _percent(share: Share | None) -> str:
    return "-" if share is None else f"{share.value:.1%}"

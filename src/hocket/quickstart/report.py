"""The quickstart's report: one HTML file that needs nothing else, not even a network.

Knows the result and the log; must not know how either was made. Pictures, sounds and films are
inside the file, so it can be mailed.
"""

from __future__ import annotations

import base64
import io
from collections import Counter
from collections.abc import Mapping, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from einops import rearrange
from jinja2 import Environment, StrictUndefined
from PIL import Image as Pil

from hocket.chat.conversation import Medium, Message, Text
from hocket.checkpoint.manifest import machine_error
from hocket.eval.interval import Share
from hocket.eval.run import Scored
from hocket.media.audio import Audio
from hocket.media.container import opened
from hocket.media.frames import Uniform
from hocket.media.image import Image
from hocket.media.limits import DEFAULT_LIMITS
from hocket.media.video import Frames, Video
from hocket.quickstart.charts import SMOOTHING_STEPS, interval_bar, loss_chart
from hocket.quickstart.result import QuickstartResult

SOUND_RATE = 16_000
STRIP_FRAMES = 8
STRIP_COLUMNS = 4
STRIP_GAP_PIXELS = 1
STRIP_GAP_GREY = 160
BIGGEST_FILM_BYTES = 200_000
# What browsers play: MPEG-4 part 2, which PyAV without x264 writes, is not among it.
PLAYED_CODECS = frozenset({"h264"})


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
    source = (files("hocket.quickstart") / "page" / "report.html.jinja").read_text("utf-8")
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    environment.filters["percent"] = _percent
    environment.filters["clock"] = _clock
    page = environment.from_string(source).render(
        result=result,
        rows=_rows(result),
        mistakes=_count_wrong(result),
        tasks=[(name, share, interval_bar(share)) for name, share in result.tasks.items()],
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
            "bar": interval_bar(after),
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
        "turns": [_turn(message) for message in question.conversation.messages],
        "target": question.target,
        "answer": one.answer,
    }


def _turn(message: Message) -> dict[str, Any]:
    parts = [
        # A line break beside a medium separates tokens; here the layout separates.
        {"text": part.text.strip("\n")} if isinstance(part, Text) else _medium(part)
        for part in message.parts
    ]
    return {"role": message.role.value, "parts": parts}


def _medium(medium: Medium) -> dict[str, str]:
    # The file's own name: a report is mailed to people who need not know the folders.
    name = {"name": Path(medium.where.name).name}
    if isinstance(medium, Image):
        return {"image": _data_url("image/png", _png(medium.load()))} | name
    if isinstance(medium, Audio):
        return {"audio": _data_url("audio/wav", _wav(medium))} | name
    return _film(medium) | name


def _film(video: Video) -> dict[str, str]:
    """Return a strip of frames, and the film itself if it is small and browsers play it."""
    frames, _ = video.load(Uniform(STRIP_FRAMES))
    shown = {"strip": _data_url("image/png", _png(_strip(frames))), "frames": str(len(frames))}
    data = _playable_bytes(video)
    return shown | {"film": _data_url("video/mp4", data)} if data else shown


def _playable_bytes(video: Video) -> bytes | None:
    where = video.where
    in_file = where.path is not None or where.data is not None
    if not in_file or where.check(DEFAULT_LIMITS) > BIGGEST_FILM_BYTES:
        return None
    with opened(where, DEFAULT_LIMITS, noun="video") as container:
        codec = container.streams.video[0].codec_context.name
        if "mp4" not in container.format.name or codec not in PLAYED_CODECS:
            return None
    with where.open() as stream:
        return stream.read()


def _strip(frames: Frames) -> Frames:
    """Lay frames, uint8 (N, H, W, 3), in rows on a grey sheet, uint8 (H', W', 3)."""
    columns = min(STRIP_COLUMNS, len(frames))
    spare = -len(frames) % columns
    edge = (0, STRIP_GAP_PIXELS)
    padded = np.pad(
        frames, ((0, spare), edge, edge, (0, 0)), constant_values=np.uint8(STRIP_GAP_GREY)
    )
    return rearrange(padded, "(row column) h w c -> (row h) (column w) c", column=columns)


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


def _percent(share: Share) -> str:
    return f"{share.value:.1%}"


def _clock(seconds: float) -> str:
    whole = round(seconds)
    return f"{whole // 60} min {whole % 60} s" if whole >= 60 else f"{whole} s"

"""How a world is spoken to over HTTP: every call is a POST of JSON, every answer is JSON.

========== ================================================ =======================================
call       sends                                            answers
========== ================================================ =======================================
/spec      nothing                                          the fields of `NavSpec`
/episodes  nothing                                          a list, see `episode_to_json`
/reset     ``session``, ``episode`` (its id)                an observation
/step      ``session``, ``action`` (0 to 3)                 an observation, ``collided``, ``done``
/distance  ``session``, ``start``, ``goal``                 ``metres``, null where there is no way
/place     ``session``                                      ``landmarks`` and ``outline``
/close     ``session``                                      nothing
========== ================================================ =======================================

An observation is ``picture``, a PNG in base64, and ``position``. Where a token is set, each call
carries it as ``Authorization: Bearer TOKEN``.
"""

from __future__ import annotations

import base64
import binascii
import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import PIL.Image

from hocket.nav.environment import NavEpisode, Picture, Point

Json = dict[str, Any]


def picture_to_json(picture: Picture) -> str:
    """Return a picture as a PNG in base64."""
    buffer = io.BytesIO()
    PIL.Image.fromarray(picture).save(buffer, format="PNG", compress_level=1)
    return base64.b64encode(buffer.getvalue()).decode("ascii")


def picture_from_json(text: str) -> Picture:
    """Return the picture of `picture_to_json`.

    Raises:
        ValueError: it is none.
    """
    try:
        data = base64.b64decode(text, validate=True)
        with PIL.Image.open(io.BytesIO(data)) as opened:
            return np.asarray(opened.convert("RGB"))
    except (binascii.Error, OSError) as error:
        raise ValueError(f"no picture: {error}") from error


def episode_to_json(episode: NavEpisode) -> Json:
    """Return what an episode says of itself; the server keeps the rest."""
    return {
        "id": episode.id,
        "scene": episode.scene,
        "instruction": episode.instruction,
        "language": episode.language,
        "start": episode.start.tolist(),
        "heading_deg": episode.heading_deg,
        "goal": episode.goal.tolist(),
        "reference": episode.reference.tolist(),
        "shortest_m": episode.shortest_m,
        "info": dict(episode.info),
    }


def episode_from_json(row: Mapping[str, Any]) -> NavEpisode:
    """Return the episode of `episode_to_json`.

    Raises:
        KeyError: something is missing.
        ValueError: a position is none, or the way to take has none.
    """
    reference = np.array(row["reference"], np.float64).reshape(-1, 3)
    if not len(reference) or not np.isfinite(reference).all():
        raise ValueError(
            "reference holds no way, expected positions; [goal] if nothing else is known"
        )
    shortest = row.get("shortest_m")
    return NavEpisode(
        id=str(row["id"]),
        scene=str(row["scene"]),
        instruction=str(row["instruction"]),
        language=str(row.get("language", "en")),
        start=point(row["start"]),
        heading_deg=float(row["heading_deg"]),
        goal=point(row["goal"]),
        reference=reference,
        shortest_m=None if shortest is None else float(shortest),
        info=dict(row.get("info", {})),
    )


def point(values: Any) -> Point:
    """Return three numbers as a position.

    Raises:
        ValueError: they are not, or one is not finite.
    """
    found = np.array(values, np.float64).reshape(3)
    if not np.isfinite(found).all():
        raise ValueError(f"{values} is no position")
    return found

"""The pictures of the page in the docs, drawn again: ``python -m tests.serve.shots docs/images``.

Answers are those written here; nothing is asked of a model. ``playwright`` and ``chromium`` must be
there, and a font with Chinese letters.
"""

from __future__ import annotations

import argparse
import io
import re
import shutil
import wave
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageDraw
from tests.serve.page_app import Script, page_app, serve

FLAGS = ("--no-sandbox", "--disable-gpu", "--use-fake-device-for-media-stream")
FLAGS += ("--use-fake-ui-for-media-stream",)
_DONE = ".turn.assistant:last-child:not([aria-busy])"
_WIDE = """# What I see and hear

The picture shows a **red circle** left of a *blue square*, and the sound is a tone of `440 Hz`:

| Thing | Where | Sure |
|:--|:-:|--:|
| circle | left | 0.98 |
| square | right | 0.95 |
| tone | whole clip | 0.91 |

1. Crop the circle
2. Compare it with the square
   - by *area*
   - by colour

```python
from PIL import Image

circle = Image.open("shapes.png").crop((80, 100, 280, 300))
circle.save("circle.png")
```

More in [the guide](https://example.org/guide).
"""
_DARK = """# \u770b\u5230\u548c\u542c\u5230\u7684\u5185\u5bb9

\u56fe\u4e2d\u6709\u4e00\u4e2a**\u7ea2\u8272\u5706\u5f62**\uff0c\u5728*\u84dd\u8272\u6b63\u65b9\u5f62*\
\u5de6\u8fb9\uff1b\u58f0\u97f3\u662f `440 Hz` \u7684\u7eaf\u97f3\u3002

| \u7269\u4f53 | \u4f4d\u7f6e | \u7f6e\u4fe1\u5ea6 |
|:--|:-:|--:|
| \u5706\u5f62 | \u5de6 | 0.98 |
| \u6b63\u65b9\u5f62 | \u53f3 | 0.95 |

1. \u88c1\u526a\u5706\u5f62
2. \u4e0e\u6b63\u65b9\u5f62\u6bd4\u8f83
"""
_NARROW = "The clip holds one steady tone of `440 Hz`, an **A4**.\n\n- 3 seconds\n- no speech\n"


@dataclass(frozen=True, slots=True)
class Shot:
    """A picture of the page.

    Attributes:
        name: of its file.
        size: width and height in pixels.
        locale: of the browser.
        dark: whether the browser wants a dark page.
        questions: a chat each; the last one has the media.
        answer: what is said to the last.
        records: whether the microphone is on.
    """

    name: str
    size: tuple[int, int]
    locale: str
    dark: bool
    questions: tuple[str, ...]
    answer: str
    records: bool = False


SHOTS = (
    Shot(
        "serve-page",
        (1180, 1230),
        "en-US",
        False,
        (
            "What happens in this video?",
            "Summarise the recording",
            "What is in the picture, and what do you hear?",
        ),
        _WIDE,
    ),
    Shot(
        "serve-page-dark",
        (1000, 880),
        "zh-CN",
        True,
        (
            "\u8fd9\u6bb5\u89c6\u9891\u91cc\u53d1\u751f\u4e86\u4ec0\u4e48\uff1f",
            "\u56fe\u7247\u91cc\u6709\u4ec0\u4e48\uff1f\u4f60\u542c\u5230\u4e86\u4ec0\u4e48\uff1f",
        ),
        _DARK,
    ),
    Shot("serve-page-narrow", (360, 740), "en-US", False, ("What do you hear?",), _NARROW, True),
)


def media() -> list[dict[str, Any]]:
    """Return a picture of two shapes and a tone of three seconds, as a browser's files."""
    picture, sound = io.BytesIO(), io.BytesIO()
    made = Image.new("RGB", (640, 400), "#f5ebd8")
    pen = ImageDraw.Draw(made)
    pen.ellipse((80, 100, 280, 300), fill="#d03b30")
    pen.rectangle((380, 110, 560, 290), fill="#2d5ba9")
    made.save(picture, "PNG")
    tone = 8000 * np.sin(2 * np.pi * 440 * np.arange(48000) / 16000)
    with wave.open(sound, "wb") as file:
        file.setparams((1, 2, 16000, 0, "NONE", ""))
        file.writeframes(tone.astype("<i2").tobytes())
    return [
        {"name": "shapes.png", "mimeType": "image/png", "buffer": picture.getvalue()},
        {"name": "tone.wav", "mimeType": "audio/wav", "buffer": sound.getvalue()},
    ]


def take(browser: Any, shot: Shot, file: Path) -> None:
    """Open the page, ask, and keep what it looks like."""
    script = Script()
    script.answers, script.wait = ["Yes."] * (len(shot.questions) - 1) + [shot.answer], 0.02
    width, height = shot.size
    colours = "dark" if shot.dark else "light"
    with serve(page_app(script)) as address:
        view = {"width": width, "height": height}
        context = browser.new_context(viewport=view, locale=shot.locale, color_scheme=colours)
        page = context.new_page()
        page.goto(address)
        page.wait_for_selector("#model option", state="attached")
        for number, question in enumerate(shot.questions):
            if number:
                page.click("#new")
                page.wait_for_selector("#empty:visible")
            if number == len(shot.questions) - 1:
                page.set_input_files("#files", media())
                page.locator("#tray .part").nth(1).wait_for()
            page.fill("#say", question)
            page.press("#say", "Enter")
            page.wait_for_selector(_DONE)
        if shot.records:
            page.click("#mic")
            page.get_by_text(re.compile("^0:02$")).wait_for()
        else:
            page.locator("#say").focus()
        page.screenshot(path=file)
        context.close()


def main(arguments: Sequence[str] | None = None) -> None:
    """Draw all of them into a folder."""
    from playwright.sync_api import sync_playwright  # an extra of who draws

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args(arguments).folder
    with sync_playwright() as found:
        browser = found.chromium.launch(executable_path=shutil.which("chromium"), args=[*FLAGS])
        for shot in SHOTS:
            take(browser, shot, folder / f"{shot.name}.png")
        browser.close()


if __name__ == "__main__":
    main()

"""Which writing systems a text uses, found by its code points alone.

A script is no language, but it tells Chinese from English at the price of a table look-up; knowing
more would take a model. Knows characters only.
"""

from __future__ import annotations

import numpy as np

# First code point and name of each range of letters; "" is punctuation, digits and the rest.
_RANGES = (
    (0x0000, ""),
    (0x0041, "Latin"),
    (0x005B, ""),
    (0x0061, "Latin"),
    (0x007B, ""),
    (0x00C0, "Latin"),
    (0x0250, ""),
    (0x0370, "Greek"),
    (0x0400, "Cyrillic"),
    (0x0530, "Armenian"),
    (0x0590, "Hebrew"),
    (0x0600, "Arabic"),
    (0x0700, ""),
    (0x0750, "Arabic"),
    (0x0780, ""),
    (0x0900, "Devanagari"),
    (0x0980, "Bengali"),
    (0x0A00, ""),
    (0x0B80, "Tamil"),
    (0x0C00, "Telugu"),
    (0x0C80, ""),
    (0x0E00, "Thai"),
    (0x0E80, ""),
    (0x10A0, "Georgian"),
    (0x1100, "Hangul"),
    (0x1200, "Ethiopic"),
    (0x1380, ""),
    (0x1E00, "Latin"),
    (0x1F00, "Greek"),
    (0x2000, ""),
    (0x3040, "Kana"),
    (0x3100, ""),
    (0x3400, "Han"),
    (0x4DC0, ""),
    (0x4E00, "Han"),
    (0xA000, ""),
    (0xAC00, "Hangul"),
    (0xD7B0, ""),
    (0xF900, "Han"),
    (0xFB00, ""),
    (0x20000, "Han"),
    (0x32000, ""),
)
_STARTS = np.array([start for start, _ in _RANGES])
_NAMES = np.array([name for _, name in _RANGES])
NO_LETTERS = "none"


def main_script(text: str) -> str:
    """Return the script that most letters of a text are of, ``none`` without letters.

    Kana decides: Japanese has more Han characters than kana, and no other language has kana.
    """
    if text.isascii():
        return "Latin" if any(map(str.isalpha, text)) else NO_LETTERS
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype="<u4")
    names = _NAMES[np.searchsorted(_STARTS, codes, side="right") - 1]
    found, counts = np.unique(names[names != ""], return_counts=True)
    if not len(found):
        return NO_LETTERS
    if "Kana" in found:
        return "Kana"
    return str(found[counts.argmax()])

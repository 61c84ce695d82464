"""The report of walks: one page with everything inside. Knows records; draws with `drawing`."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from hocket._errors import MachineError
from hocket.nav.drawing import from_above
from hocket.nav.record import Record
from hocket.nav.score import Profile
from hocket.nav.table import Mean, TableRow
from hocket.report.charts import interval_bar
from hocket.report.media import environment


def write_page(
    file: Path,
    rows: Sequence[TableRow],
    walks: Mapping[str, Sequence[Record]],
    profile: Profile,
    setup: Mapping[str, Any],
    pictures: Path,
) -> None:
    """Write the report.

    Args:
        file: the page.
        rows: the table.
        walks: agent -> its walks; those with a strip in `pictures` are shown.
        profile: how they were scored.
        setup: what was walked and how.
        pictures: folder of ``AGENT-INDEX.png``.

    Raises:
        MachineError: the page cannot be written.
    """
    shown = {
        agent: [_view(one, pictures / f"{agent}-{one.index}.png") for one in records]
        for agent, records in walks.items()
    }
    page = environment("hocket.nav").get_template("walks.html.jinja")
    text = page.render(
        rows=rows,
        shown={name: kept for name, views in shown.items() if (kept := [v for v in views if v])},
        profile=profile,
        setup=setup,
        bar=_bar,
    )
    try:
        file.write_text(text, encoding="utf-8")
    except OSError as error:
        raise MachineError(f"{file} cannot be written: {error}. Free space.") from error


def _view(record: Record, picture: Path) -> dict[str, Any] | None:
    """Return a walk as the template shows it; None for one without a picture."""
    if not picture.exists():
        return None
    data = base64.b64encode(picture.read_bytes()).decode("ascii")
    # Made here of numbers and escaped names.
    drawing = Markup(from_above(record))
    return {"record": record, "drawing": drawing, "strip": f"data:image/png;base64,{data}"}


def _bar(mean: Mean) -> Markup:
    return Markup(interval_bar(mean.value, mean.low, mean.high))

"""Runs the suites, and writes what came of them into a page.

``python -m tests.abuse --size nightly --write docs/serving.md``; with ``--only NAME`` that row of
the table alone is written again.
"""

from __future__ import annotations

import argparse
import os
import platform
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

# Before torch is imported: what is tried needs few cores, and no network.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ["HF_HUB_OFFLINE"] = "1"

from tests.abuse.suite import Outcome, Size, Suite, run  # as above
from tests.abuse.suites import SUITES  # as above

START, END = "<!-- abuse: start -->", "<!-- abuse: end -->"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run suites; return 1 where a case failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", type=Size, choices=list(Size), default=Size.CI)
    parser.add_argument("--only", action="append", help="name of a suite; may be given repeatedly")
    parser.add_argument("--write", type=Path, help="page that has the two marks of the table")
    parser.add_argument("--count", type=int, help="cases of each suite at most")
    given = parser.parse_args(arguments)
    unknown = set(given.only or ()) - {suite.name for suite in SUITES}
    if unknown:
        parser.error(f"no suite {unknown}; known: {', '.join(suite.name for suite in SUITES)}")
    done: list[tuple[Suite, Outcome]] = []
    for suite in SUITES:
        if given.only and suite.name not in given.only:
            continue
        count = min(suite.counts[given.size], given.count or suite.counts[given.size])
        with tempfile.TemporaryDirectory() as folder:
            work = Path(folder, "work")
            work.mkdir()
            os.environ["HOCKET_CACHE"] = str(Path(folder, "cache"))
            outcome = run(suite, work, count=count)
        done.append((suite, outcome))
        print(_line(suite, outcome))  # noqa: T201 # a script's result
        for failure in outcome.failures[:20]:
            print(f"  {failure}")  # noqa: T201 # a script's result
    if given.write:
        _write(given.write, _table(done, given.size), some=bool(given.only))
    return int(any(outcome.failures for _, outcome in done))


def _line(suite: Suite, outcome: Outcome) -> str:
    return (
        f"{suite.name}: {outcome.cases} cases, {outcome.refused} refused, "
        f"{outcome.answered} answered, {outcome.lost} decoders lost, "
        f"{len(outcome.failures)} failed, {outcome.seconds:.1f} s, slowest {outcome.slowest:.2f} s"
    )


def _table(done: Sequence[tuple[Suite, Outcome]], size: Size) -> str:
    day = datetime.now(UTC).date().isoformat()
    rows = [
        f"Size `{size}`, {day}, Python {platform.python_version()} on {platform.system()}. Refused "
        "means an error of one sentence for its sender; the rest was answered as it should be.",
        "",
        "| suite | what is tried | passes when | cases | refused | failed | slowest |",
        "|---|---|---|---:|---:|---:|---:|",
    ]
    rows += [
        f"| {suite.name} | {suite.tries} | {suite.means} | {outcome.cases:,} | "
        f"{outcome.refused:,} | {len(outcome.failures)} | {outcome.slowest:.1f} s |"
        for suite, outcome in done
    ]
    return "\n".join(rows)


def _write(page: Path, table: str, *, some: bool) -> None:
    """Put a table between the marks of a page, or some rows into the one that is there."""
    text = page.read_text(encoding="utf-8") if page.exists() else f"{START}\n{END}\n"
    if START not in text or END not in text:
        text = f"{text.rstrip()}\n\n{START}\n{END}\n"
    head, rest = text.split(START, 1)
    old, tail = rest.split(END, 1)
    if some and (was := _rows(old)):
        kept = {line: line for line in old.strip().splitlines()}
        fresh = {was.get(name, name): row for name, row in _rows(table).items()}
        table = "\n".join((kept | fresh).values())
    page.write_text(f"{head}{START}\n{table}\n{END}{tail}", encoding="utf-8")


def _rows(table: str) -> dict[str, str]:
    """Return the rows of a table by what their first cell says."""
    rows = [line for line in table.splitlines() if line.startswith("| ")]
    return {row.split("|")[1].strip(): row for row in rows[1:]}


if __name__ == "__main__":
    raise SystemExit(main())

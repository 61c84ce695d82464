"""The console and the logger."""

from __future__ import annotations

import logging
import subprocess
import sys

import pytest

from hocket._log import console, logger, warn


def test_a_warning_goes_to_stderr_and_brackets_survive(
    capsys: pytest.CaptureFixture[str],
) -> None:
    warn("run: pip install 'hocket[quickstart]' at 100%")
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "warning: run: pip install 'hocket[quickstart]' at 100%\n"


def test_an_application_sees_the_records(caplog: pytest.LogCaptureFixture) -> None:
    warn("odd")
    assert caplog.record_tuples == [("hocket", logging.WARNING, "odd")]


def test_the_handler_is_there_once() -> None:
    assert len(logger.handlers) == 1


def test_console_is_shared_and_reads_no_color(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    first = console()
    assert not first.no_color
    monkeypatch.setenv("NO_COLOR", "1")
    assert console() is first
    assert first.no_color


def test_importing_it_loads_neither_rich_nor_torch() -> None:
    code = (
        "import sys, hocket._log; "
        "sys.exit(sorted({'rich', 'torch', 'transformers'} & set(sys.modules)) or 0)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)

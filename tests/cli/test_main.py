"""The shell: what is imported, which exit code an error has, and what the user reads."""

from __future__ import annotations

import errno
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer

from hocket._errors import CheckpointError, ConfigError, MachineError, MissingExtraError
from hocket.cli import main as shell
from hocket.cli._verbs import FOLDER, ORDER, list_verbs
from hocket.cli.main import explain, main


def run(*words: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(words)
    code = left.value.code
    assert isinstance(code, int)
    return code


@pytest.fixture
def verb(monkeypatch: pytest.MonkeyPatch) -> Callable[[Exception | type[BaseException]], None]:
    """Make ``hocket doctor`` raise something, through the real app and its error handling."""

    def raise_in_verb(error: Exception | type[BaseException]) -> None:
        def command() -> None:
            raise error

        def add(app: typer.Typer, words: list[str]) -> None:
            app.command(words[0])(command)

        monkeypatch.setattr(shell, "add_verb", add)

    return raise_in_verb


@pytest.mark.parametrize("words", [["--help"], [], ["--version"], ["nonsense"]])
def test_the_shell_imports_nothing_heavy(words: list[str]) -> None:
    code = (
        "import sys\n"
        "from hocket.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'transformers', 'hydra', 'omegaconf', 'numpy', 'accelerate'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_help_lists_every_verb_with_its_docstring(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--help") == 0
    shown = capsys.readouterr().out
    for name, line in list_verbs().items():
        assert name in shown
        assert line.endswith("."), f"the docstring of {FOLDER / name}.py needs a first line"


def test_verbs_are_the_files_of_the_folder_newcomers_first() -> None:
    verbs = list(list_verbs())
    assert "doctor" in verbs
    assert "main" not in verbs
    known = [name for name in ORDER if name in verbs]
    assert verbs[: len(known)] == known


def test_a_noun_lists_its_verbs_and_knows_a_misspelt_one(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert run("data", "--help") == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in list_verbs(FOLDER / "data"))
    assert run("data", "shwo") == 2
    assert "Did you mean 'data show'?" in capsys.readouterr().err


def test_no_words_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run() == 0
    assert "doctor" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("--version") == 0
    assert capsys.readouterr().out.startswith("hocket ")


def test_an_unknown_verb_gets_a_suggestion(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("docter") == 2
    assert "error: no command is called 'docter'. Did you mean 'doctor'?" in capsys.readouterr().err


def test_an_unknown_option_is_an_error_of_the_user(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("doctor", "--jsn") == 2
    lines = capsys.readouterr().err.splitlines()
    assert "--jsn" in lines[0]
    assert lines[1:] == ["Try: hocket doctor --help"]


def test_an_error_of_the_user_has_no_traceback(
    verb: Callable[[Exception], None], capsys: pytest.CaptureFixture[str]
) -> None:
    verb(ConfigError("train.sede: there is no such key. [red]Did you mean 'seed'?"))
    assert run("doctor") == 2
    shown = capsys.readouterr()
    assert shown.err == "error: train.sede: there is no such key. [red]Did you mean 'seed'?\n"
    assert shown.out == ""


@pytest.mark.parametrize("words", [("--debug", "doctor"), ("doctor", "--debug")])
def test_debug_shows_the_traceback(
    words: tuple[str, ...], verb: Callable[[Exception], None], capsys: pytest.CaptureFixture[str]
) -> None:
    verb(ConfigError("wrong"))
    assert run(*words) == 2
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert shown.endswith("error: wrong\n")


def test_a_run_has_its_own_debug(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("train", "experiment=quickstart", "--trace", "3") == 2
    assert "--trace needs --debug" in capsys.readouterr().err
    assert run("train", "experiment=no_such", "--debug", "--trace", "3") == 2
    shown = capsys.readouterr().err
    assert "Traceback" in shown and "no_such" in shown and "--trace needs" not in shown


def test_ctrl_c_is_quiet(
    verb: Callable[[type[BaseException]], None], capsys: pytest.CaptureFixture[str]
) -> None:
    verb(KeyboardInterrupt)
    assert run("doctor") == 130
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("", "")


def test_a_fault_of_hocket_says_so(
    verb: Callable[[Exception], None], capsys: pytest.CaptureFixture[str]
) -> None:
    verb(KeyError("x"))
    assert run("doctor") == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0].startswith("error: internal error: KeyError")
    assert "--debug" in lines[1]
    assert len(lines) == 2


def test_a_verb_may_choose_its_exit_code(verb: Callable[[Exception], None]) -> None:
    verb(typer.Exit(3))
    assert run("doctor") == 3


def test_a_closed_pipe_is_no_error() -> None:
    code = "from hocket.cli.main import main; main(['--help'])"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdout is not None
        process.stdout.close()
        assert process.stderr is not None
        assert process.stderr.read() == b""


@pytest.mark.parametrize(
    ("error", "code", "part"),
    [
        (ConfigError("a"), 2, "a"),
        (CheckpointError("a\nb\nc\nd"), 2, "a\nb\nc"),
        (MachineError("no room"), 3, "no room"),
        (MissingExtraError("peft", "adapter"), 3, "hocket[adapter]"),
        (OSError(errno.ENOSPC, "No space left", "/a/b"), 3, "the disk is full at /a/b"),
        (OSError(errno.EROFS, "Read-only file system", "/a"), 3, "no permission at /a"),
        (PermissionError(errno.EACCES, "Permission denied", "/a"), 3, "no permission at /a"),
        (FileNotFoundError(errno.ENOENT, "No such file"), 3, "current folder was removed"),
        (MemoryError(), 3, "memory is full"),
        (RuntimeError("DefaultCPUAllocator: can't allocate"), 3, "memory is full"),
        (ModuleNotFoundError("No module named 'zzz'", name="zzz"), 3, "hocket doctor"),
        (ModuleNotFoundError("No module named 'hocket.x'", name="hocket.x"), 1, "internal"),
        (FileNotFoundError(errno.ENOENT, "No such file", "/a"), 1, "internal"),
        (ValueError("first\nsecond"), 1, "first"),
    ],
)
def test_explain(error: Exception, code: int, part: str) -> None:
    failure = explain(error)
    assert failure.exit_code == code
    assert part in failure.message
    assert len(failure.message.splitlines()) <= 3


def test_an_unwritable_folder_is_explained(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    with pytest.raises(OSError, match="Not a directory") as caught:
        (blocked / "below").mkdir()
    assert explain(caught.value).exit_code == 1

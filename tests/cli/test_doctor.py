"""The doctor: it passes here, and each broken thing is a failure with its fix."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import typer

from hocket.cli import doctor
from hocket.cli.doctor import Check, State, command, examine
from hocket.cli.main import main


def find(checks: list[Check], name: str) -> Check:
    return next(check for check in checks if check.name == name)


@pytest.fixture(scope="module")
def checks() -> list[Check]:
    return examine()


def test_this_machine_is_sound(checks: list[Check]) -> None:
    assert [check for check in checks if check.state is State.FAILED] == []
    names = {check.name for check in checks}
    assert {"torch", "free", "write", "picture (PNG)", "sound (FLAC)", "video (MP4)"} <= names
    assert "finite" in find(checks, "forward pass").found


def test_every_failure_has_a_fix_and_success_has_none(checks: list[Check]) -> None:
    assert all(bool(check.fix) == (check.state is State.FAILED) for check in checks)


def test_nothing_is_left_in_the_folder(tmp_path: Path) -> None:
    assert [check.state for check in doctor._disk(tmp_path)] == [State.OK, State.OK]
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    _, write = doctor._disk(tmp_path)
    assert write.state is State.OK
    space, write = doctor._disk(tmp_path / "gone")
    assert (space.state, write.state) == (State.FAILED, State.FAILED)
    assert "cd ~" in write.fix


def test_a_broken_torchvision_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "torchvision"
    package.mkdir()
    (package / "__init__.py").write_text(
        "raise RuntimeError('operator torchvision::nms does not exist')\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    broken = find(list(doctor._fragile()), "torchvision")
    assert broken.state is State.FAILED
    assert "operator torchvision::nms does not exist" in broken.found
    assert broken.fix == "pip uninstall -y torchvision"
    assert not broken.found.startswith("MachineError")


def test_a_working_torchvision_is_fine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "torchvision.py").write_text("")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert find(list(doctor._fragile()), "torchvision").state is State.OK


def test_a_missing_package_names_its_install_command() -> None:
    missing = doctor._version("hocket-no-such-package", "hocket_no_such_package")
    assert missing.state is State.FAILED
    assert missing.fix == "pip install 'hocket-no-such-package'"


def test_too_little_memory_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "LEAST_MEMORY_GB", 1e6)
    assert doctor._memory().state is State.FAILED


@pytest.mark.parametrize("broken", [True, False])
def test_exit_code_and_json(
    broken: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    state = State.FAILED if broken else State.OK
    check = Check(group="disk", name="write", state=state, found="x [b]", fix="y" * broken)
    monkeypatch.setattr(doctor, "examine", lambda: [check])
    if broken:
        with pytest.raises(typer.Exit) as left:
            command(as_json=True)
        assert left.value.exit_code == 3
    else:
        command(as_json=True)
    report = json.loads(capsys.readouterr().out)
    assert report["ok"] is not broken
    assert report["checks"][0]["found"] == "x [b]"


def test_the_table_shows_the_fix_below_the_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    check = Check(group="disk", name="write", state=State.FAILED, found="x [b]", fix="cd ~")
    monkeypatch.setattr(doctor, "examine", lambda: [check])
    with pytest.raises(typer.Exit):
        command()
    shown = capsys.readouterr().out
    assert "x [b]" in shown
    assert "fix: cd ~" in shown
    assert "1 check failed" in shown


def test_as_a_command(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["doctor", "--json"])
    assert left.value.code == 0
    assert json.loads(capsys.readouterr().out)["ok"] is True

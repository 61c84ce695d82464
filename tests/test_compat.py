"""The version checks."""

from __future__ import annotations

import pytest

from hocket import _compat
from hocket._compat import TRANSFORMERS_TESTED, VersionRange, check_versions, release
from hocket._errors import MachineError


def test_the_installed_versions_are_in_range() -> None:
    check_versions()


@pytest.mark.parametrize(
    ("version", "inside"),
    [
        ("5.10", True),
        ("5.10.0", True),
        ("5.23.0", True),
        ("5.9.9", False),
        ("5.2.0", False),
        ("4.57.1", False),
        ("6.0.0", False),
        ("6", False),
    ],
)
def test_range_compares_numbers_not_text(version: str, inside: bool) -> None:
    assert (version in TRANSFORMERS_TESTED) is inside


@pytest.mark.parametrize("same", ["2.13", "2.13.0", "2.13.0+cpu", "2.13.0rc1"])
def test_release_ignores_suffixes_and_zeros(same: str) -> None:
    assert release(same) == (2, 13)


def test_no_version_number_is_said() -> None:
    with pytest.raises(MachineError, match="'unknown' is not a version number"):
        release("unknown")


def test_a_version_out_of_range_says_what_to_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(_compat.TESTED, "transformers", VersionRange("90", "91"))
    with pytest.raises(
        MachineError, match=r"hocket is tested with >=90,<91\. Run: pip install 'transformers>=90,"
    ):
        check_versions()


def test_a_missing_package_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(_compat.TESTED, "no-such-package-here", VersionRange("1", None))
    with pytest.raises(MachineError, match="no-such-package-here is not installed, but hocket"):
        check_versions()

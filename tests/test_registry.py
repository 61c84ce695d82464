"""Registry: names from files, lookup that imports one file, and messages on a typo."""

from __future__ import annotations

import importlib
import itertools
import sys
from pathlib import Path

import pytest

from hocket._errors import ConfigError, UnknownNameError
from hocket._registry import Registry

COUNT = itertools.count()
PART = """
from {package} import parts

@parts.register
class Part:
    name = "{name}"
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make a package with a registry and the parts ``mlp`` and ``resampler``; return its name."""
    name = f"registry_example_{next(COUNT)}"
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").write_text(
        f"from hocket._registry import Registry\nparts = Registry({name!r}, noun='connector')\n"
    )
    for part in ("mlp", "resampler"):
        (folder / f"{part}.py").write_text(PART.format(package=name, name=part))
    monkeypatch.syspath_prepend(str(tmp_path))
    return name


def registry_of(package: str) -> Registry[type]:
    found: Registry[type] = importlib.import_module(package).parts
    return found


def test_names_are_the_files_and_import_none_of_them(package: str) -> None:
    assert registry_of(package).names() == ["mlp", "resampler"]
    assert f"{package}.mlp" not in sys.modules


def test_get_imports_only_the_file_of_that_name(package: str) -> None:
    part = registry_of(package).get("resampler")
    assert vars(part)["name"] == "resampler"
    assert f"{package}.resampler" in sys.modules
    assert f"{package}.mlp" not in sys.modules


def test_get_twice_gives_the_same_item(package: str) -> None:
    parts = registry_of(package)
    assert parts.get("mlp") is parts.get("mlp")


def test_a_new_file_is_a_new_name(package: str, tmp_path: Path) -> None:
    parts = registry_of(package)
    (tmp_path / package / "average.py").write_text(PART.format(package=package, name="average"))
    importlib.invalidate_caches()
    assert "average" in parts.names()
    assert vars(parts.get("average"))["name"] == "average"


def test_a_private_file_is_no_name(package: str, tmp_path: Path) -> None:
    (tmp_path / package / "_shapes.py").write_text("")
    importlib.invalidate_caches()
    assert registry_of(package).names() == ["mlp", "resampler"]


def test_a_typo_names_the_nearest_and_all_known(package: str) -> None:
    with pytest.raises(UnknownNameError) as caught:
        registry_of(package).get("resampeler")
    assert str(caught.value) == (
        "no connector is called 'resampeler'. Did you mean 'resampler'? Known: mlp, resampler."
    )


def test_a_file_that_registers_nothing_says_what_to_add(package: str, tmp_path: Path) -> None:
    (tmp_path / package / "empty.py").write_text("")
    importlib.invalidate_caches()
    with pytest.raises(ConfigError, match=r"'empty' registers nothing: put its registry's \.reg"):
        registry_of(package).get("empty")


def test_two_files_of_one_name_are_refused(package: str, tmp_path: Path) -> None:
    parts = registry_of(package)
    parts.get("mlp")
    outside = tmp_path / f"outside_{package}"
    outside.mkdir()
    (outside / "__init__.py").write_text("")
    (outside / "mlp.py").write_text(PART.format(package=package, name="other"))
    importlib.invalidate_caches()
    with pytest.raises(ConfigError, match="two files register the connector 'mlp'"):
        importlib.import_module(f"outside_{package}.mlp")


def test_another_package_joins_through_an_entry_point(package: str, tmp_path: Path) -> None:
    (tmp_path / f"plugin_{package}").mkdir()
    (tmp_path / f"plugin_{package}" / "__init__.py").write_text("")
    (tmp_path / f"plugin_{package}" / "fancy.py").write_text(
        PART.format(package=package, name="fancy")
    )
    info = tmp_path / f"plugin_{package}-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: plugin_{package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[{package}]\nfancy = plugin_{package}.fancy\n")
    importlib.invalidate_caches()
    parts = registry_of(package)
    assert parts.names() == ["fancy", "mlp", "resampler"]
    assert vars(parts.get("fancy"))["name"] == "fancy"

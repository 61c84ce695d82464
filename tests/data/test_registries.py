from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from hocket._errors import DataError
from hocket.data.registries import read_registry, unresolved

VITA = """
import os
raise SystemExit("nobody runs this")
ROOT = "/data"
AudioFolder = f"{ROOT}/sounds"
FolderDict = {"sharegpt4": ROOT + "/coco"}
ShareGPT4V = {"chat_path": os.path.join(ROOT, "a.json"), "data_ratio": 0.5}
Other = {"chat_path": f"{ROOT}/b.jsonl", "x": "/data/x"}
Empty = {"chat_path": ""}
Run = {"chat_path": os.environ["HOME"] + "/a.json"}
"""
VITA_LISTS = """
from .dataset_config import *
NaturalCap = [ShareGPT4V]
Both = NaturalCap + [Other]
DataConfig = {"Pretrain_video": NaturalCap, "All": Both, "Bad": [Run, Other]}
"""
VILA = """
DATASETS_MIXTURES = {}
def register_datasets_mixtures():
    root = "/ds"
    r2r = Dataset(dataset_name="r2r", dataset_type="vlnce", data_path=root + "/r2r.json",
                  image_path=f"{root}/train", description="walks")
    add_dataset(r2r)
    add_dataset(Dataset(dataset_name="scanqa", data_path="/p/q.json", end_idx=100,
                        caption_choice="short"))
    coyo = Dataset(dataset_name="coyo", dataset_type="coyo", data_path="/x")
    add_dataset(coyo)
    DATASETS_MIXTURES.update({"nav": [r2r, coyo], "none": [coyo]})
"""
VILA2 = """
a: {_target_: llava.data.LLaVADataset, data_path: /x/a.jsonl, media_dir: /x/media}
b: {_target_: llava.data.DummyDataset, num_instances: 3}
mixed: [a*2, c]
"""


def test_vitas_lists_become_data_sets_and_mixtures(tmp_path: Path) -> None:
    (tmp_path / "__init__.py").write_text(VITA_LISTS)
    (tmp_path / "dataset_config.py").write_text(VITA)
    found = read_registry(tmp_path)
    assert found.datasets["ShareGPT4V"] == {
        "path": "/data/a.json",
        "source": "json",
        "reader": "vita",
        "media_root": ".",
        "reader_options": {"folders": {"sharegpt4": "/data/coco"}, "audio_folder": "/data/sounds"},
        "weight": 0.5,
    }
    other = found.datasets["Other"]
    assert other["source"] == "jsonl"
    assert other["reader_options"]["folders"] == {"sharegpt4": "/data/coco", "x": "/data/x"}
    assert found.mixtures == {"Pretrain_video": "ShareGPT4V", "All": "ShareGPT4V+Other"}
    assert set(found.refused) == {"Empty", "Run", "DataConfig['Bad']"}
    assert any("os.environ['HOME']" in line for line in unresolved(found))
    assert yaml.safe_load(found.as_yaml())["mixtures"] == found.mixtures


def test_vilas_calls_become_data_sets_and_mixtures(tmp_path: Path) -> None:
    file = tmp_path / "datasets_mixture.py"
    file.write_text(VILA)
    found = read_registry(file)
    assert found.datasets == {
        "r2r": {
            "path": "/ds/r2r.json",
            "source": "json",
            "reader": "navila",
            "media_root": "/ds/train",
        },
        "scanqa": {"path": "/p/q.json", "source": "json", "reader": "vila", "max_rows": 100},
    }
    assert found.mixtures == {"nav": "r2r"}
    assert set(found.refused) == {"coyo", "none"}
    assert set(found.notes) == {"scanqa", "nav"}


def test_vila2s_yaml_becomes_data_sets_and_mixtures(tmp_path: Path) -> None:
    file = tmp_path / "default.yaml"
    file.write_text(VILA2)
    found = read_registry(file)
    assert found.datasets == {
        "a": {"path": "/x/a.jsonl", "source": "jsonl", "reader": "vila", "media_root": "/x/media"}
    }
    assert found.mixtures == {"mixed": "a*2+c"}
    assert set(found.refused) == {"b"}
    assert "c: listed elsewhere" in found.notes["mixed"]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.py", "x = (", "no Python file"),
        ("a.py", "x = 1", "lists no data sets"),
        ("a.yaml", "a: [", "cannot be read as YAML"),
        ("a.yaml", "3", "lists no data sets"),
    ],
)
def test_other_files_are_refused(name: str, text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(DataError, match=said):
        read_registry(tmp_path / name)
    with pytest.raises(DataError, match="cannot be read"):
        read_registry(tmp_path / "gone.py")

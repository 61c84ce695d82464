from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from hocket._errors import DataError, MissingExtraError
from hocket.chat.readers import readers
from hocket.data.sources.hub import HubRows


class Rows:
    """What this source uses of a data set of the library."""

    def __init__(self, count: int) -> None:
        self.count = count

    def with_format(self, name: str) -> Rows:
        assert name == "arrow"
        return self

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> SimpleNamespace:
        row = {"id": index, "image": {"bytes": b"x", "path": None}, "caption": "c"}
        return SimpleNamespace(to_pylist=lambda: [row])


class Splits(dict[str, Rows]):
    pass


class DatasetsError(Exception):
    pass


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[object, ...]]:
    """Put a stand-in for the library where it may not be installed; return what it was asked."""
    asked: list[tuple[object, ...]] = []

    def load_dataset(*name: str, split: str, download_config: object) -> Rows:
        asked.append((*name, split, download_config))
        if split == "none":
            raise ValueError("Unknown split\nmore")
        return Rows(3)

    library = ModuleType("datasets")
    vars(library).update(
        Dataset=Rows,
        DatasetDict=Splits,
        DownloadConfig=lambda local_files_only: local_files_only,
        exceptions=SimpleNamespace(DatasetsError=DatasetsError),
        load_dataset=load_dataset,
        load_from_disk=lambda name: (
            Rows(2) if name.endswith("one") else Splits(train=Rows(4), test=Rows(0))
        ),
    )
    monkeypatch.setitem(sys.modules, "datasets", library)
    return asked


def opened(path: str | Path) -> HubRows:
    return HubRows(Path(path), reader=readers.get("caption"))


def test_names_of_the_hub_have_config_and_split(
    asked: list[tuple[object, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HOCKET_OFFLINE", "0")
    monkeypatch.setenv("TRANSFORMERS_OFFLINE", "0")
    source = opened("owner/name")
    (medium,) = source[2].media()
    assert medium.where.data == b"x"
    assert source[2].source == "owner/name row 2"
    with pytest.raises(IndexError):
        source[3]
    opened("owner/name/config:test[:10%]")
    monkeypatch.setenv("HOCKET_OFFLINE", "1")
    opened("owner/name")
    with pytest.raises(DataError, match=r"owner/name cannot be opened \(Unknown split\).*cache"):
        opened("owner/name:none")
    assert asked[:3] == [
        ("owner/name", "train", False),
        ("owner/name", "config", "test[:10%]", False),
        ("owner/name", "train", True),
    ]


@pytest.mark.usefixtures("asked")
def test_folders_have_splits_or_none(tmp_path: Path) -> None:
    for name in ("one", "more"):
        (tmp_path / name).mkdir()
    assert len(opened(tmp_path / "one")) == 2
    assert len(opened(tmp_path / "more")) == 4
    with pytest.raises(DataError, match="has no splits"):
        opened(f"{tmp_path}/one:train")
    with pytest.raises(DataError, match=r"has no split 'trian'. Did you mean 'train'"):
        opened(f"{tmp_path}/more:trian")
    with pytest.raises(DataError, match="holds no rows"):
        opened(f"{tmp_path}/more:test")


def test_without_the_library_the_extra_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    with pytest.raises(MissingExtraError, match=r"hocket\[hub\]"):
        opened(tmp_path)
    with pytest.raises(DataError, match="no such folder, and it is no OWNER/NAME"):
        opened(tmp_path / "none")


def test_a_real_data_set_is_read(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    rows = [{"id": n, "image": {"bytes": b"x", "path": None}, "caption": "c"} for n in range(3)]
    features = datasets.Features(
        id=datasets.Value("int64"), image=datasets.Image(), caption=datasets.Value("string")
    )
    datasets.Dataset.from_list(rows, features=features).save_to_disk(str(tmp_path / "set"))
    source = opened(tmp_path / "set")
    (medium,) = source[2].media()
    assert medium.where.data == b"x"

"""Lists of data sets as VITA and VILA write them, as data sets and mixtures of a hocket config.

VITA: ``DataConfig``, ``FolderDict`` and ``AudioFolder`` of a Python file. VILA 1.5 and NaVILA:
``Dataset(dataset_name=...)`` and ``DATASETS_MIXTURES`` of a Python file. VILA 2: YAML files of
entries with ``_target_``, and of named mixtures. No file is run. Knows those forms and
`DatasetSpec`; must not open a data set.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from hocket._errors import DataError
from hocket.data.literal import Called, Named, Settings, Unknown, plain, read_settings

_ENDINGS = {
    ".jsonl": "jsonl",
    ".parquet": "parquet",
    ".csv": "csv",
    ".tsv": "tsv",
    ".tar": "webdataset",
}
_READERS = {"torch": "vila", "vlnce": "navila", "envdrop": "navila"}
_VILA_KEYS = {"dataset_name", "dataset_type", "data_path", "image_path"}
# Words about a data set, not about its rows.
_VILA_NOTES = {"description", "maintainer", "test_script"}
_YAML_KEYS = {"_target_", "data_path", "media_dir", "is_video", "image_dir", "video_dir"}


@dataclass
class Registry:
    """What a registry came to.

    Attributes:
        datasets: name -> keys of a `DatasetSpec`.
        mixtures: name -> mixture.
        refused: entry -> why it is not in the others.
        notes: entry -> what of it has no place.
    """

    datasets: dict[str, dict[str, object]] = field(default_factory=dict)
    mixtures: dict[str, str] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    notes: dict[str, str] = field(default_factory=dict)

    def as_yaml(self) -> str:
        """Return the data section of a config: what ``data=FILE.yaml`` reads."""
        said: dict[str, object] = {"datasets": self.datasets}
        if self.mixtures:
            said["mixtures"] = self.mixtures
        return yaml.safe_dump(said, sort_keys=False, allow_unicode=True)


def read_registry(file: Path) -> Registry:
    """Return the data sets that a registry lists.

    Args:
        file: a Python file, the folder of a package's ``__init__.py``, or a YAML file.

    Raises:
        DataError: it cannot be read, or is none of these registries.
    """
    if file.is_dir():
        file = file / "__init__.py"
    if file.suffix in (".yaml", ".yml"):
        found = _from_yaml(file)
    else:
        settings = read_settings(file)
        is_vita = "DataConfig" in settings.values or "FolderDict" in settings.values
        found = _from_vita(settings) if is_vita else _from_vila(settings)
    if not (found.datasets or found.mixtures or found.refused):
        raise DataError(
            f"{file} lists no data sets: expected VITA's DataConfig, VILA's Dataset(dataset_name="
            f"...) or YAML entries with data_path. Name the registry itself."
        )
    return found


def _from_vita(settings: Settings) -> Registry:
    found = Registry()
    folders = _texts(plain(settings.values.get("FolderDict", {})))
    sounds = plain(settings.values.get("AudioFolder", ""))
    entries = {
        name: plain(value)
        for name, value in settings.values.items()
        if isinstance(plain(value), dict) and "chat_path" in _mapping(plain(value))
    }
    for name, entry in entries.items():
        _add_vita(found, name, _mapping(entry), folders, sounds)
    config = settings.values.get("DataConfig", {})
    listed = {**_mapping(config), **settings.updates.get("DataConfig", {})}
    for key, members in listed.items():
        names = _member_names(members, settings)
        known = [name for name in names if name in found.datasets]
        if known and len(known) == len(names):
            found.mixtures[str(key)] = "+".join(known)
        else:
            missing = ", ".join(name for name in names if name not in known) or "no list of names"
            found.refused[f"DataConfig[{key!r}]"] = f"it holds {missing}, which is not understood"
    return found


def _add_vita(
    found: Registry,
    name: str,
    entry: Mapping[object, object],
    folders: dict[str, str],
    sounds: object,
) -> None:
    path = entry.get("chat_path")
    if not isinstance(path, str):
        found.refused[name] = f"chat_path is {_shown(path)}, which only running the file would give"
        return
    if not path:
        found.refused[name] = "chat_path is empty; write the data file there"
        return
    ratio = entry.get("data_ratio", 1.0)
    if isinstance(ratio, bool) or not isinstance(ratio, int | float) or ratio < 0:
        found.refused[name] = f"data_ratio is {_shown(ratio)}, expected a number"
        return
    own = {key: one for key, one in entry.items() if key not in ("chat_path", "data_ratio")}
    places = {**folders, **_texts(own)}
    odd = [str(key) for key, one in own.items() if not isinstance(one, str)]
    if odd:
        found.notes[name] = f"{', '.join(odd)}: no folder, left out"
    options: dict[str, object] = {"folders": places} if places else {}
    if isinstance(sounds, str) and sounds:
        options["audio_folder"] = sounds
    # VITA's folders start from where its script is started, as the path does.
    spec: dict[str, object] = {
        "path": path,
        "source": _source(path),
        "reader": "vita",
        "media_root": ".",
    }
    if options:
        spec["reader_options"] = options
    if ratio != 1:
        spec["weight"] = float(ratio)
    found.datasets[name] = spec


def _from_vila(settings: Settings) -> Registry:
    found = Registry()
    for call in settings.calls:
        name = call.values.get("dataset_name")
        if isinstance(name, str):
            _add_vila(found, name, call)
        elif "dataset_name" in call.values:
            found.refused[_shown(name)] = "its dataset_name is not understood"
    mixtures: dict[object, object] = {}
    for holder in ("DATASETS_MIXTURES", "DATASET_MIXTURES"):
        mixtures |= dict(_mapping(settings.values.get(holder, {})))
        mixtures |= settings.updates.get(holder, {})
    for key, members in mixtures.items():
        _add_mixture(found, str(key), _vila_members(members, settings))
    return found


def _add_vila(found: Registry, name: str, call: Called) -> None:
    kind = call.values.get("dataset_type", "torch")
    path, media = call.values.get("data_path"), call.values.get("image_path", "")
    if kind not in _READERS:
        found.refused[name] = (
            f"dataset_type {_shown(kind)} is stored in a form of its own; convert it to "
            f"webdataset or json first"
        )
        return
    if not isinstance(path, str) or not path:
        found.refused[name] = f"data_path is {_shown(path)}, expected a path"
        return
    spec: dict[str, object] = {"path": path, "source": _source(path), "reader": _READERS[str(kind)]}
    if isinstance(media, str) and media:
        spec["media_root"] = media
    elif media:
        found.refused[name] = f"image_path is {_shown(media)}, expected a path"
        return
    start, end = call.values.get("start_idx"), call.values.get("end_idx")
    if start in (None, 0, -1) and isinstance(end, int) and end > 0:
        spec["max_rows"] = end
    elif start not in (None, 0, -1):
        found.refused[name] = f"start_idx is {_shown(start)}; only the first rows can be chosen"
        return
    lost = set(call.values) - _VILA_KEYS - _VILA_NOTES - {"start_idx", "end_idx"}
    lost = {key for key in lost if call.values[key] not in (None, "", [])}
    if lost:
        found.notes[name] = f"{', '.join(sorted(lost))}: has no place, left out"
    found.datasets[name] = spec


def _from_yaml(file: Path) -> Registry:
    try:
        said = yaml.safe_load(file.read_text("utf-8"))
    except (OSError, ValueError, yaml.YAMLError) as error:
        first = str(error).splitlines()[0]
        raise DataError(f"{file} cannot be read as YAML ({first}). Check the file.") from error
    found = Registry()
    mixtures: dict[str, list[str]] = {}
    for key, entry in _mapping(said).items():
        if isinstance(entry, list):
            mixtures[str(key)] = [str(one) for one in entry]
        elif isinstance(entry, dict):
            _add_yaml(found, str(key), entry)
        else:
            found.refused[str(key)] = f"it is {_shown(entry)}, expected keys or a list of names"
    for name, members in mixtures.items():
        # A file of mixtures names data sets of other files.
        found.mixtures[name] = "+".join(members)
        unknown = [one for one in map(_bare, members) if one not in {*found.datasets, *mixtures}]
        if unknown:
            found.notes[name] = f"{', '.join(unknown)}: listed elsewhere; add them to data.datasets"
    return found


def _add_yaml(found: Registry, name: str, entry: Mapping[str, object]) -> None:
    target = str(entry.get("_target_", "")).rpartition(".")[2]
    path = entry.get("data_path")
    if target and not target.startswith("LLaVA"):
        found.refused[name] = f"_target_ {target} is stored in a form of its own; convert it first"
        return
    if not isinstance(path, str) or not path:
        found.refused[name] = f"data_path is {_shown(path)}, expected a path"
        return
    spec: dict[str, object] = {"path": path, "source": _source(path), "reader": "vila"}
    media = next(
        (entry[key] for key in ("media_dir", "image_dir", "video_dir") if entry.get(key)), None
    )
    if isinstance(media, str):
        spec["media_root"] = media
    lost = sorted(set(entry) - _YAML_KEYS)
    if lost:
        found.notes[name] = f"{', '.join(lost)}: has no place, left out"
    found.datasets[name] = spec


def _add_mixture(found: Registry, name: str, members: list[str]) -> None:
    known = [one for one in members if one in found.datasets]
    missing = [one for one in members if one not in found.datasets]
    if not known:
        found.refused[name] = (
            f"mixture of {', '.join(missing) or 'nothing'}, none of which is there"
        )
        return
    found.mixtures[name] = "+".join(known)
    if missing:
        found.notes[name] = f"{', '.join(missing)}: not in the mixture, see above"


def _vila_members(members: object, settings: Settings) -> list[str]:
    found = []
    for one in members if isinstance(members, list) else []:
        value = plain(one)
        named = value.values.get("dataset_name") if isinstance(value, Called) else value
        found.append(named if isinstance(named, str) else _shown(one))
    return found


def _member_names(members: object, settings: Settings) -> list[str]:
    """Return the names of the data sets in one of VITA's lists, which may be a name itself."""
    if isinstance(members, Named):
        members = settings.values.get(members.name, members.value)
    if not isinstance(members, list):
        return []
    return [one.name if isinstance(one, Named) else _shown(one) for one in members]


def _mapping(value: object) -> Mapping[object, object]:
    return value if isinstance(value, dict) else {}


def _texts(value: object) -> dict[str, str]:
    return {str(key): one for key, one in _mapping(value).items() if isinstance(one, str)}


def _bare(member: str) -> str:
    for mark in "*@:":
        member = member.partition(mark)[0]
    return member.strip()


def _source(path: str) -> str:
    return _ENDINGS.get(Path(path).suffix.lower(), "json")


def _shown(value: object) -> str:
    shown = value.text if isinstance(value, Unknown) else repr(value)
    return shown if len(shown) <= 60 else shown[:57] + "..."


def unresolved(registry: Registry) -> Iterable[str]:
    """Yield one line for each entry that is not, or not wholly, in the result."""
    for name, reason in registry.refused.items():
        yield f"{name}: left out: {reason}"
    for name, reason in registry.notes.items():
        yield f"{name}: {reason}"

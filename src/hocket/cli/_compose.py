"""From config files and ``key=value`` arguments to the plain dataclasses of a run.

Hydra composes, pydantic validates, and nothing of either leaves this file: the rest of hocket gets
frozen dataclasses. A config can never import or execute: there is no ``_target_``, and
interpolations may name other keys but call nothing, not even to read the environment.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import yaml
from hydra import compose, initialize_config_dir
from hydra.core.config_store import ConfigStore
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, MissingConfigException
from omegaconf import OmegaConf
from omegaconf.errors import MissingMandatoryValue, OmegaConfBaseException
from omegaconf.resolvers import oc
from pydantic import BaseModel, ConfigDict, TypeAdapter

from hocket._errors import ConfigError, did_you_mean
from hocket.cli._stages import name_stage_data, resolve_mixtures
from hocket.cli._validate import Tree, validate
from hocket.data.spec import DataSpec
from hocket.model.spec import ModelSpec
from hocket.train.parallel.deepspeed import with_deepspeed
from hocket.train.precision import with_formats
from hocket.train.recipe import Recipe

GROUPS = ("data", "model", "train", "experiment")
PACKAGED = Path(__file__).resolve().parent.parent / "configs"
USER_FOLDER = "configs"

_FILE_OVERRIDE = re.compile(rf"({'|'.join(GROUPS)})=(.+\.ya?ml)", re.DOTALL)
_KIND_OVERRIDE = re.compile(r"\+\+([\w.]+)\.kind=(.*)")
_REFERENCE = re.compile(r"\$\{[\w.\-\[\]]+\}")
_RUN_KEYS = frozenset({"data", "model", "train", "name", "out"})
_ROOT = "_root_config"
_numbers = count()


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """A training run.

    Attributes:
        name: short name of the run.
        out: folder that the run writes to.
        data: the data sets.
        model: the composition; not used when `train.init_from` names a checkpoint.
        train: the recipe.
    """

    name: str
    out: str
    data: DataSpec
    model: ModelSpec
    train: Recipe


class _DataSchema(BaseModel):
    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    data: DataSpec


class _RunSchema(_DataSchema):
    name: str
    out: str
    model: ModelSpec
    train: Recipe


def compose_run(overrides: Sequence[str]) -> RunConfig:
    """Compose a training run.

    Args:
        overrides: ``group=option``, ``group=file.yaml`` or ``some.key=value``, as typed.

    Raises:
        ConfigError: an option, key or value is wrong; the message names it.
    """
    found = _validated(overrides)
    for key, text in (("name", found.name), ("out", found.out)):
        if not text.strip():
            raise ConfigError(f"{key} is empty, expected text. Give {key}=... a value.")
    data, stages = resolve_mixtures(found.data, found.train.stages)
    train = replace(found.train, stages=name_stage_data(data, stages))
    if train.only not in ("", *stages):
        hint = did_you_mean(train.only, stages)
        raise ConfigError(
            f"train.only is {train.only!r}: no stage has that name.{hint} "
            f"Known: {', '.join(stages)}."
        )
    train = with_formats(with_deepspeed(train))
    return RunConfig(name=found.name, out=found.out, data=data, model=found.model, train=train)


def compose_data(overrides: Sequence[str]) -> DataSpec:
    """Compose the data sets of a run alone; arguments and errors as of `compose_run`."""
    return validate(_DataSchema, {"data": _compose(overrides).get("data", {})}).data


def dump_yaml(config: RunConfig) -> str:
    """Return the resolved config as YAML; ``experiment=FILE`` repeats a run from it."""
    plain = TypeAdapter(RunConfig).dump_python(config, mode="json")
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True)


def options_of(group: str) -> list[str]:
    """Return the names of a group's config files, the user's and hocket's own."""
    names = {
        file.stem
        for folder in _folders()
        for pattern in ("*.yaml", "*.yml")
        for file in (folder / group).glob(pattern)
    }
    return sorted(names)


def _validated(overrides: Sequence[str]) -> _RunSchema:
    """Compose and validate; errors in a group that came from a file name the file."""
    tree = _compose(overrides)
    try:
        return validate(_RunSchema, tree)
    except ConfigError as error:
        files = [_FILE_OVERRIDE.fullmatch(text) for text in overrides]
        key = re.split(r"[: ]", str(error))[0]
        typed = any(text.lstrip("+").startswith(f"{key}=") for text in overrides)
        for file in files:
            if file and key.startswith(f"{file[1]}.") and not typed:
                raise ConfigError(f"{file[2]}: {error}") from None
        raise


def _compose(overrides: Sequence[str]) -> Tree:
    """Return the resolved tree of the root config and the overrides."""
    primary, *others = _folders()
    path = ",".join(_quote(f"file://{folder}") for folder in others)
    prepared = [_prepare(text) for text in overrides]
    arguments = [f"hydra.searchpath=[{path}]", *(text for text in prepared if text)]
    try:
        with _no_environment(), initialize_config_dir(str(primary), version_base="1.3"):
            config = compose(_store_root(), _without_stale_options(arguments))
            raw = OmegaConf.to_container(config, resolve=False)
            _refuse_code("", raw)
            tree = OmegaConf.to_container(config, resolve=True, throw_on_missing=True)
    except MissingMandatoryValue as error:
        key = error.full_key or "a key"
        raise ConfigError(f"{key} has no value yet. Add {key}=... to the command.") from None
    except MissingConfigException as error:
        wanted = str(error.missing_cfg_file)
        hint = did_you_mean(wanted.rpartition("/")[2], error.options or [])
        raise ConfigError(
            f"config: there is no {wanted}.{hint} Correct the defaults list."
        ) from None
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(f"config: {_first_line(error)}. Correct that key.") from None
    except yaml.MarkedYAMLError as error:
        raise ConfigError(f"{_yaml_reason(error)} Correct the file.") from None
    return _settle(tree)


def _without_stale_options(arguments: Sequence[str]) -> list[str]:
    """Let ``x.kind=y`` drop the options of the kind before it, which another kind does not have."""
    kinds = [found for text in arguments if (found := _KIND_OVERRIDE.fullmatch(text))]
    if not kinds:
        return list(arguments)
    # What takes keys away may mean one that is only set by the command line.
    chosen = [text for text in arguments if not text.startswith(("++", "~"))]
    before = compose(_store_root(), chosen)
    dropped = []
    for part, kind in (found.groups() for found in kinds):
        options = OmegaConf.select(before, f"{part}.options")
        if options and OmegaConf.select(before, f"{part}.kind") != kind:
            dropped.append(f"~{part}.options")
    return [*dropped, *arguments]


def _store_root() -> str:
    """Make the packaged root config known under a name that no user's file can have."""
    node = OmegaConf.load(PACKAGED / "config.yaml")
    ConfigStore.instance().store(name=_ROOT, node=node)
    return _ROOT


def _settle(tree: Any) -> Tree:
    """Drop empty groups and read numbers as names where only names make sense."""
    settled = {
        str(key): value for key, value in tree.items() if not (key in GROUPS and value is None)
    }
    for key in ("name", "out"):
        if isinstance(settled.get(key), int) and not isinstance(settled[key], bool):
            settled[key] = str(settled[key])
    if "experiment" in settled:
        raise ConfigError(
            "experiment: the chosen file lacks the line '# @package _global_'. "
            "Make it the file's first line."
        )
    return settled


def _folders() -> list[Path]:
    """Return the config folders, the user's first."""
    user = Path.cwd() / USER_FOLDER
    return [user, PACKAGED] if any((user / group).is_dir() for group in GROUPS) else [PACKAGED]


def _prepare(text: str) -> str:
    """Turn one argument into an override that Hydra takes as it is; empty for none."""
    file = _FILE_OVERRIDE.fullmatch(text)
    if file:
        return f"{file[1]}={_store_file(file[1], file[2])}"
    if "=" not in text and not text.startswith("~"):
        raise ConfigError(f"the argument {text!r} is not key=value, such as train.seed=3.")
    try:
        parsed = OverridesParser.create().parse_override(text)
    except HydraException:
        raise ConfigError(
            f"the argument {text!r} cannot be read. "
            "Put values with special characters in quotes: \"key='a value'\"."
        ) from None
    key = parsed.key_or_group
    if parsed.is_sweep_override():
        raise ConfigError(
            f"the argument {text!r} has several values. Give one, a list, {key}=[a,b], or add -m "
            "for a run with each."
        )
    if key.split(".")[0] == "hydra" or key.startswith("hydra/"):
        raise ConfigError(f"{key}: Hydra's own settings are fixed. Leave the argument out.")
    if key in GROUPS or "/" in key:
        return _check_option(key, parsed.value(), text)
    # Forced, so that a key which only the dataclass lists can be set; unknown ones are
    # found when the dataclasses are made, with a suggestion.
    return text if text.startswith("~") else "++" + text.lstrip("+")


def _check_option(group: str, value: Any, text: str) -> str:
    if value is None and group == "experiment":
        return ""
    if isinstance(value, list | dict):
        raise ConfigError(f"{text}: a group takes one name. Change single keys: {group}.key=value.")
    if value is None:
        raise ConfigError(f"{text}: a run needs this group. Choose one of its configs.")
    known = options_of(group)
    if isinstance(value, str) and value in known:
        return text.lstrip("+")
    if isinstance(value, str) and Path(value).suffix in (".json", ".jsonl", ".parquet"):
        raise ConfigError(
            f"{group}={value} is a data file. Give a YAML file that lists it under 'datasets:'."
        )
    listing = ", ".join(known) or "none"
    raise ConfigError(
        f"no {group} config is called {value!r}.{did_you_mean(str(value), known)} "
        f"Known: {listing}; or give the path of a .yaml file."
    )


def _store_file(group: str, name: str) -> str:
    """Make a YAML file an option of its group and return the option's name."""
    path = Path(name).expanduser()
    content = read_file(f"{group}={name}", path)
    _refuse_code(f"{name}: {group}", content)
    if group == "data":
        _rebase(content, path.parent)
    if group == "experiment" and content.keys() >= _RUN_KEYS and "defaults" not in content:
        # A whole run, as `dump_yaml` writes it: nothing of the default groups may shine through.
        content["defaults"] = [{f"override /{part}": None} for part in ("data", "model", "train")]
    option = f"_file_{next(_numbers)}"
    package = "_global_" if group == "experiment" else None
    ConfigStore.instance().store(name=option, node=content, group=group, package=package)
    return option


def read_file(argument: str, path: Path) -> Tree:
    """Return what a YAML file holds, its interpolations still unresolved.

    Raises:
        ConfigError: it cannot be read; the message begins with `argument`.
    """
    try:
        text = path.read_text(encoding="utf-8")
        # OmegaConf's reader takes 1e-3 for a number, and refuses a key that stands twice.
        content = OmegaConf.to_container(OmegaConf.load(io.StringIO(text)), resolve=False)
    except FileNotFoundError:
        hint = did_you_mean(path.name, [file.name for file in path.parent.glob("*.y*ml")])
        raise ConfigError(f"{argument}: there is no such file.{hint} Check the path.") from None
    except IsADirectoryError:
        raise ConfigError(f"{argument} is a folder. Give a YAML file.") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{argument} is not text in UTF-8. Give a YAML file.") from None
    except yaml.MarkedYAMLError as error:
        raise ConfigError(f"{argument}: {_yaml_reason(error)} Correct the file.") from None
    except OmegaConfBaseException as error:
        raise ConfigError(f"{argument}: {_first_line(error)}. Correct the file.") from None
    except RecursionError:
        raise ConfigError(f"{argument} is nested too deeply. Correct the file.") from None
    if not isinstance(content, dict) or not content:
        found = "a list" if content else "empty"
        raise ConfigError(f"{argument} is {found}, expected a mapping of keys. Correct the file.")
    return {str(key): value for key, value in content.items()}


def _rebase(data: Tree, folder: Path) -> None:
    """Let the relative paths of data sets start at the folder of the file that names them."""
    for key in ("subsets", "quarantine"):
        if isinstance(data.get(key), str) and data[key]:
            data[key] = str(folder / Path(data[key]).expanduser())
    for part in ("datasets", "heldout"):
        entries = data.get(part)
        for entry in entries.values() if isinstance(entries, dict) else ():
            for key in ("path", "media_root", "without_rows") if isinstance(entry, dict) else ():
                value = entry.get(key)
                if isinstance(value, str) and value and "://" not in value and "$" not in value:
                    entry[key] = str(folder / Path(value).expanduser())


def _refuse_code(key: str, node: Any) -> None:
    """Raise ConfigError for anything in a config that would import, run or read the machine."""
    if isinstance(node, Mapping):
        for name, value in node.items():
            where = f"{key}.{name}" if key else str(name)
            if re.fullmatch(r"_\w+_", str(name)):
                raise ConfigError(f"{where}: configs cannot name code to run. Remove {name!r}.")
            _refuse_code(where, value)
    elif isinstance(node, list):
        for value in node:
            _refuse_code(key, value)
    elif isinstance(node, bytes):
        raise ConfigError(f"{key}: found bytes (!!binary), expected text. Write the text itself.")
    elif isinstance(node, str) and "${" in _without_references(node):
        raise ConfigError(
            f"{key}: found {node!r}, but ${{...}} may only name another key. "
            "Write the value itself."
        )


def _without_references(text: str) -> str:
    """Return the text with every plain ``${some.key}`` taken out, inner ones first."""
    shorter = _REFERENCE.sub("x", text)
    return text if shorter == text else _without_references(shorter)


@contextmanager
def _no_environment() -> Iterator[None]:
    """Take away OmegaConf's access to the environment while a config is composed."""
    OmegaConf.clear_resolver("oc.env")
    try:
        yield
    finally:
        OmegaConf.register_new_resolver("oc.env", oc.env, replace=True)


def _yaml_reason(error: yaml.MarkedYAMLError) -> str:
    mark = error.problem_mark
    file = f"{mark.name} " if mark and not mark.name.startswith("<") else ""
    where = f"{file}line {mark.line + 1}: " if mark else ""
    return f"{where}not YAML: {error.problem or error.context or 'cannot be read'}."


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")


def _quote(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"

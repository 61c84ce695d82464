"""See the parts that models are made of, and what a composition comes to."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Callable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import typer

from hocket._errors import DataError, MachineError
from hocket._log import warn
from hocket._registry import Registry
from hocket.chat.readers import readers
from hocket.chat.template import read_template, template_names
from hocket.checkpoint.directory import find_checkpoint, load_checkpoint
from hocket.checkpoint.export import exporters
from hocket.checkpoint.loading import Placement
from hocket.cli import _export, _import, _tools
from hocket.cli._compose import RunConfig, compose_run
from hocket.cli._session import start_session
from hocket.cli._show.sizes import describe_composition
from hocket.data.augment import augmentations
from hocket.data.mixture import Mixture, open_source
from hocket.data.sources import sources
from hocket.media.frames import samplers
from hocket.model.build import Built, build
from hocket.parts.arrange import arrangements
from hocket.parts.audio import audio_encoders
from hocket.parts.connector import connectors
from hocket.parts.joint import joints
from hocket.parts.vision import vision_encoders
from hocket.tokens.layout import layouts

_EXPORTED = {"vision encoder", "audio encoder", "layout", "connector", "arrangement"}

app = typer.Typer(help=__doc__, no_args_is_help=True)
_export.add(app)
_import.add(app)
_tools.add(app)


class Kind(NamedTuple):
    """A kind of part: its title, the config key that names one, its parts, and a noun for one."""

    title: str
    key: str
    parts: Callable[[], list[Part]]
    noun: str


class Part(NamedTuple):
    """A part: its name, its options with their defaults, and what it is in one line."""

    name: str
    options: dict[str, str]
    summary: str


@app.callback()
def _model() -> None:
    """See the parts that models are made of, and what a composition comes to."""


@app.command()
def parts() -> None:
    """List every part that a config can name, with its options and their defaults."""
    start_session()
    for kind in list_kinds():
        typer.echo(f"{kind.title} ({kind.key})")
        for part in kind.parts():
            options = " ".join(f"{name}={value}" for name, value in part.options.items())
            typer.echo(f"  {part.name:20}{part.summary}")
            targets = exported_to(kind.noun, part.name) if kind.noun in _EXPORTED else []
            for line in (options, "exports to: " + ", ".join(targets) if targets else ""):
                if line:
                    typer.echo(f"  {'':20}{line}")
        typer.echo()


@app.command("build")
def compose(
    overrides: Annotated[
        list[str] | None,
        typer.Argument(help="model=NAME or FILE.yaml, model.vision.connector.kind=mlp ..."),
    ] = None,
    dry: Annotated[
        bool, typer.Option("--dry", help="Shapes only: no weights, whatever the size.")
    ] = False,
    svg: Annotated[
        Path | None, typer.Option(help="Draw the composition into this SVG file.")
    ] = None,
) -> None:
    """Compose a model and show its parts, their sizes and the rows a medium takes."""
    config = compose_run(overrides or [])
    start_session()
    sheet = describe_composition(_compose(config, weights=not dry))
    for line in sheet.lines():
        typer.echo(line)
    if svg:
        try:
            svg.write_text(sheet.svg(), encoding="utf-8")
        except OSError as error:
            raise MachineError(f"{svg} cannot be written ({error.strerror}).") from error
        typer.echo(f"drawn: {svg}")


def list_kinds() -> list[Kind]:
    """Return every kind of part, in the order in which a model is composed."""
    vision, audio = "model.vision", "model.audio"
    return [
        _kind("vision encoders", f"{vision}.model_type", vision_encoders),
        _kind("audio encoders", f"{audio}.model_type", audio_encoders),
        _kind("layouts", f"{vision}.layout.kind, {audio}.layout.kind", layouts),
        _kind("connectors", f"{vision}.connector.kind, {audio}.connector.kind", connectors),
        _kind("joint connectors", "model.joint.kind", joints),
        _kind("arrangements of tiles", f"{vision}.arrange.kind", arrangements),
        _kind("frame samplers", "model.video.sampler", samplers),
        Kind("chat templates", "model.tokenizer.template", _templates, ""),
        _kind("sources", "data.datasets.*.source", sources),
        _kind("readers", "data.datasets.*.reader", readers),
        _kind("augmentations", "data.augment", augmentations),
    ]


def exported_to(noun: str, name: str) -> list[str]:
    """Return the export targets with a place for a part; `slim` and `original` ask for no part."""
    every = [(target, exporters.get(target).takes) for target in exporters.names()]
    return [target for target, takes in every if name in takes.get(noun, ())]


def _compose(config: RunConfig, *, weights: bool) -> Built:
    """Compose as the run would, or open the checkpoint that it would start from."""
    if config.train.init_from:
        placement = Placement(device="cpu" if weights else "meta")
        loaded = load_checkpoint(find_checkpoint(config.train.init_from), placement)
        return Built(loaded.model, loaded.processor)
    if config.model.tokenizer.path or config.model.language.path:
        return build(config.model, weights=weights)
    try:
        opened = {
            name: (open_source(name, spec), 1.0) for name, spec in config.data.datasets.items()
        }
    except DataError as error:
        warn(f"no data yet, so the tokenizer knows single bytes only ({error})")
        return build(config.model, weights=weights)
    texts = Mixture(opened, seed=config.train.seed).texts()
    return build(config.model, texts, weights=weights)


def _kind(title: str, key: str, registry: Registry[Any]) -> Kind:
    def found() -> list[Part]:
        listed = []
        for name in registry.names():
            item = registry.get(name)
            # One file is one part, so the file's first line says what the part is.
            listed.append(Part(name, _options(item), _summary(import_module(item.__module__))))
        return listed

    return Kind(title, key, found, registry.noun)


def _templates() -> list[Part]:
    return [Part(name, {}, _first_comment(read_template(name))) for name in template_names()]


def _options(item: Any) -> dict[str, str]:
    """Return option -> default of a part: the fields of its dataclass, or of its `Config`."""
    config = vars(item).get("Config", item)
    if not dataclasses.is_dataclass(config):
        return {}
    return {field.name: _default(field) for field in dataclasses.fields(config)}


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default_factory is not dataclasses.MISSING:
        return _plain(field.default_factory())
    return "(required)" if field.default is dataclasses.MISSING else _plain(field.default)


def _plain(value: Any) -> str:
    """Write a default as it is typed in a config."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "[" + ",".join(_plain(item) for item in value) + "]"
    return str(value)


def _summary(item: Any) -> str:
    return (inspect.getdoc(item) or "").partition("\n")[0].replace("``", "")


def _first_comment(template: str) -> str:
    return template.partition("{#-")[2].strip().partition("\n")[0].rstrip(":")

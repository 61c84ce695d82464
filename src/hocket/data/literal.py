"""Values of a Python file that says its settings as assignments, found without running it.

Texts, numbers, lists and dicts, names assigned before, ``a + b``, f-strings, ``os.path.join`` and
calls of data classes with such values are understood; everything else is `UNKNOWN`. Knows Python's
grammar; must not know what the settings mean.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from hocket._errors import DataError


@dataclass(frozen=True)
class Unknown:
    """A value that only running the file would give.

    Attributes:
        text: how it is written.
    """

    text: str


@dataclass(frozen=True)
class Called:
    """A call such as ``Dataset(dataset_name="a")``, not made.

    Attributes:
        name: what is called.
        values: keyword -> value.
    """

    name: str
    values: Mapping[str, object]


@dataclass
class Named:
    """A value that was assigned to a name before, so that lists can tell their members.

    Attributes:
        name: the name.
        value: what it stood for.
    """

    name: str
    value: object


@dataclass
class Settings:
    """What a file assigns.

    Attributes:
        values: name -> value, the last one.
        calls: every call of a name with keywords that stands in an assignment or alone.
        updates: name -> dict, of ``NAME.update({...})`` and ``NAME[key] = value``.
    """

    values: dict[str, object] = field(default_factory=dict)
    calls: list[Called] = field(default_factory=list)
    updates: dict[str, dict[object, object]] = field(default_factory=dict)


def read_settings(file: Path) -> Settings:
    """Return what a Python file assigns, in it and in the files it takes all names from.

    ``from .other import *`` and ``from .other import name`` read ``other.py`` beside the file.
    Bodies of functions and of ``if`` count as if they ran in order.

    Raises:
        DataError: the file cannot be read, or is no Python.
    """
    settings = Settings()
    _read(file, settings, ())
    return settings


def plain(value: object) -> object:
    """Return a value with its names left out, in lists and dicts too."""
    if isinstance(value, Named):
        return plain(value.value)
    if isinstance(value, list):
        return [plain(one) for one in value]
    if isinstance(value, dict):
        return {plain(key): plain(one) for key, one in value.items()}
    return value


def _read(file: Path, settings: Settings, inside: tuple[Path, ...]) -> None:
    try:
        tree = ast.parse(file.read_bytes(), filename=str(file))
    except OSError as error:
        raise DataError(f"{file} cannot be read ({error.strerror}). Check the path.") from error
    except (SyntaxError, ValueError) as error:
        raise DataError(f"{file} is no Python file ({error}). Name the registry itself.") from error
    for node in tree.body:
        _statement(node, settings, file, (*inside, file.resolve()))


def _statement(node: ast.stmt, settings: Settings, file: Path, inside: tuple[Path, ...]) -> None:
    if isinstance(node, ast.ImportFrom) and node.level == 1 and node.module:
        other = file.parent / f"{node.module.replace('.', '/')}.py"
        if other.is_file() and other.resolve() not in inside:
            _read(other, settings, inside)
    elif isinstance(node, ast.FunctionDef | ast.If | ast.With):
        for each in node.body:
            _statement(each, settings, file, inside)
    elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
        targets = node.targets if isinstance(node, ast.Assign) else [node.target]
        value = _value(node.value, settings)
        for target in targets:
            _assign(target, value, settings)
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        _expression(node.value, settings)


def _assign(target: ast.expr, value: object, settings: Settings) -> None:
    if isinstance(target, ast.Name):
        settings.values[target.id] = value
    elif isinstance(target, ast.Subscript) and isinstance(target.value, ast.Name):
        key = plain(_value(target.slice, settings))
        settings.updates.setdefault(target.value.id, {})[_hashable(key)] = value


def _expression(call: ast.Call, settings: Settings) -> None:
    function = call.func
    is_update = isinstance(function, ast.Attribute) and function.attr == "update"
    if is_update and isinstance(function, ast.Attribute) and isinstance(function.value, ast.Name):
        for given in call.args:
            found = _value(given, settings)
            if isinstance(found, dict):
                settings.updates.setdefault(function.value.id, {}).update(found)
        return
    for given in call.args:
        _value(given, settings)  # add_dataset(Dataset(...)): the call inside is noted
    _value(call, settings)


def _value(node: ast.expr, settings: Settings) -> object:
    for kind, read in _READERS.items():
        if isinstance(node, kind):
            return read(node, settings)
    return Unknown(ast.unparse(node))


def _name(node: ast.Name, settings: Settings) -> object:
    if node.id not in settings.values:
        return Unknown(node.id)
    return Named(node.id, plain(settings.values[node.id]))


def _list(node: ast.List | ast.Tuple, settings: Settings) -> object:
    return [_value(one, settings) for one in node.elts]


def _dict(node: ast.Dict, settings: Settings) -> object:
    found: dict[object, object] = {}
    for key, value in zip(node.keys, node.values, strict=True):
        read = _value(value, settings)
        if key is None:  # **other
            other = plain(read)
            found |= other if isinstance(other, dict) else {_hashable(other): other}
        else:
            found[_hashable(plain(_value(key, settings)))] = read
    return found


def _sum(node: ast.BinOp, settings: Settings) -> object:
    left, right = (_opened(_value(side, settings), settings) for side in (node.left, node.right))
    if isinstance(node.op, ast.Div) and isinstance(left, str) and isinstance(right, str):
        return str(PurePosixPath(left, right))  # Path("a") / "b"
    if isinstance(node.op, ast.Add):
        if isinstance(left, str) and isinstance(right, str):
            return left + right
        if isinstance(left, list) and isinstance(right, list):
            return left + right
    return Unknown(ast.unparse(node))


def _opened(value: object, settings: Settings) -> object:
    """Return what a name stands for, the names inside it left."""
    return settings.values[value.name] if isinstance(value, Named) else value


def _format(node: ast.JoinedStr, settings: Settings) -> object:
    pieces = []
    for part in node.values:
        inner = part.value if isinstance(part, ast.FormattedValue) else part
        value = plain(_value(inner, settings))
        bare = not isinstance(part, ast.FormattedValue) or part.format_spec is None
        if not isinstance(value, str | int | float) or not bare:
            return Unknown(ast.unparse(node))
        pieces.append(str(value))
    return "".join(pieces)


def _call(node: ast.Call, settings: Settings) -> object:
    name = ast.unparse(node.func)
    given = [plain(_value(one, settings)) for one in node.args]
    texts = [one for one in given if isinstance(one, str)]
    if len(texts) == len(given) and given:
        if name in ("os.path.join", "path.join", "osp.join", "join"):
            return str(PurePosixPath(*texts))
        if name in ("Path", "pathlib.Path", "str"):
            return str(PurePosixPath(*texts))
    if name == "dict" and not node.args:
        return {word.arg: _value(word.value, settings) for word in node.keywords if word.arg}
    if not node.keywords:
        return Unknown(ast.unparse(node))
    values = {word.arg: plain(_value(word.value, settings)) for word in node.keywords if word.arg}
    called = Called(name, values)
    settings.calls.append(called)
    return called


def _constant(node: ast.Constant, settings: Settings) -> object:
    return node.value


def _negative(node: ast.UnaryOp, settings: Settings) -> object:
    value = plain(_value(node.operand, settings))
    if isinstance(node.op, ast.USub) and isinstance(value, int | float):
        return -value
    return Unknown(ast.unparse(node))


def _hashable(key: object) -> object:
    return key if isinstance(key, str | int | float | bool | None) else str(key)


_READERS: dict[type[ast.expr] | tuple[type[ast.expr], ...], Callable[..., object]] = {
    ast.Constant: _constant,
    ast.Name: _name,
    (ast.List, ast.Tuple): _list,
    ast.Dict: _dict,
    ast.BinOp: _sum,
    ast.JoinedStr: _format,
    ast.Call: _call,
    ast.UnaryOp: _negative,
}

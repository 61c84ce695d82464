"""Limits on the source that no linter we run can express, each with the places that break it."""

from __future__ import annotations

import ast
import functools
import importlib.metadata
import itertools
import re
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from pathlib import Path

from hocket._compat import TESTED

REPOSITORY = Path(__file__).parents[2]
ROOT = REPOSITORY / "src" / "hocket"
FILES = sorted(ROOT.rglob("*.py"))
OUTERMOST = ROOT / "cli" / "main.py"  # where every error ends, as a message and an exit code
MOST_FILE_LINES = 400
MOST_FUNCTION_LINES = 60
VAGUE_NAMES = {"utils", "util", "helpers", "helper", "common", "base", "misc"}
OPEN_ENDS = ("TODO", "FIXME", "XXX", "HACK")
TIGHTER = {"train/loop.py": 250, "model/modeling.py": 350}

Function = ast.FunctionDef | ast.AsyncFunctionDef


def test_there_is_source() -> None:
    assert len(FILES) > 20


def test_files_are_short() -> None:
    long = []
    for name, path in named().items():
        count = len(path.read_text("utf-8").splitlines())
        most = TIGHTER.get(name, MOST_FILE_LINES)
        if count > most:
            long.append(f"{name}: {count} > {most} lines")
    assert not long


def test_functions_are_short() -> None:
    long = []
    for path, node in functions():
        count = (node.end_lineno or node.lineno) - node.lineno + 1
        if count > MOST_FUNCTION_LINES:
            long.append(f"{place(path, node)} {node.name}: {count} > {MOST_FUNCTION_LINES} lines")
    assert not long


def test_attributes_are_not_probed_by_name() -> None:
    found = [
        place(path, call)
        for path, call, name in calls()
        if name in {"getattr", "hasattr", "setattr"} and path.name != "_compat.py"
    ]
    assert not found, "only _compat.py may probe; read the attribute, or use vars(module)[name]"


def test_nothing_prints() -> None:
    found = [place(path, call) for path, call, name in calls() if name in {"print", "pprint"}]
    assert not found, "use hocket._log.console() or warn()"


def test_only_env_reads_the_environment() -> None:
    names = {"environ", "environb", "getenv", "putenv"}
    found = []
    for path, node in nodes():
        if path.name == "_env.py":
            continue
        if isinstance(node, ast.Attribute) and is_name(node.value, "os"):
            used = {node.attr}
        elif isinstance(node, ast.ImportFrom) and node.module == "os":
            used = {alias.name for alias in node.names}
        else:
            continue
        if used & names:
            found.append(place(path, node))
    assert not found, "add a typed function to hocket/_env.py"


def test_no_handler_swallows_everything() -> None:
    found = []
    for path, node in nodes():
        if not isinstance(node, ast.ExceptHandler) or passes_on(node) or path == OUTERMOST:
            continue
        caught = node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]
        if any(
            kind is None or is_name(kind, "Exception") or is_name(kind, "BaseException")
            for kind in caught
        ):
            found.append(place(path, node))
    assert not found, "name the errors that are expected, or clean up and end with 'raise'"


def test_source_is_ascii() -> None:
    found = [
        f"{name}:{number}"
        for name, path in named().items()
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if not line.isascii()
    ]
    assert not found


def test_nothing_is_left_open() -> None:
    found = [
        f"{name}:{number}"
        for name, path in named().items()
        for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
        if any(mark in line for mark in OPEN_ENDS)
    ]
    assert not found, "finish it, or file an issue"


def test_silenced_checks_name_the_rule_and_the_reason() -> None:
    rule_then_reason = re.compile(r"# (type: ignore\[[\w, -]+\]|noqa: [A-Z0-9, ]+)\s*# *\w+")
    found = []
    for name, path in named().items():
        with path.open("rb") as file:
            for token in tokenize.tokenize(file.readline):
                silences = re.match(r"#\s*(type:\s*ignore|noqa)", token.string)
                known = not silences or rule_then_reason.match(token.string)
                if token.type == tokenize.COMMENT and not known:
                    found.append(f"{name}:{token.start[0]}")
    assert not found, "write '# type: ignore[rule]  # reason' or '# noqa: RULE  # reason'"


def test_names_say_what_is_inside() -> None:
    found = [name for name, path in named().items() if path.stem.strip("_") in VAGUE_NAMES]
    found += [str(path.parent) for path in FILES if path.parent.name in VAGUE_NAMES]
    assert not found


def test_public_things_have_docstrings() -> None:
    bare = [name for name, path in named().items() if not ast.get_docstring(tree(path))]
    for path in FILES:
        bare += [f"{place(path, node)} {node.name}" for node in undocumented(tree(path).body)]
    assert not bare


# They import hocket, as a plugin of theirs, in environments of their own.
HOSTS = {"lmms_eval", "vllm"}


def test_every_library_imported_is_declared() -> None:
    distributions = importlib.metadata.packages_distributions()
    declared = {plain(re.split(r"[\[<>=]", each)[0]) for each in requirements()}
    missing = set()
    for path, node in nodes():
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module or "hocket"]
        else:
            continue
        for top in {module.partition(".")[0] for module in modules}:
            known = {plain(name) for name in distributions.get(top, [top])} & declared
            if top not in sys.stdlib_module_names | HOSTS and not known:
                missing.add(f"{place(path, node)} {top}")
    assert not missing, "declare it in pyproject.toml: that another package brings it may change"


def test_pyproject_and_compat_name_the_same_versions() -> None:
    assert {f"{package}{tested}" for package, tested in TESTED.items()} <= set(requirements())


def test_every_requirement_is_pinned() -> None:
    pins = "".join(path.read_text("utf-8") for path in (REPOSITORY / "constraints").glob("*.txt"))
    pinned = {plain(line.partition("==")[0]) for line in pins.splitlines() if "==" in line}
    assert {plain(re.split(r"[\[<>=]", each)[0]) for each in requirements()} - pinned == {"hocket"}


def undocumented(body: list[ast.stmt]) -> Iterator[ast.ClassDef | Function]:
    """Yield public classes, functions and methods of a body that have no docstring."""
    for node in body:
        if not isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if node.name.startswith("_") or overloads(node):
            continue
        if not ast.get_docstring(node) and not is_nested_config(node):
            yield node
        if isinstance(node, ast.ClassDef):
            yield from undocumented(node.body)


def overloads(node: ast.ClassDef | Function) -> bool:
    """Return whether a function is a variant for the type checker, or implements a parent's."""
    names = {"overload", "override"}
    return any(isinstance(mark, ast.Name) and mark.id in names for mark in node.decorator_list)


def is_nested_config(node: ast.AST) -> bool:
    """Return whether a class is a part's options; the docstring of the part speaks of them."""
    return isinstance(node, ast.ClassDef) and node.name == "Config"


@functools.cache
def tree(path: Path) -> ast.Module:
    """Return the parsed file."""
    return ast.parse(path.read_text("utf-8"), filename=str(path))


def nodes() -> Iterator[tuple[Path, ast.AST]]:
    """Yield every syntax node of every file."""
    for path in FILES:
        for node in ast.walk(tree(path)):
            yield path, node


def functions() -> Iterator[tuple[Path, Function]]:
    """Yield every function and method."""
    for path, node in nodes():
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield path, node


def calls() -> Iterator[tuple[Path, ast.Call, str]]:
    """Yield every call of a plain name, with that name."""
    for path, node in nodes():
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            yield path, node, node.func.id


def passes_on(handler: ast.ExceptHandler) -> bool:
    """Return whether a handler ends by raising what it caught."""
    last = handler.body[-1]
    return isinstance(last, ast.Raise) and last.exc is None


def is_name(node: ast.AST | None, name: str) -> bool:
    """Return whether a node is exactly that plain name."""
    return isinstance(node, ast.Name) and node.id == name


def requirements() -> list[str]:
    """Return every requirement of pyproject.toml, those of the extras too."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    return [*project["dependencies"], *itertools.chain(*project["optional-dependencies"].values())]


def plain(package: str) -> str:
    """Return a package's name as registries compare it."""
    return re.sub(r"[-_.]+", "-", package).lower()


def named() -> dict[str, Path]:
    """Return the files by their path below the package."""
    return {path.relative_to(ROOT).as_posix(): path for path in FILES}


def place(path: Path, node: ast.stmt | ast.expr | ast.ExceptHandler) -> str:
    """Return where a node is, as an editor opens it."""
    return f"{path.relative_to(ROOT).as_posix()}:{node.lineno}"

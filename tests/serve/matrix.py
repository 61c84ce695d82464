"""The client matrix: every client does every thing it can, and the table says what came of it.

    python -m tests.serve.matrix [--write docs/serving.md]

A client that is not installed has a column of "not run"; ``pass`` is a check of tests/serve/clients
that held, ``-`` something that is not tried with the client.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import json
import os
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType

from tests.serve.clients.features import FEATURES
from tests.serve.loopback import Loopback, serving

CLIENTS = {
    "openai": "openai_python",
    "openai async": "openai_async",
    "openai in Node": "openai_node",
    "langchain-openai": "langchain",
    "llm": "llm_command",
    "Open WebUI's requests": "open_webui",
    "curl": "curl",
}
_NEEDS = {"langchain": ("langchain_openai",), "llm_command": ("llm",), "open_webui": ("httpx",)}
BEGIN, END = "<!-- matrix: written by python -m tests.serve.matrix -->", "<!-- end of matrix -->"


def installed(module: str) -> bool:
    """Say whether a client can be run here."""
    needed = ("openai", *_NEEDS.get(module, ()))
    if any(importlib.util.find_spec(one) is None for one in needed):
        return False
    return bool(vars(load(module)).get("HERE", True))


def load(module: str) -> ModuleType:
    """Import the checks of a client."""
    return importlib.import_module(f"tests.serve.clients.{module}")


def outcome(server: Loopback, module: str, feature: str) -> str:
    """Run one check and say what came of it."""
    check = load(module).CHECKS.get(feature)
    if check is None:
        return "-"
    try:
        check(server)
    except Exception as error:  # whatever a client raises is a failure of its row
        sys.stderr.write(f"{module}, {feature}: {type(error).__name__}: {str(error)[:300]}\n")
        return "FAIL"
    return "pass"


def table(server: Loopback) -> str:
    """Run everything and return the table."""
    names = list(CLIENTS)
    lines = ["| | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    here = {name: installed(module) for name, module in CLIENTS.items()}
    for feature in FEATURES:
        cells = [
            outcome(server, module, feature) if here[name] else "not run"
            for name, module in CLIENTS.items()
        ]
        lines.append(f"| {feature} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def versions() -> str:
    """Return the clients' versions."""
    found = []
    for package in ("openai", "langchain-openai", "llm"):
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    package = Path(os.environ.get("HOCKET_TEST_NODE", ""), "node_modules/openai/package.json")
    if package.is_file():
        found.append(f"openai {json.loads(package.read_text('utf-8'))['version']} in Node")
    return ", ".join(found)


def main() -> None:
    """Print the table, or write it into a page."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--write", type=Path)
    chosen = parser.parse_args()
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    with serving() as server:
        made = f"{table(server)}\n\nRun with {versions()}."
    if chosen.write is None:
        sys.stdout.write(f"{made}\n")  # the table is what it is run for
        return
    page = chosen.write.read_text("utf-8")
    before, _, rest = page.partition(BEGIN)
    _, _, behind = rest.partition(END)
    chosen.write.write_text(f"{before}{BEGIN}\n\n{made}\n\n{END}{behind}", "utf-8")


if __name__ == "__main__":
    main()

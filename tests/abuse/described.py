"""schemathesis against a server of the toy model, by the server's own description of itself.

``python -m tests.abuse.described --examples 1600`` sends more than 10,000 requests. The command
``schemathesis`` must be on the path: ``pip install schemathesis``, best in an environment of its
own, since it brings fifty packages.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
from tests.abuse.door import data_url
from tests.abuse.seeds import pictures, sounds
from tests.serve.loopback import MODEL, serving

# Left out are two. A number as text is taken for a number, as pydantic does, so not all that the
# description forbids is refused; and it cannot say all that is (one of two fields, tokens of this
# model), so not all that it allows is taken.
CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
)
_PARTS = (
    {"type": "text", "text": "What is this?"},
    {"type": "image_url", "image_url": {"url": data_url(pictures()[0])}},
    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
    {"type": "input_audio", "input_audio": {"data": data_url(sounds()[0]), "format": "wav"}},
    {"type": "nothing"},
    {},
    None,
)
_MOST_TOKENS = 8


@dataclass(frozen=True, slots=True)
class Described:
    """What came of a run.

    Attributes:
        cases: how many requests were made.
        passed: whether all answers were as the description says, and none was a 5xx.
        report: what schemathesis said.
        idle: whether all slots were free afterwards.
    """

    cases: int
    passed: bool
    report: str
    idle: bool


def installed() -> str | None:
    """Return the command, or None where it is not installed."""
    return shutil.which("schemathesis")


def described(command: str, *, examples: int, seed: int = 1, coverage: bool = True) -> Described:
    """Start a server, and let schemathesis ask it what its description allows and forbids.

    Args:
        command: schemathesis.
        examples: most requests that are drawn for one endpoint.
        seed: of what is drawn.
        coverage: also try the edges of every field, one after the other.
    """
    with serving() as server, tempfile.TemporaryDirectory() as folder:
        found = httpx.get(f"{server.url}/openapi.json", trust_env=False).json()
        file = Path(folder, "openapi.json")
        file.write_text(json.dumps(narrowed(found)), encoding="utf-8")
        phases = "coverage,fuzzing" if coverage else "fuzzing"
        words = [command, "run", str(file), "--url", server.url, "--no-color", f"--seed={seed}"]
        words += [f"--checks={','.join(CHECKS)}", f"--phases={phases}", f"-n{examples}"]
        words += ["--continue-on-failure", "--suppress-health-check=all", "--warnings=off"]
        done = subprocess.run(
            words, cwd=folder, capture_output=True, text=True, timeout=7200, check=False
        )
        count = re.search(r"^ *([\d,]+) generated", done.stdout, re.MULTILINE)
        cases = int(count[1].replace(",", "")) if count else 0
        return Described(cases, done.returncode == 0, done.stdout + done.stderr, server.idle(20))


def narrowed(description: dict[str, Any]) -> dict[str, Any]:
    """Return a description whose requests reach the model: with its name, roles and real parts."""
    for name, shape in description["components"]["schemas"].items():
        fields = shape.get("properties", {})
        if "model" in fields and not name.endswith("Completion"):
            fields["model"] = {"enum": ["", MODEL, MODEL, "nothing"]}
        for limit in {"max_tokens", "max_completion_tokens", "max_output_tokens"} & set(fields):
            fields[limit] = {"type": "integer", "minimum": 0, "maximum": _MOST_TOKENS}
            shape["required"] = sorted({*shape.get("required", ()), limit})
        if name == "ChatMessage":
            fields["role"] = {"enum": ["user", "user", "system", "assistant", "tool", "nobody"]}
            parts = {"type": "array", "items": {"enum": list(_PARTS)}, "maxItems": 3}
            fields["content"] = {"anyOf": [{"type": "string"}, parts, {"type": "null"}]}
    return description


def main(arguments: Sequence[str] | None = None) -> int:
    """Run schemathesis and print what it says; return 1 where it found something."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--examples", type=int, default=1600, help="most requests of an endpoint")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    command = installed()
    if command is None:
        parser.error("schemathesis is not on the path. Run: pip install schemathesis")
    found = described(command, examples=given.examples, seed=given.seed)
    print(found.report)  # noqa: T201 # a script's result
    print(f"{found.cases} requests, passed: {found.passed}, idle: {found.idle}")  # noqa: T201 # as above
    return int(not (found.passed and found.idle))


if __name__ == "__main__":
    raise SystemExit(main())

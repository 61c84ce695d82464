"""The server answers as its own description says; a slice of `tests.abuse.described`."""

from __future__ import annotations

import httpx
import pytest
from tests.abuse.described import described, installed, narrowed
from tests.serve.loopback import MODEL, serving

COMMAND = installed()


@pytest.mark.slow
@pytest.mark.skipif(COMMAND is None, reason="pip install schemathesis puts its command on the path")
def test_answers_are_as_described() -> None:
    assert COMMAND is not None
    found = described(COMMAND, examples=10, coverage=False)
    assert found.passed, found.report
    assert found.idle
    assert found.cases > 50


def test_the_description_says_what_is_taken_and_what_comes_back() -> None:
    with serving() as server:
        found = httpx.get(f"{server.url}/openapi.json", trust_env=False).json()
        error = httpx.post(f"{server.url}/v1/completions", json={}, trust_env=False)
    assert error.status_code == 400
    for path in found["paths"].values():
        for operation in path.values():
            assert set(operation["responses"]) == {"200", "4XX", "5XX"}
    shapes = found["components"]["schemas"]
    assert set(shapes["ErrorBody"]["properties"]) == set(error.json())
    assert set(shapes["ErrorDetail"]["properties"]) == set(error.json()["error"])
    for name in ("chat/completions", "completions", "responses"):
        told = found["paths"][f"/v1/{name}"]["post"]["responses"]["200"]["content"]
        assert set(told) == {"application/json", "text/event-stream"}
    form = found["paths"]["/v1/audio/transcriptions"]["post"]["requestBody"]["content"]
    assert set(form) == {"multipart/form-data"}
    prompt = shapes["CompletionRequest"]["properties"]["prompt"]
    assert {one["type"] for one in prompt["anyOf"]} == {"string", "array"}
    assert (
        MODEL
        in narrowed(found)["components"]["schemas"]["ChatRequest"]["properties"]["model"]["enum"]
    )

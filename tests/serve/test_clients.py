"""Real clients on loopback do what docs/serving.md says that they do."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.serve.clients.features import FEATURES
from tests.serve.loopback import Loopback, serving
from tests.serve.matrix import CLIENTS, installed, load

# Their own faults, not ours.
pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:Pydantic serializer warnings"),
]


@pytest.fixture(scope="module")
def server() -> Iterator[Loopback]:
    with serving() as found:
        yield found


@pytest.mark.parametrize("feature", FEATURES)
@pytest.mark.parametrize("client", CLIENTS)
def test_client_does(server: Loopback, client: str, feature: str) -> None:
    module = CLIENTS[client]
    if not installed(module):
        pytest.skip(f"{client} is not installed")
    checks = load(module).CHECKS
    if feature not in checks:
        pytest.skip(f"{client} does not offer it")
    assert set(checks) <= set(FEATURES)
    checks[feature](server)

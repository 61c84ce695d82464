"""All suites, in the order of the table."""

from __future__ import annotations

from tests.abuse import (
    api,
    archives,
    bombs,
    clients,
    films,
    headers,
    images,
    payloads,
    placeholders,
    ssrf,
    templates,
    traversal,
)
from tests.abuse.suite import Suite

SUITES: tuple[Suite, ...] = (
    ssrf.SUITE,
    traversal.SUITE,
    images.SUITE,
    films.SUITE,
    bombs.SUITE,
    api.SUITE,
    templates.SUITE,
    payloads.SUITE,
    headers.SUITE,
    archives.SUITE,
    placeholders.SUITE,
    clients.SUITE,
)

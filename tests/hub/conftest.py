"""Fixtures of the tests that publish to a Hub and load from it."""

from collections.abc import Iterator

import pytest
from hub_server import HubServer


@pytest.fixture(scope="module")
def hub() -> Iterator[HubServer]:
    """A Hub, empty at first, that the tests of a module share."""
    with HubServer() as server:
        yield server

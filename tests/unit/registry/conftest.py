"""The in-memory registry with a client, for the tests of the client and of what stands on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from buildlib.registry.auth import Authenticator, Credential
from buildlib.registry.client import RegistryClient
from buildlib.registry.http import Http
from buildlib.testing import serve_registry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from buildlib.testing import Registry


@pytest.fixture
def registry() -> Iterator[Registry]:
    with serve_registry() as served:
        yield served


class Waits(list[float]):
    """The seconds that a client would have slept, one entry a pause."""


@pytest.fixture
def waits() -> Waits:
    return Waits()


@pytest.fixture
def client(registry: Registry, waits: Waits) -> Iterator[RegistryClient]:
    """A client that waits for nothing, only notes how long it should."""
    made = connect(registry, waits)
    yield made
    made.http.close()


def connect(registry: Registry, waits: list[float], credential: Credential | None = None) -> RegistryClient:
    """A client of ``registry``."""
    return RegistryClient(
        f"http://{registry.host}", Http(Authenticator(lambda host: credential), sleep=waits.append, delay=0.5)
    )

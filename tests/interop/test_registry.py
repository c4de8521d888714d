"""Images in Debian's docker-registry: the suite of our client, and what we and the other tools make of each other's."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from buildlib.registry.auth import Authenticator, Credential
from buildlib.registry.client import RegistryClient
from buildlib.registry.http import Http

from .docker_registry import USER, serve

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from registry.suite import Suite

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def docker_registry() -> Iterator[str]:
    """A docker-registry that anybody may use; its host:port."""
    with serve() as host:
        yield host


@pytest.fixture(scope="module")
def guarded_registry() -> Iterator[str]:
    """One that wants a password."""
    with serve(password=True) as host:
        yield host


class TestSuite(Suite):
    @pytest.fixture
    def repository(self, request: pytest.FixtureRequest) -> str:
        name = "".join(c if c.isalnum() else "-" for c in request.node.name.lower()).strip("-")
        return f"{type(self).__name__.lower()}/{name}".replace("--", "-")

    @pytest.fixture
    def client(self, docker_registry: str) -> Iterator[RegistryClient]:
        client = RegistryClient(f"http://{docker_registry}", Http(Authenticator(lambda host: None), delay=0.01))
        yield client
        client.http.close()


class TestSuiteBehindAPassword(TestSuite):
    @pytest.fixture
    def client(self, guarded_registry: str) -> Iterator[RegistryClient]:
        login = Authenticator(lambda host: Credential(*USER))
        client = RegistryClient(f"http://{guarded_registry}", Http(login, delay=0.01))
        yield client
        client.http.close()

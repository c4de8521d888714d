"""Every field of ``buildah config``: set, added to, removed, cleared."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from buildlib.container import config
from buildlib.container.state import Entry, State
from buildlib.errors import UsageError
from buildlib.oci import ContainerConfig, Healthcheck, ImageConfig

if TYPE_CHECKING:
    from buildlib.container import WorkingContainer

EMPTY = State(ImageConfig("amd64", "linux"), "scratch")


def inner(state: State = EMPTY, **fields: Any) -> ContainerConfig:
    return config.apply(state, fields).config.config


def outer(state: State = EMPTY, **fields: Any) -> ImageConfig:
    return config.apply(state, fields).config


def test_the_fields_of_the_document_around() -> None:
    found = outer(author="me", arch="arm64", os="linux", variant="v8", os_version="1", os_features=["b", "a"])
    assert (found.author, found.architecture, found.os, found.variant, found.os_version) == (
        "me", "arm64", "linux", "v8", "1",
    )  # fmt: skip
    assert found.os_features == ("a", "b")
    cleared = outer(
        config.apply(EMPTY, {"variant": "v8", "os_version": "1", "author": "me"}), variant=None, author=None
    )
    assert (cleared.variant, cleared.author) == (None, "")


def test_texts_and_their_clearing() -> None:
    fields = {"user": "app", "stop_signal": "SIGINT", "hostname": "h", "domainname": "d"}
    state = config.apply(EMPTY, fields)
    assert {name: getattr(state.config.config, name) for name in fields} == fields
    assert inner(state, user=None, hostname="") == attrs.evolve(state.config.config, user="", hostname="")


def test_environment_is_set_in_place_and_removed() -> None:
    state = config.apply(EMPTY, {"env": {"A": "1", "B": "2"}})
    assert inner(state, env={"A": "3", "C": "4"}).env == ("A=3", "B=2", "C=4")
    assert inner(state, env="A=x=y").env == ("A=x=y", "B=2")
    assert inner(state, env=["B-", "D=5"]).env == ("A=1", "D=5")
    assert inner(state, env={"A": None}).env == ("B=2",)
    assert inner(state, env=(("E", "6"),)).env == ("A=1", "B=2", "E=6")
    assert inner(state, env="-").env == ()
    assert inner(state, env=None).env == ()


@pytest.mark.parametrize("field", ["labels", "annotations"])
def test_labels_and_annotations_are_added_to(field: str) -> None:
    def held(state: State) -> dict[str, str]:
        return state.annotations if field == "annotations" else state.config.config.labels

    state = config.apply(EMPTY, {field: {"a": "1", "b": "2"}})
    assert held(config.apply(state, {field: ["c=3", "a-"]})) == {"b": "2", "c": "3"}
    assert held(config.apply(state, {field: "-"})) == {}
    assert held(state) == {"a": "1", "b": "2"}


def test_ports_and_volumes_are_sets() -> None:
    state = config.apply(EMPTY, {"ports": ["80", "53/UDP", "8000-8010/tcp"], "volumes": "/data"})
    assert state.config.config.exposed_ports == ("53/udp", "80/tcp", "8000-8010/tcp")
    assert inner(state, ports=["443", "80-"]).exposed_ports == ("443/tcp", "53/udp", "8000-8010/tcp")
    assert inner(state, exposed_ports=None).exposed_ports == ()
    assert inner(state, volumes=["/data-", "/more"]).volumes == ("/more",)
    assert inner(state, volumes={"/data-": {}, "-": {}}).volumes == ("-", "/data", "/data-")
    assert inner(state, volumes={"/data": None, "/more": {}}).volumes == ("/more",)


@pytest.mark.parametrize("port", ["http", "70000", "80/icmp", "1-2-3", ""])
def test_what_is_no_port_is_refused(port: str) -> None:
    with pytest.raises(UsageError):
        inner(ports=[port])


def test_commands_and_entrypoints_in_both_forms() -> None:
    assert inner(cmd="nginx -g 'daemon off;'").cmd == ("nginx", "-g", "daemon off;")
    assert inner(cmd=["a b"]).cmd == ("a b",)
    assert (inner(cmd=[]).cmd, inner(cmd=None).cmd) == ((), None)
    assert inner(entrypoint="exec app").entrypoint == ("/bin/sh", "-c", "exec app")
    assert inner(entrypoint=["/app"]).entrypoint == ("/app",)
    assert inner(config.apply(EMPTY, {"entrypoint": ["/app"]}), entrypoint=None).entrypoint is None
    assert inner(shell="/bin/bash -c").shell == ("/bin/bash", "-c")
    with pytest.raises(UsageError):
        inner(cmd="unbalanced 'quote")


def test_an_entrypoint_does_not_clear_the_command() -> None:
    state = config.apply(EMPTY, {"cmd": ["x"]})
    assert inner(state, entrypoint=["/app"]).cmd == ("x",)


def test_the_working_directory_is_clean_and_relative_ones_are_joined() -> None:
    state = config.apply(EMPTY, {"workdir": "/srv//x/../app/"})
    assert state.config.config.working_dir == "/srv/app"
    assert inner(state, workdir="sub").working_dir == "/srv/app/sub"
    assert inner(state, working_dir=None).working_dir == ""


def test_on_build_is_added_to() -> None:
    state = config.apply(EMPTY, {"on_build": "RUN a"})
    assert inner(state, on_build=["RUN b"]).on_build == ("RUN a", "RUN b")
    assert inner(state, on_build=None).on_build == ()


@pytest.mark.parametrize(
    ("value", "test"),
    [
        ("curl localhost", ("CMD-SHELL", "curl localhost")),
        ("CMD curl localhost", ("CMD", "curl", "localhost")),
        ("CMD-SHELL curl localhost", ("CMD-SHELL", "curl localhost")),
        ("NONE", ("NONE",)),
        (["curl", "localhost"], ("CMD", "curl", "localhost")),
        (["CMD-SHELL", "x"], ("CMD-SHELL", "x")),
        ({"test": ["CMD", "x"], "retries": 2}, ("CMD", "x")),
    ],
)
def test_a_healthcheck_in_all_its_forms(value: Any, test: tuple[str, ...]) -> None:
    found = inner(healthcheck=value).healthcheck
    assert found is not None
    assert found.test == test


def test_the_times_of_a_healthcheck_are_durations() -> None:
    state = config.apply(
        EMPTY,
        {
            "healthcheck": "x",
            "healthcheck_interval": "1m30s",
            "healthcheck_timeout": 2.5,
            "healthcheck_start_period": "500ms",
            "healthcheck_start_interval": "1h",
            "healthcheck_retries": "3",
        },
    )
    second = 10**9
    assert state.config.config.healthcheck == Healthcheck(
        ("CMD-SHELL", "x"), 90 * second, second * 5 // 2, second // 2, 3600 * second, 3
    )
    assert inner(state, healthcheck="y").healthcheck == attrs.evolve(
        state.config.config.healthcheck, test=("CMD-SHELL", "y")
    )
    assert inner(state, healthcheck=None).healthcheck is None
    with pytest.raises(UsageError):
        inner(healthcheck_interval="soon")


def test_comment_and_what_commit_will_write() -> None:
    state = config.apply(EMPTY, {"comment": "c", "history_comment": "h", "history_created_by": "me"})
    assert state.config.extra == {"comment": "c"}
    assert (state.history_comment, state.created_by) == ("h", "me")
    assert outer(state, comment=None).extra == {}


def test_an_unknown_field_is_named() -> None:
    with pytest.raises(UsageError, match="'enviroment'"):
        inner(enviroment={})


_TEXT = st.text(max_size=8)


@settings(max_examples=50, deadline=None)
@given(
    labels=st.dictionaries(st.text(min_size=1, max_size=5), _TEXT, max_size=3),
    entries=st.lists(st.builds(Entry, _TEXT, _TEXT, st.none() | st.floats(0, 2e9), st.booleans(), st.booleans())),
    cmd=st.none() | st.lists(_TEXT, max_size=3),
)
def test_a_state_survives_the_database(labels: dict[str, str], entries: list[Entry], cmd: list[str] | None) -> None:
    state = config.apply(EMPTY, {"labels": labels, "cmd": cmd}).evolve(history=tuple(entries), prepared="")
    assert State.decode(state.encode()) == state


@pytest.mark.root
def test_config_is_kept_and_makes_no_layer(container: WorkingContainer) -> None:
    layers = container.layers
    container.config(env={"A": "1"}, created_by="ENV A=1", comment="mine")
    again = container.store.container(container.name)
    assert again.image_config.config.env[-1] == "A=1"
    assert again.layers == layers
    last = again.history[-1]
    assert (last.created_by, last.comment, last.empty_layer) == ("ENV A=1", "mine", True)

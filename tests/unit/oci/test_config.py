"""Image configs: byte-identical when unchanged, Docker's fields, Go's order and escapes, times."""

import json
from datetime import datetime, timedelta, timezone

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from buildlib.errors import FormatError
from buildlib.oci import ContainerConfig, Digest, Healthcheck, History, ImageConfig, Platform, format_time, parse_time

DIFF_ID = Digest.of(b"layer")
DOCKER = {  # what docker leaves behind: nulls, empty values, fields of the daemon
    "architecture": "arm64",
    "config": {
        "Hostname": "", "Domainname": "", "User": "web", "AttachStdin": False, "Tty": False,
        "ExposedPorts": {"80/tcp": {}, "443/tcp": {}}, "Env": ["PATH=/bin"], "Cmd": ["sh"], "ArgsEscaped": True,
        "Healthcheck": {"Test": ["CMD-SHELL", "true"], "Interval": 30000000000, "Retries": 3, "Future": 1},
        "Image": "sha256:x", "Volumes": {"/data": {}}, "WorkingDir": "/srv", "Entrypoint": None, "OnBuild": ["RUN x"],
        "Labels": {"b": "2", "a": "1"}, "StopSignal": "SIGTERM", "StopTimeout": 7, "Shell": ["/bin/bash", "-c"],
    },
    "container": "abc",
    "created": "2024-01-02T03:04:05.123456789Z",
    "docker_version": "20.10",
    "history": [{"created": "2024-01-02T03:04:05Z", "created_by": "/bin/sh -c #(nop) ADD", "moby.x": 1},
                {"created_by": "ENV", "empty_layer": True}],
    "os": "linux",
    "os.version": "1",
    "rootfs": {"type": "layers", "diff_ids": [str(DIFF_ID)]},
    "variant": "v8",
}  # fmt: skip


def test_an_unchanged_config_encodes_to_the_bytes_it_came_from():
    raw = json.dumps(DOCKER, indent=3).encode()
    config = ImageConfig.parse(raw)
    assert config.encode() is raw
    assert config.digest == Digest.of(raw)
    assert config.evolve(os="linux").encode() is raw
    assert config.evolve(os="other").encode() != raw


def test_every_field_is_read():
    image = ImageConfig.parse(json.dumps(DOCKER).encode())
    assert image.platform == Platform("linux", "arm64", "v8", "1")
    assert image.diff_ids == (DIFF_ID,)
    assert image.history[1] == History(created_by="ENV", empty_layer=True)
    config = image.config
    assert (config.user, config.working_dir, config.stop_timeout) == ("web", "/srv", 7)
    assert config.exposed_ports == ("443/tcp", "80/tcp")
    assert config.volumes == ("/data",)
    assert config.healthcheck == Healthcheck(("CMD-SHELL", "true"), 30_000_000_000, retries=3, extra={"Future": 1})
    assert (config.on_build, config.shell, config.args_escaped) == (("RUN x",), ("/bin/bash", "-c"), True)


def test_unknown_fields_survive_a_change():
    image = ImageConfig.parse(json.dumps(DOCKER).encode())
    config = attrs.evolve(image.config, user="other")
    written = json.loads(image.evolve(config=config).encode())
    assert written["container"] == "abc"
    assert written["history"][0]["moby.x"] == 1
    assert written["config"]["Image"] == "sha256:x"
    assert written["config"]["Healthcheck"]["Future"] == 1
    assert written["config"]["User"] == "other"


def test_not_set_and_set_to_nothing_differ():
    assert ContainerConfig.from_dict({"Entrypoint": [], "Cmd": None}) == ContainerConfig(entrypoint=(), cmd=None)
    assert ContainerConfig(entrypoint=(), cmd=None).to_dict() == {"Entrypoint": []}


def test_new_bytes_are_those_that_buildkit_would_write():
    config = ContainerConfig(
        env=("PATH=/bin",), cmd=("sh", "-c", "a && b > c"), labels={"b": "\u2028", "a": "é"}, exposed_ports=("80/tcp",)
    )
    history = (History("2024-01-01T00:00:00Z", "RUN x # buildkit", comment="buildkit.dockerfile.v0"),)
    image = ImageConfig("amd64", "linux", config, (DIFF_ID,), history, created="2024-01-01T00:00:00Z")
    assert image.encode().decode() == (
        '{"architecture":"amd64","config":{"ExposedPorts":{"80/tcp":{}},"Env":["PATH=/bin"],'
        '"Cmd":["sh","-c","a \\u0026\\u0026 b \\u003e c"],"Labels":{"a":"é","b":"\\u2028"}},'
        '"created":"2024-01-01T00:00:00Z","history":[{"created":"2024-01-01T00:00:00Z","created_by":"RUN x # buildkit",'
        '"comment":"buildkit.dockerfile.v0"}],"os":"linux",'
        f'"rootfs":{{"type":"layers","diff_ids":["{DIFF_ID}"]}}}}'
    )


def test_text_that_is_not_unicode_is_replaced_as_go_does():
    assert b'"A=\\ufffd"' in ImageConfig(config=ContainerConfig(env=("A=\udcff",))).encode()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config": []}, "image config.config: expected an object"),
        ({"config": {"Env": {"A": "b"}}}, "image config.config.Env: expected a list, found an object"),
        ({"config": {"Env": [1]}}, r"image config.config.Env\[0\]: expected a string"),
        ({"config": {"Cmd": "sh"}}, "image config.config.Cmd: expected a list, found a string"),
        ({"config": {"Labels": {"a": None}}}, "image config.config.Labels.a: expected a string, found null"),
        ({"config": {"ExposedPorts": ["80"]}}, "image config.config.ExposedPorts: expected an object"),
        ({"config": {"Healthcheck": {"Retries": 1.5}}}, "Healthcheck.Retries: expected a whole number"),
        ({"config": {"Healthcheck": {"Interval": 10**30}}}, "Healthcheck.Interval: the number is out of range"),
        ({"history": {}}, "image config.history: expected a list"),
        ({"rootfs": {"diff_ids": ["x"]}}, r"image config.rootfs.diff_ids\[0\]: not a digest"),
        ({"rootfs": {"type": "chunks"}}, "image config.rootfs.type"),
        ({"created": 5}, "image config.created: expected a string, found a number"),
    ],
)
def test_a_wrong_field_is_named(change, message):
    with pytest.raises(FormatError, match=message):
        ImageConfig.parse(json.dumps({**DOCKER, **change}).encode())


texts = st.lists(st.text(max_size=5), max_size=3).map(tuple)
configs = st.builds(
    ContainerConfig,
    user=st.text(max_size=4),
    env=texts,
    entrypoint=st.none() | texts,
    cmd=st.none() | texts,
    labels=st.dictionaries(st.text(max_size=4), st.text(max_size=4), max_size=3),
    volumes=st.sets(st.text(max_size=4)).map(sorted).map(tuple),
    healthcheck=st.none() | st.builds(Healthcheck, test=texts, interval=st.integers(0, 1 << 62)),
    shell=texts,
    args_escaped=st.booleans(),
)


@given(configs, st.lists(st.builds(History, created_by=st.text(max_size=9), empty_layer=st.booleans()), max_size=3))
def test_what_is_written_reads_back_the_same(config, history):
    image = ImageConfig("amd64", "linux", config, (DIFF_ID,), tuple(history))
    assert ImageConfig.parse(image.encode()) == image


@pytest.mark.parametrize(
    ("when", "text"),
    [
        (0, "1970-01-01T00:00:00Z"),
        (1.5, "1970-01-01T00:00:01.5Z"),
        (1700000000.000001, "2023-11-14T22:13:20.000001Z"),
        (datetime(2024, 5, 6, 7, 8, 9, tzinfo=timezone(timedelta(hours=2))), "2024-05-06T05:08:09Z"),
    ],
)
def test_times_are_written_as_go_writes_them(when, text):
    assert format_time(when) == text
    assert format_time(parse_time(text)) == text


def test_nanoseconds_are_read_and_nonsense_is_refused():
    assert parse_time("1970-01-01T00:00:01.123456789Z") == pytest.approx(1.123456)
    for text in ("", "yesterday", "2024-01-01T00:00:00"):
        with pytest.raises(FormatError):
            parse_time(text)

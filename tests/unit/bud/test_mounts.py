"""RUN --mount is read by docker's rules."""

from __future__ import annotations

from typing import Any

import pytest

from bud.mounts import Mount, MountError, mount_from, parse_mount, settle, split_options


def read(text: str, workdir: str = "/w", **variables: str) -> dict[str, Any]:
    def expand(value: str) -> str:
        for name, content in variables.items():
            value = value.replace(f"${name}", content)
        return value

    mount = settle(parse_mount(text, expand), workdir)
    return {name: value for name, value in mount._asdict().items() if value != Mount._field_defaults[name]}


# (value, fields that differ from a bare bind mount)
GOOD: list[tuple[str, dict[str, Any]]] = [
    ("type=bind,target=/a", {"target": "/a", "source": "/"}),
    ("target=/a", {"target": "/a", "source": "/"}),
    ("dst=a,src=b/../c", {"target": "/w/a", "source": "/c"}),
    ("destination=../a,source=/b", {"target": "/a", "source": "/b"}),
    ("type=bind,source=../../x", {"target": "/w", "source": "/x"}),
    ("type=bind,from=img,target=/a,rw", {"from_": "img", "target": "/a", "source": "/", "readonly": False}),
    ("TYPE=Bind,Target=/a,READWRITE=true", {"target": "/a", "source": "/", "readonly": False}),
    ("target=/a,ro=false", {"target": "/a", "source": "/", "readonly": False}),
    ("target=/a,rw=0", {"target": "/a", "source": "/"}),
    (
        "type=cache,target=/a/",
        {"type": "cache", "target": "/a", "source": "/", "id": "/a", "sharing": "shared", "readonly": False},
    ),
    (
        "type=cache,target=./a/b,sharing=LOCKED,ro,mode=0700,uid=1,gid=2",
        {
            "type": "cache",
            "target": "/w/a/b",
            "source": "/",
            "id": "a/b",
            "sharing": "locked",
            "mode": 0o700,
            "uid": 1,
            "gid": 2,
        },
    ),
    (
        "type=cache,id=$I,target=/a",
        {"type": "cache", "target": "/a", "source": "/", "id": "x", "sharing": "shared", "readonly": False},
    ),
    ("type=tmpfs,target=/a", {"type": "tmpfs", "target": "/a", "source": "/", "readonly": False}),
    (
        "type=tmpfs,target=/a,size=64m",
        {"type": "tmpfs", "target": "/a", "source": "/", "readonly": False, "size": 64 << 20},
    ),
    ("type=secret,id=a/b", {"type": "secret", "id": "a/b", "target": "/run/secrets/b"}),
    ("type=secret,source=a", {"type": "secret", "id": "a", "target": "/run/secrets/a"}),
    ("type=secret,target=/x/y", {"type": "secret", "id": "y", "target": "/x/y"}),
    ("type=secret,id=a,env=B", {"type": "secret", "id": "a", "env": "B"}),
    ("type=secret,id=a,env=B,target=/c", {"type": "secret", "id": "a", "env": "B", "target": "/c"}),
    (
        "type=secret,id=a,required,mode=0444",
        {"type": "secret", "id": "a", "target": "/run/secrets/a", "required": True, "mode": 0o444},
    ),
    ("type=ssh", {"type": "ssh", "id": "default"}),
    ("type=ssh,id=k,required=true", {"type": "ssh", "id": "k", "required": True}),
    ('"target=/a,b",source=c', {"target": "/a,b", "source": "/c"}),
]


@pytest.mark.parametrize(("text", "fields"), GOOD)
def test_a_mount_is_read(text: str, fields: dict[str, Any]) -> None:
    assert read(text, I="x") == fields


BAD = [
    ("", "the mount is empty"),
    ("type=bnid,target=/a", "unknown type of mount: bnid"),
    ("traget=/a", "unknown mount option traget"),
    ("target", "the mount option target has no value"),
    ("target=/", "can't cover the root"),
    ("required,type=secret,id=a", "a bind mount has no required"),
    ("size=1m,type=tmpfs,target=/a", "a bind mount has no size"),
    ("type=tmpfs,target=/a,size=big", "is no size"),
    ("type=tmpfs,target=/a,size=1.2.3m", "is no size"),
    ("type=cache,target=/a,sharing=all", "unknown kind of sharing"),
    ("target=/a,sharing=shared", "a bind mount has no sharing"),
    ("target=/a,mode=0700", "a bind mount has no mode"),
    ("type=tmpfs,target=/a,uid=1", "a tmpfs mount has no uid"),
    ("type=cache,target=/a,mode=9", "mode=9 is no mode"),
    ("type=cache,target=/a,uid=x", "uid=x is no uid"),
    ("type=cache,target=/a,env=X", "a cache mount has no env"),
    ("type=secret", "the secret is not named"),
    ("type=secret,id=a,from=b", "a secret mount has no from"),
    ("type=secret,id=a,source=b", "source is another name of id"),
    ("target=/a,ro=maybe", "is not a boolean"),
    ('target="/a"', "a double quote inside"),
    ('"target=/a', "not closed"),
    ('"target=/a"x', "something else than a comma"),
]


@pytest.mark.parametrize(("text", "message"), BAD)
def test_a_bad_mount_is_refused(text: str, message: str) -> None:
    with pytest.raises(MountError, match=message):
        read(text)


def test_an_empty_target_at_the_root_names_the_working_directory() -> None:
    with pytest.raises(MountError, match="the working directory is /"):
        read("source=a", workdir="/")


def test_a_misspelt_option_has_a_near_one() -> None:
    with pytest.raises(MountError) as caught:
        read("traget=/a")
    assert caught.value.hint == "did you mean target?"


def test_from_is_known_before_anything_is_expanded() -> None:
    assert mount_from("type=$T,FROM=stage,target=/a") == "stage"
    assert mount_from("type=cache,target=/a") == ""
    with pytest.raises(MountError, match="from can't hold variables"):
        mount_from("from=$X")


def test_options_are_csv() -> None:
    assert split_options('a=1,"b=2,3","c=""4"""') == ["a=1", "b=2,3", 'c="4"']
    assert split_options("a,,b") == ["a", "", "b"]

"""``--volume`` and ``--mount`` become the mounts of the library."""

import pytest

from buildlib import Bind, Cache, Secret, Tmpfs
from buildlib.errors import UsageError
from buildlib.mount_words import parse_mount, parse_volume


def test_a_volume_is_written_through_unless_it_is_read_only():
    assert parse_volume("/a:/b") == Bind("/a", "/b", rw=True, keep=True)
    assert parse_volume("/a:/b:ro,z,rprivate") == Bind("/a", "/b")
    assert parse_volume("/a:/b:rw") == Bind("/a", "/b", rw=True, keep=True)


@pytest.mark.parametrize("text", ["/a", "a:/b", "/a:b", ":/b", "/a:", "/a:/b:odd", "/a:/b:O"])
def test_a_volume_that_can_not_be_meant_is_refused(text):
    with pytest.raises(UsageError):
        parse_volume(text)


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("type=bind,source=/a,target=/b", Bind("/a", "/b")),
        ("type=bind,src=a,dst=/b,rw", Bind("/ctx/a", "/b", rw=True)),
        ("type=bind,source=/a,destination=/b,readonly=true,z", Bind("/a", "/b")),
        ("type=bind,from=img,target=/b", Bind("/", "/b", from_="img")),
        ("type=bind,from=img,source=/x,target=/b", Bind("/x", "/b", from_="img")),
        ("type=cache,target=/c", Cache("/c")),
        (
            "type=cache,target=/c,id=i,sharing=locked,mode=0700,uid=1,gid=2,ro",
            Cache("/c", "i", "locked", 0o700, 1, 2, ro=True),
        ),
        ("type=tmpfs,target=/t", Tmpfs("/t")),
        ("type=tmpfs,dst=/t,tmpfs-size=64m", Tmpfs("/t", 64 << 20)),
        ("type=secret,id=s,src=key", Secret("s", source="/ctx/key")),
        (
            "type=secret,id=s,variable=KEY,env=E,mode=0440,required",
            Secret("s", variable="KEY", env="E", mode=0o440, required=True),
        ),
        ('type=bind,"source=/a,b",target=/b', Bind("/a,b", "/b")),
    ],
)
def test_each_type_of_mount_is_understood(text, made):
    assert parse_mount(text, "/ctx") == made


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("target=/x", 'invalid type ""'),
        ("type=odd,target=/x", 'invalid type "odd"'),
        ("type=bind,source=/x", "the target is missing"),
        ("type=bind,target=/x", "the source is missing"),
        ("type=cache,target=/x,tmpfs-size=3", 'a cache has no option "tmpfs-size"'),
        ("type=cache,target=/x,sharing=some", "sharing is shared, private or locked"),
        ("type=cache,target=/x,mode=rw", "mode is a number"),
        ("type=cache,target=/x,ro=perhaps", "ro is true or false"),
        ("type=tmpfs,target=/x,size=big", "is no size"),
        ("type=secret,id=s", "nothing says what the secret is"),
        ("type=secret,source=/k", "the id is missing"),
        ("", 'invalid type ""'),
    ],
)
def test_a_mount_that_can_not_be_meant_is_refused(text, message):
    with pytest.raises(UsageError) as caught:
        parse_mount(text, "/ctx")
    assert message in caught.value.message

"""The part of Go's templates that is supported is right; the rest is refused."""

import pytest

from buildlib.cli.template import Struct, Template, Time
from buildlib.errors import UsageError

CONFIG = Struct({"Env": ["A=1", "B=2"], "User": "", "Labels": {"b": "2", "a": "1"}, "Cmd": None}, {"User"})
VALUE = Struct(
    {
        "FromImage": "localhost/x:latest",
        "OCIv1": Struct({"created": Time("2026-11-24T10:10:20.13Z"), "os": "linux", "config": CONFIG,
                         "rootfs": Struct({"type": "layers", "diff_ids": ["sha256:1"]})}),
        "Tty": False,
    }
)  # fmt: skip


@pytest.mark.parametrize(
    ("template", "text"),
    [
        ("", ""),
        ("plain }} text", "plain }} text"),
        ("{{.FromImage}}", "localhost/x:latest"),
        ("a{{ .FromImage }}b{{.Tty}}", "alocalhost/x:latestbfalse"),
        ("a {{- .Tty -}} b", "afalseb"),
        ("{{.OCIv1.OS}} {{.OCIv1.RootFS.DiffIDs}}", "linux [sha256:1]"),
        ("{{.OCIv1.Config.Env}} {{.OCIv1.Config.Labels}}", "[A=1 B=2] map[a:1 b:2]"),
        ("{{.OCIv1.Config.Labels.a}} {{.OCIv1.Config.Labels.none}}", "1 <no value>"),
        ("{{.OCIv1.Config.User}}|{{.OCIv1.Config.Cmd}}", "|[]"),
        ("{{.OCIv1.Created}}", "2026-11-24 10:10:20.13 +0000 UTC"),
        ("{{.OCIv1.RootFS}}", "{layers [sha256:1]}"),
        (r"a\tb\nc\\td\q", "a\tb\nc\\td\\q"),
    ],
)
def test_fields_and_literal_text_are_printed_as_go_prints_them(template, text):
    assert Template(template).render(VALUE) == text


def test_the_dot_is_the_whole_value():
    assert Template("{{.}}").render(Struct({"a": "x", "b": True})) == "{x true}"


@pytest.mark.parametrize(
    "action",
    ["json .", 'printf "%s" .ID', "if .ID", "end", ".ID | len", '"text"', "$x", "", ".a..b", "..", "/* c */"],
)  # fmt: skip
def test_everything_else_of_the_language_is_refused_by_name(action):
    with pytest.raises(UsageError) as caught:
        Template("{{" + action + "}}")
    assert "is not supported yet" in caught.value.message
    assert action in caught.value.message


def test_an_open_action_is_an_error():
    with pytest.raises(UsageError, match="invalid format"):
        Template("a {{.ID")


def test_an_unknown_field_names_the_known_ones():
    with pytest.raises(UsageError) as caught:
        Template("{{.Foo}}").render(Struct({"ID": "1", "Name": "x"}))
    assert "there is no field .Foo" in caught.value.message
    assert caught.value.hint == "the fields are .ID, .Name"


def test_a_text_has_no_fields():
    with pytest.raises(UsageError, match=r"no field \.Bar"):
        Template("{{.FromImage.Bar}}").render(VALUE)

"""Go's templates: what is supported is as Go has it, all else is refused."""

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
        "Count": 3,
        "History": [Struct({"created_by": "one"}), Struct({"created_by": "<two>"})],
    }
)  # fmt: skip

FIELDS = [
    ("", ""),
    ("plain }} text", "plain }} text"),
    ("{{.FromImage}}", "localhost/x:latest"),
    ("a{{ .FromImage }}b{{.Tty}}", "alocalhost/x:latestbfalse"),
    ("a {{- .Tty -}} b", "afalseb"),
    ("{{- /* don't }} show */ -}} x", "x"),
    ("{{.OCIv1.OS}} {{.OCIv1.RootFS.DiffIDs}}", "linux [sha256:1]"),
    ("{{.OCIv1.Config.Env}} {{.OCIv1.Config.Labels}}", "[A=1 B=2] map[a:1 b:2]"),
    ("{{.OCIv1.Config.Labels.a}} {{.OCIv1.Config.Labels.none}}", "1 <no value>"),
    ("{{.OCIv1.Config.User}}|{{.OCIv1.Config.Cmd}}", "|[]"),
    ("{{.OCIv1.Created}}", "2026-11-24 10:10:20.13 +0000 UTC"),
    ("{{.OCIv1.RootFS}}", "{layers [sha256:1]}"),
    (r"a\tb\nc\\td\q", "a\tb\nc\\td\\q"),
]
BLOCKS = [
    ("{{if .Tty}}a{{else}}b{{end}}{{if .Count}}c{{end}}", "bc"),
    ("{{if .Tty}}a{{else if eq .Count 3}}b{{else}}c{{end}}", "b"),
    ("{{if .OCIv1.Config.Labels.none}}a{{else}}b{{end}}{{if .OCIv1.Config.Cmd}}a{{end}}", "b"),
    ("{{range .OCIv1.Config.Env}}{{.}};{{end}}{{range .OCIv1.Config.Cmd}}x{{else}}none{{end}}", "A=1;B=2;none"),
    ("{{range $k, $v := .OCIv1.Config.Labels}}{{$k}}={{$v}} {{end}}", "a=1 b=2 "),
    ("{{range $i, $e := .History}}{{if $i}}, {{end}}{{$e.CreatedBy}}{{end}}", "one, <two>"),
    ("{{range .History}}{{$.Count}}{{break}}{{end}}{{range 3}}{{if eq . 1}}{{continue}}{{end}}{{.}}{{end}}", "302"),
    ("{{with .OCIv1.Config}}{{len .Env}}{{end}}{{with .Tty}}a{{else}}b{{end}}", "2b"),
    ("{{$x := 1}}{{if true}}{{$x = 2}}{{$y := 3}}{{end}}{{$x}}", "2"),
    ('{{define "T"}}[{{.}}]{{end}}{{template "T" .OCIv1.OS}}{{block "B" .Count}}{{.}}{{end}}', "[linux]3"),
]
FUNCTIONS = [
    ('{{json .OCIv1.Config}}', '{"Env":["A=1","B=2"],"Labels":{"b":"2","a":"1"},"Cmd":null}'),
    ("{{json .History}}", r'[{"created_by":"one"},{"created_by":"\u003ctwo\u003e"}]'),
    ('{{index .OCIv1.Config.Env 1}} {{with .OCIv1.Config.Labels}}{{index . "a"}}|{{index . "x"}}{{end}}', "B=2 1|"),
    ("{{(index .History 1).CreatedBy}} {{len .FromImage}} {{len .OCIv1.Config.Labels}}", "<two> 18 2"),
    ('{{join .OCIv1.Config.Env ", "}} {{.OCIv1.Config.Env | join ";"}} {{split "a/b" "/"}}', "A=1, B=2 A=1;B=2 [a b]"),
    ('{{.OCIv1.OS | upper | printf "%d %s" .Count}} {{title "a b"}} {{lower "X"}}', "3 LINUX A B x"),
    ("{{slice .OCIv1.OS 1 3}} {{slice .OCIv1.Config.Env 1}}", "in [B=2]"),
    ('{{truncate "abc" 2}}[{{pad "a" 1 2}}]', "ab[ a  ]"),
    ("{{eq 1 2 1}} {{ne 1 1}} {{lt 1 2}} {{le 2 2}}", "true false true true"),
    ('{{gt 1 2}} {{ge "b" "a"}} {{not true}}', "false true false"),
    ('{{and 1 0}} {{or "" "b"}} {{and true .Tty}} {{or 0 .Count | print}}', "0 b false 3"),
    ('{{1}} {{"s"}} {{`r"aw`}}', '1 s r"aw'),
    ('{{or true (index .History 9)}}', "true"),
    ('{{printf "%5.2f|%-5s|%05d|%x|%q|%v|%t|%c|%U|%T|%%" 1.5 "a" 4 255 "s" .Tty true 65 65 "s"}}',
     " 1.50|a    |00004|ff|\"s\"|false|true|A|U+0041|string|%"),
    ('{{printf "%d %s" 1}} {{printf "%d" 1 2}} {{printf "%d" "x"}}', "1 %!s(MISSING) 1%!(EXTRA int=2) %!d(string=x)"),
    ('{{print 1 2 "a" "b" 3}} {{println 1 "x"}}', "1 2ab3 1 x\n"),
    ('{{html "<a>"}} {{urlquery "a b"}} {{js "it\'s"}}', "&lt;a&gt; a+b it\\'s"),
    ('{{.OCIv1.Created.Format "02 Jan 2006 15:04"}} {{.OCIv1.Created.Year}} {{.OCIv1.Created.Unix}}',
     "24 Nov 2026 10:10 2026 1795515020"),
]  # fmt: skip


@pytest.mark.parametrize(("template", "text"), [*FIELDS, *BLOCKS, *FUNCTIONS])
def test_what_go_prints_is_printed(template, text):
    assert Template(template).render(VALUE) == text


def test_the_dot_is_the_whole_value():
    assert Template("{{.}}").render(Struct({"a": "x", "b": True})) == "{x true}"


def test_blanks_of_the_text_may_stand_for_columns():
    assert Template('{{.a}} {{printf "%s %s" .a .a}} b', blank="\t").render({"a": "x"}) == "x\tx x\tb"


@pytest.mark.parametrize(
    "text",
    [
        "{{if .ID}}", "{{end}}", "{{else}}", "{{}}", "{{.a..b}}", "{{..}}", "{{.ID |}}", '{{"open}}', "{{(.ID}}",
        "{{template .ID}}", "{{.ID", "{{range .ID}}{{else}}", "{{~}}", "{{1x}}", "{{with}}a{{end}}",
    ],
)  # fmt: skip
def test_what_is_no_template_is_refused(text):
    with pytest.raises(UsageError):
        Template(text)


@pytest.mark.parametrize(
    "text",
    [
        "{{nothing .}}", "{{$x}}", "{{$x = 1}}", "{{index .History 5}}", "{{index .Count 1}}", "{{lt 1 .History}}",
        "{{eq 1 true}}", "{{len 1}}", "{{range .FromImage}}{{end}}", '{{template "x"}}', "{{.FromImage 1}}",
        "{{.FromImage.Bar}}", '{{define "x"}}{{template "x"}}{{end}}{{template "x"}}', "{{upper 1}}",
        "{{.OCIv1.Created.Nothing}}", '{{.OCIv1.Created.Format}}', "{{1 2}}",
    ],
)  # fmt: skip
def test_what_can_not_be_shown_is_refused(text):
    with pytest.raises(UsageError):
        Template(text).render(VALUE)


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

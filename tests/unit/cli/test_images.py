"""``buildlib images`` lists what buildah would list, in the same shape."""

import json
import time

import pytest


@pytest.fixture
def three(rows):
    """A new image with two names, an older dangling one, an old one."""
    now = time.time()
    names = ("localhost/site:1", "docker.io/library/site:2")
    rows.image("aa1", *names, created=now - 130, labels={"team": "web", "x": ""})
    rows.image("bb2", created=now - 7200, size=4_860_000, labels={"team": "db"})
    rows.image("cc3", "localhost:5000/a/b:v", created=0)
    return rows


def test_the_table_has_a_line_for_every_name_newest_image_first(call, three):
    lines = [
        "REPOSITORY               TAG      IMAGE ID       CREATED         SIZE",
        "docker.io/library/site   2        aa1000000000   2 minutes ago   2 MB",
        "localhost/site           1        aa1000000000   2 minutes ago   2 MB",
        "<none>                   <none>   bb2000000000   2 hours ago     4.86 MB",
    ]
    got = call("images")
    assert got.out.splitlines()[:4] == lines
    assert got.out.splitlines()[4].startswith("localhost:5000/a/b       v        cc3000000000   5")
    assert (got.code, got.err) == (0, "")


def test_without_a_store_there_are_no_images_and_none_is_made(call, tmp_path):
    assert call("images").out == "REPOSITORY   TAG   IMAGE ID   CREATED   SIZE\n"
    assert call("images", "--json").out == "[]\n"
    assert not (tmp_path / "store").exists()


def test_quiet_prints_each_id_once(call, three):
    assert call("images", "-q").out.split() == ["aa1000000000", "bb2000000000", "cc3000000000"]
    assert call("images", "--quiet", "--no-trunc").out.split()[0] == "sha256:aa1".ljust(71, "0")


def test_headings_digests_and_full_ids_are_wanted_or_not(call, three):
    assert "REPOSITORY" not in call("images", "-n").out
    heading, first, *_ = call("images", "--digests", "--no-trunc").out.splitlines()
    assert heading.split() == ["REPOSITORY", "TAG", "DIGEST", "IMAGE", "ID", "CREATED", "SIZE"]
    assert "sha256:" + "d" * 64 in first
    assert "sha256:aa1" in first


def test_json_has_the_shape_of_buildah(call, three):
    first, second, _ = json.loads(call("images", "--json").out)
    keys = ["id", "names", "digest", "createdat", "size", "created", "createdatraw", "readonly", "history"]
    assert list(first) == keys
    assert first["names"] == ["docker.io/library/site:2", "localhost/site:1"]
    assert second["names"] is None
    assert second["size"] == "4.86 MB"


def test_a_template_prints_a_line_for_every_name_and_tabs_align(call, three):
    got = call("images", "--format", r"{{.ID}}\t{{.Name}}:{{.Tag}}\tx", "--filter", "label=team=web")
    assert got.out == (
        "aa1000000000   docker.io/library/site:2   x\n"
        "aa1000000000   localhost/site:1           x\n"
    )  # fmt: skip


@pytest.mark.parametrize(
    ("filters", "ids"),
    [
        (["dangling=true"], ["bb2"]),
        (["dangling=false"], ["aa1", "cc3"]),
        (["label=team"], ["aa1", "bb2"]),
        (["label=team=web"], ["aa1"]),
        (["label=team=web", "label=team=db"], ["aa1", "bb2"]),
        (["label=team,dangling=true"], ["bb2"]),
        (["reference=site"], ["aa1"]),
        (["reference=localhost/s*:1"], ["aa1"]),
        (["reference=a/b"], ["cc3"]),
        (["reference=b:w"], []),
        (["id=bb"], ["bb2"]),
        (["readonly=true"], []),
        (["intermediate=false"], ["aa1", "bb2", "cc3"]),
        (["before=bb2"], ["cc3"]),
        (["since=bb2"], ["aa1"]),
        (["after=cc3"], ["aa1", "bb2"]),
    ],
)
def test_filters_choose_images(call, three, filters, ids):
    words = [word for text in filters for word in ("--filter", text)]
    got = call("images", "-q", *words)
    assert [line[:3] for line in got.out.split()] == ids, got.err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--filter", "foo=bar"], 'unsupported filter "foo"'),
        (["--filter", "dangling"], 'invalid filter "dangling": must be in the format "filter=value"'),
        (["--filter", "dangling=perhaps"], 'filter dangling takes true or false, not "perhaps"'),
        (["-q", "--format", "x"], "quiet and format are mutually exclusive"),
        (["--format", "{{.Foo}}"], "template '{{.Foo}}': there is no field .Foo"),
        (["nope"], "no image is called 'nope'"),
    ],
)
def test_what_can_not_be_answered_is_an_error(call, three, words, message):
    got = call("images", *words)
    assert got.code == 125
    assert got.err.splitlines()[0] == f"Error: {message}"
    assert got.out == ""


def test_a_name_chooses_one_image(call, three):
    assert call("images", "-q", "site:2").out == "aa1000000000\n"
    assert call("images", "-q", "cc3").out == "cc3000000000\n"


def test_an_index_is_listed_under_its_name(call, rows):
    with rows.db.transaction() as conn:
        sql = "INSERT INTO names (name, image, since) VALUES ('localhost/multi:1', ?, 5)"
        conn.execute(sql, (f"sha256:{'e' * 64}",))
    assert call("images", "-n").out.split()[:3] == ["localhost/multi", "1", "e" * 12]


def test_the_history_of_names_is_newest_first_without_the_newest_itself(call, rows):
    rows.image("aa", "localhost/a:1")
    with rows.db.transaction() as conn:
        conn.execute("UPDATE former_names SET since = 1")
        conn.execute("INSERT OR REPLACE INTO names VALUES ('localhost/b:2', ?, 2)", ("aa".ljust(64, "0"),))
        conn.execute("INSERT OR REPLACE INTO names VALUES ('localhost/gone:3', ?, 0.5)", ("aa".ljust(64, "0"),))
        conn.execute("DELETE FROM names WHERE name = 'localhost/gone:3'")
    lines = call("images", "--history", "--format", "{{.Name}}: {{.History}}").out.splitlines()
    assert sorted(" ".join(line.split()) for line in lines) == [
        "localhost/a: localhost/b:2, localhost/a:1, localhost/gone:3",
        "localhost/b: localhost/a:1, localhost/gone:3",
    ]
    assert call("images", "--history").out.splitlines()[0].endswith("SIZE   HISTORY")


def test_a_table_has_headings_unless_they_are_not_wanted(call, rows):
    rows.image("aa", "localhost/a:1")
    assert call("images", "--format", "table {{.Name}} {{.Tag}}").out == "REPOSITORY    TAG\nlocalhost/a   1\n"
    assert call("images", "-n", "--format", "table {{.Name}}").out == "localhost/a\n"

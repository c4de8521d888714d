"""``buildlib containers`` lists what buildah would list, in the same shape."""

import json

import pytest


@pytest.fixture
def two(rows):
    image = rows.image("cc3", "localhost/site:1")
    rows.container("aa1", "base", created=1)
    rows.container("bb2", "site-working-container", image, "localhost/site:1", created=2)
    return rows


def test_the_table_is_that_of_buildah_oldest_first(call, two):
    assert call("containers").out.splitlines() == [
        "CONTAINER ID  BUILDER  IMAGE ID     IMAGE NAME                       CONTAINER NAME",
        "aa1000000000     *                  scratch                          base",
        "bb2000000000     *     cc3000000000 localhost/site:1                 site-working-container",
    ]


def test_the_other_names_of_the_verb_do_the_same(call, two):
    assert call("ps").out == call("ls").out == call("list").out == call("containers").out


def test_quiet_prints_full_ids_and_json_has_the_shape_of_buildah(call, two):
    assert call("containers", "-q").out.split() == ["aa1".ljust(64, "0"), "bb2".ljust(64, "0")]
    first, second = json.loads(call("containers", "--json").out)
    assert first == {
        "id": "aa1".ljust(64, "0"), "builder": True, "imageid": "", "imagename": "scratch", "containername": "base",
    }  # fmt: skip
    assert second["imageid"] == "cc3".ljust(64, "0")


def test_full_ids_and_no_heading(call, two):
    assert call("containers", "-n", "--notruncate").out.split()[0] == "aa1".ljust(64, "0")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("name=work", ["site-working-container"]),
        ("id=aa", ["base"]),
        ("ancestor=site:1", ["site-working-container"]),
        ("ancestor=site", ["site-working-container"]),
        ("ancestor=cc3", ["site-working-container"]),
        ("ancestor=ite", []),
    ],
)
def test_filters_choose_containers(call, two, text, names):
    assert call("containers", "--filter", text, "--format", "{{.ContainerName}}").out.split() == names


def test_what_can_not_be_answered_is_an_error(call, two):
    assert call("containers", "x").err.startswith("Error: 'buildlib containers' does not accept arguments\nhint: ")
    assert call("containers", "--filter", "foo=bar").code == 125

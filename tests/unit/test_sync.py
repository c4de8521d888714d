"""Images kept in one place as they are in another: what is planned, what is copied, what is left alone and deleted."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from buildlib import transports
from buildlib.errors import FormatError, InvalidReference, NotFound, TransportError, UsageError
from buildlib.events import Log
from buildlib.oci import Platform, mediatype
from buildlib.registry.access import Access
from buildlib.sync import Source, copies, folder, listed, sync_images
from buildlib.testing import serve_registry
from buildlib.testing.faults import on, status

sys.path.insert(0, str(Path(__file__).parent))
from transports.images import Memory
from transports.test_multi_arch import AMD, ARM

from buildlib.transports.copy import copy

ACCESS = Access(tls_verify=False, retries=0)


@pytest.fixture
def origin():
    """A registry with team/site:v1.0, v1.1, v2.0, latest (the same as v2.0) and team/db:v1."""
    with serve_registry() as registry:
        for tag in ("v1.0", "v1.1", "v2.0"):
            put(registry, f"team/site:{tag}", tag)
        put(registry, "team/site:latest", "v2.0")
        put(registry, "team/db:v1", "db")
        registry.log.clear()
        yield registry


@pytest.fixture
def target():
    with serve_registry() as registry:
        yield registry


def put(registry, name, text, index=False):
    memory = Memory()
    if index:
        memory.index(AMD, ARM)
    else:
        memory.image(text)
    with transports.writing(transports.destination(f"docker://{registry.host}/{name}", access=ACCESS)) as there:
        copy(memory, there, multi_arch="all")
    return memory.root.digest


def sync(source, destination, kinds="docker docker", **options):
    first, second = kinds.split()
    return sync_images(
        source, destination, source_kind=first, destination_kind=second, source_access=ACCESS,
        destination_access=ACCESS, **options,
    )  # fmt: skip


def tags(registry, name):
    return registry.repository(name).tags


# --- registry to registry ---------------------------------------------------------------------------------------------


def test_a_repository_is_synced_with_all_its_tags(origin, target):
    report = sync(f"{origin.host}/team/site", f"{target.host}/mirror")
    assert tags(target, "mirror/site") == tags(origin, "team/site")
    assert len(report.copied) == 4
    assert report.copied[0] == f"docker://{target.host}/mirror/site:latest"
    assert set(target.repositories) == {"mirror/site"}


def test_one_image_is_synced_by_its_tag(origin, target):
    sync(f"docker://{origin.host}/team/site:v1.0", f"docker://{target.host}/mirror/")
    assert set(tags(target, "mirror/site")) == {"v1.0"}


def test_what_is_there_in_the_same_form_is_found_by_requests_without_a_body(origin, target):
    sync(f"{origin.host}/team/site", f"{target.host}/mirror")
    origin.log.clear()
    target.log.clear()
    report = sync(f"{origin.host}/team/site", f"{target.host}/mirror")
    assert len(report.skipped) == 4
    assert report.copied == ()
    assert all(
        line.startswith("HEAD") or "/tags/list" in line or line == "GET /v2/" for line in origin.log + target.log
    )


def test_a_tag_that_moved_is_copied_again_unless_only_missing_ones_are_wanted(origin, target):
    sync(f"{origin.host}/team/site", f"{target.host}/mirror")
    before = dict(tags(target, "mirror/site"))
    put(origin, "team/site:latest", "v3.0")
    put(origin, "team/site:v3.0", "v3.0")
    report = sync(f"{origin.host}/team/site", f"{target.host}/mirror", if_missing=True)
    assert report.copied == (f"docker://{target.host}/mirror/site:v3.0",)
    assert tags(target, "mirror/site")["latest"] == before["latest"]
    sync(f"{origin.host}/team/site", f"{target.host}/mirror")
    assert tags(target, "mirror/site") == tags(origin, "team/site")


def test_a_mirror_loses_what_its_source_lost(origin, target):
    put(target, "mirror/site:old", "old")
    put(target, "mirror/other:old", "old")
    report = sync(f"{origin.host}/team/site", f"{target.host}/mirror", delete=True)
    assert report.deleted == (f"docker://{target.host}/mirror/site:old",)
    assert tags(target, "mirror/site") == tags(origin, "team/site")
    assert set(tags(target, "mirror/other")) == {"old"}, "it is not of this source"


def test_of_one_image_nothing_beside_it_is_deleted(origin, target):
    put(target, "mirror/site:old", "old")
    report = sync(f"{origin.host}/team/site:v1.0", f"{target.host}/mirror", delete=True)
    assert report.deleted == ()
    assert set(tags(target, "mirror/site")) == {"old", "v1.0"}


def test_a_dry_run_changes_nothing_and_says_what_it_would_do(origin, target):
    put(target, "mirror/site:old", "old")
    events = []
    report = sync(
        f"{origin.host}/team/site", f"{target.host}/mirror", delete=True, dry_run=True, progress=events.append
    )
    assert len(report.copied) == 4
    assert report.deleted == (f"docker://{target.host}/mirror/site:old",)
    assert set(tags(target, "mirror/site")) == {"old"}
    said = [event.message for event in events if isinstance(event, Log)]
    assert f"would copy docker://{origin.host}/team/site:v1.0 to docker://{target.host}/mirror/site:v1.0" in said
    assert said[-1] == f"would delete docker://{target.host}/mirror/site:old"


def test_one_image_that_fails_stops_the_others_unless_told_to_keep_going(origin, target):
    origin.faults = [on("GET /v2/team/site/manifests/v1.0", status(403, message="no"), times=None)]
    put(target, "mirror/site:old", "old")
    with pytest.raises(TransportError, match="no"):
        sync(f"{origin.host}/team/site", f"{target.host}/mirror")
    events = []
    report = sync(
        f"{origin.host}/team/site", f"{target.host}/mirror", keep_going=True, delete=True, progress=events.append
    )
    assert [name for name, _ in report.failed] == [f"docker://{target.host}/mirror/site:v1.0"]
    assert set(tags(target, "mirror/site")) == {"v1.1", "v2.0", "latest", "old"}, "and nothing is deleted"
    assert any(event.level == "error" and "no" in event.message for event in events if isinstance(event, Log))


def test_names_are_suffixed(origin, target):
    sync(f"{origin.host}/team/site:v1.0", f"{target.host}/mirror", append_suffix="-x")
    assert set(tags(target, "mirror/site")) == {"v1.0-x"}


def test_a_scoped_name_with_a_port_in_it_is_no_name_and_nothing_is_done(origin, target):
    with pytest.raises(InvalidReference):
        sync(f"{origin.host}/team/site:v1.0", f"{target.host}/mirror", scoped=True)
    assert target.repositories == {}


def test_indexes_are_synced_whole_or_for_this_machine(origin, target):
    digest = put(origin, "team/multi:1", "", index=True)
    sync(f"{origin.host}/team/multi", f"{target.host}/all", all=True)
    assert tags(target, "all/multi") == {"1": digest}
    sync(f"{origin.host}/team/multi", f"{target.host}/one", platform=Platform.parse(ARM))
    assert target.repository("one/multi").manifests[tags(target, "one/multi")["1"]][0] == mediatype.OCI_MANIFEST


# --- folders ----------------------------------------------------------------------------------------------------------


def test_a_repository_goes_through_folders_and_comes_out_the_same(origin, target, tmp_path):
    sync(f"{origin.host}/team/site", str(tmp_path), "docker dir")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["site:latest", "site:v1.0", "site:v1.1", "site:v2.0"]
    report = sync(f"{origin.host}/team/site", str(tmp_path), "docker dir")
    assert len(report.skipped) == 4
    sync(str(tmp_path), f"{target.host}/back", "dir docker")
    assert tags(target, "back/site") == tags(origin, "team/site")


def test_scoped_folders_have_the_whole_name(origin, target, tmp_path):
    sync(f"{origin.host}/team/db:v1", str(tmp_path), "docker dir", scoped=True)
    assert (tmp_path / origin.host / "team/db:v1/manifest.json").exists()
    sync(str(tmp_path / origin.host), f"{target.host}/back", "dir docker", scoped=True)
    assert set(tags(target, "back/team/db")) == {"v1"}
    sync(str(tmp_path / origin.host / "team/db:v1"), f"{target.host}/alone", "dir docker")
    assert set(tags(target, "alone/db")) == {"v1"}


def test_a_mirror_in_folders_loses_what_its_source_lost(origin, tmp_path):
    sync(f"{origin.host}/team/site", str(tmp_path), "docker dir")
    (tmp_path / "site:notes").mkdir()
    (tmp_path / "site:notes/text").write_text("mine")
    del tags(origin, "team/site")["v1.0"]
    report = sync(f"{origin.host}/team/site", str(tmp_path), "docker dir", delete=True)
    assert report.deleted == (f"dir:{tmp_path}/site:v1.0",)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["site:latest", "site:notes", "site:v1.1", "site:v2.0"]


def test_folders_go_to_other_folders(origin, tmp_path):
    sync(f"{origin.host}/team/site:v1.0", str(tmp_path / "a"), "docker dir")
    sync(str(tmp_path / "a"), str(tmp_path / "b"), "dir dir", append_suffix="-new")
    assert (tmp_path / "b/site:v1.0-new/manifest.json").exists()


def test_a_folder_without_images_is_not_found(tmp_path):
    with pytest.raises(NotFound, match="no image in it"):
        folder(str(tmp_path))


# --- lists ------------------------------------------------------------------------------------------------------------


def yaml(tmp_path, text):
    path = tmp_path / "images.yml"
    path.write_text(text)
    return str(path)


def test_a_list_names_repositories_tags_patterns_and_versions(origin, target, tmp_path):
    v1_1 = tags(origin, "team/site")["v1.1"]
    path = yaml(
        tmp_path,
        f"""
        {origin.host}:
          tls-verify: false
          images:
            team/db: []
            team/site:
              - "v1.0"
              - "{v1_1}"
        """,
    )
    names = [image for source in listed(path, Access()) for image in source.images]
    digest = v1_1
    base = f"docker://{origin.host}/team"
    assert names == [f"{base}/db:v1", f"{base}/site:v1.0", f"{base}/site@{digest}"]
    sync(path, str(tmp_path / "out"), "yaml dir")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["db:v1", "site:v1.0", f"site@{digest}"]


@pytest.mark.parametrize(
    ("key", "value", "wanted"),
    [
        ("images-by-tag-regex", "^v1", {"v1.0", "v1.1"}),
        ("images-by-tag-regex", r"0$", {"v1.0", "v2.0"}),
        ("images-by-semver", "'>= 1.1'", {"v1.1", "v2.0"}),
        ("images-by-semver", "^1", {"v1.0", "v1.1"}),
    ],
)
def test_tags_are_chosen_by_pattern_or_version(origin, target, tmp_path, key, value, wanted):
    put(target, "m/site:gone", "gone")
    path = yaml(tmp_path, f"{origin.host}:\n  {key}:\n    team/site: {value}\n")
    report = sync(path, f"{target.host}/m", "yaml docker", delete=True)
    assert set(tags(target, "m/site")) == wanted
    assert len(report.deleted) == 1


def test_a_list_may_hold_logins(target, tmp_path):
    with serve_registry(auth="bearer", users={"ann": "secret"}) as guarded:
        login = Access(tls_verify=False, credential=None, retries=0)
        path = yaml(
            tmp_path,
            f"{guarded.host}:\n  credentials: {{username: ann, password: secret}}\n  images: {{x: ['1']}}\n",
        )
        (source,) = listed(path, login)
        assert source.access.credential.username == "ann"
        assert "secret" not in repr(source)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[", "not YAML"),
        ("- a", "expected a mapping"),
        ("host: [a]", "expected a mapping"),
        ("host: {images: {a: 1.0}}", "expected a list of tags"),
        ("host: {images: {a: [1.0]}}", "the tag 1.0 is not text"),
        ("host: {images-by-tag-regex: {a: '('}}", "no regular expression"),
    ],
)
def test_a_list_that_is_none_is_refused(tmp_path, text, message):
    with pytest.raises(FormatError, match=message):
        list(listed(yaml(tmp_path, text), ACCESS))


def test_wrong_versions_in_a_list_are_refused(tmp_path):
    with pytest.raises(UsageError, match="constraint"):
        list(listed(yaml(tmp_path, "host: {images-by-semver: {a: newest}}"), ACCESS))


def test_a_list_that_is_not_there_is_not_found(tmp_path):
    with pytest.raises(NotFound, match="No such file"):
        list(listed(str(tmp_path / "none.yml"), ACCESS))


# --- the plan ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("image", "kind", "options", "expected"),
    [
        ("docker://quay.io/team/site:1", "docker", {}, "docker://dest.io/m/site:1"),
        ("docker://quay.io/team/site:1", "docker", {"scoped": True}, "docker://dest.io/m/quay.io/team/site:1"),
        ("docker://quay.io/team/site:1", "docker", {"suffix": "-x"}, "docker://dest.io/m/site:1-x"),
        ("docker://quay.io/team/site:1", "dir", {"scoped": True}, "dir:dest.io/m/quay.io/team/site:1"),
        ("dir:/top/a/site:1", "docker", {}, "docker://dest.io/m/site:1"),
        ("dir:/top/a/site:1", "docker", {"scoped": True}, "docker://dest.io/m/a/site:1"),
        ("dir:/top/site", "docker", {}, "docker://dest.io/m/site:latest"),
        ("dir:/top", "docker", {}, "docker://dest.io/m/top:latest"),
    ],
)
def test_what_images_are_called_where_they_go(image, kind, options, expected):
    options = {"scoped": False, "suffix": "", **options}
    (one,) = copies(Source("/top", (image,), whole=True), "dest.io/m", kind, **options)
    assert (one.source, one.destination) == (image, expected)


def test_a_digest_takes_no_suffix():
    image = f"docker://quay.io/a@sha256:{'0' * 64}"
    with pytest.raises(UsageError, match="behind a digest"):
        list(copies(Source("a", (image,), whole=False), "dest.io", "docker", scoped=False, suffix="-x"))


@pytest.mark.parametrize(("first", "second"), [("oci", "dir"), ("docker", "yaml"), ("docker", "oci")])
def test_other_kinds_of_places_are_refused(first, second):
    with pytest.raises(UsageError, match="can't sync"):
        sync("a", "b", f"{first} {second}")

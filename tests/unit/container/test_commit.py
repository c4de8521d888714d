"""From a container to an image: layers, history, times, formats, and what stays the same."""

from __future__ import annotations

import tarfile
import tempfile
from typing import TYPE_CHECKING, Any

import pytest

from buildlib.errors import NotFound, StoreBusy, UsageError
from buildlib.oci import mediatype

if TYPE_CHECKING:
    from pathlib import Path

    from buildlib.container import WorkingContainer
    from buildlib.image import Image
    from buildlib.store import Store

pytestmark = pytest.mark.root


def entries(image: Image, skip: int = 1) -> list[tuple[str, bool]]:
    """The history behind the base's: (created_by, empty_layer)."""
    return [(entry.created_by, entry.empty_layer) for entry in image.history[skip:]]


def consistent(image: Image) -> bool:
    """Whether history, DiffIDs and manifest speak of the same number of layers."""
    filled = sum(not entry.empty_layer for entry in image.history)
    return filled == len(image.diff_ids) == len(image.manifest.layers) == len(image.layers)


class TestLayersAndHistory:
    def test_without_the_cache_everything_becomes_one_layer(self, container: WorkingContainer) -> None:
        base = container.base
        assert base is not None
        container.run("echo 1 > /a")
        container.run("echo 2 > /b")
        image = container.commit("localhost/x:1")
        assert image.names == ("localhost/x:1",)
        assert image.layers[:-1] == base.layers
        assert entries(image, len(base.history)) == [("/bin/sh", False)]
        assert image.history[len(base.history)].comment == "FROM localhost/busybox:latest"
        assert consistent(image)

    def test_with_the_cache_each_call_is_a_layer(self, cached: WorkingContainer) -> None:
        base = cached.base
        assert base is not None
        cached.run("echo 1 > /a")
        cached.config(env={"A": "1"}, created_by="ENV A=1")
        cached.copy(
            dest="/b", contents={"b": "2"}, created_by="COPY <<b /b # buildkit", comment="buildkit.dockerfile.v0"
        )
        image = cached.commit()
        assert entries(image, len(base.history)) == [
            ("/bin/sh -c echo 1 > /a", False), ("ENV A=1", True), ("COPY <<b /b # buildkit", False),
        ]  # fmt: skip
        assert image.names == ()
        assert consistent(image)

    def test_steps_with_a_description_are_empty_but_for_the_last_that_changed_files(
        self, container: WorkingContainer
    ) -> None:
        base = container.base
        assert base is not None
        container.run("echo 1 > /a", created_by="RUN one")
        container.run("echo 2 > /b", created_by="RUN two")
        container.config(cmd=["x"], created_by="CMD x")
        image = container.commit()
        assert entries(image, len(base.history)) == [("RUN one", True), ("RUN two", False), ("CMD x", True)]
        assert consistent(image)

    def test_commit_and_config_may_say_what_the_history_says(self, container: WorkingContainer) -> None:
        container.run("touch /a")
        container.config(history_created_by="by config", history_comment="and why")
        first = container.commit()
        assert (first.history[-1].created_by, first.history[-1].comment) == ("by config", "and why")
        container.run("touch /b")
        second = container.commit(created_by="by commit", comment="again")
        assert (second.history[-1].created_by, second.history[-1].comment) == ("by commit", "again")
        assert second.layers[:-1] == first.layers

    def test_the_history_of_the_base_is_not_rewritten(self, container: WorkingContainer) -> None:
        base = container.base
        assert base is not None
        container.run("touch /a")
        image = container.commit(timestamp=0)
        assert image.history[: len(base.history)] == base.history

    def test_config_alone_makes_no_layer(self, container: WorkingContainer) -> None:
        base = container.base
        assert base is not None
        container.config(labels={"a": "b"})
        image = container.commit()
        assert image.layers == base.layers
        assert image.id != base.id
        assert consistent(image)

    def test_nothing_done_is_the_base_with_one_more_name(self, container: WorkingContainer) -> None:
        base = container.base
        image = container.commit("localhost/again")
        assert image == base
        assert set(image.names) == {"localhost/again:latest", "localhost/busybox:latest"}

    def test_a_run_that_changes_nothing_makes_no_layer(self, container: WorkingContainer) -> None:
        container.run("true")
        assert container.commit() == container.base

    def test_omit_history_leaves_none(self, container: WorkingContainer) -> None:
        container.run("touch /a")
        assert container.commit(omit_history=True).history == ()

    def test_from_scratch(self, store: Store) -> None:
        with store.from_image("scratch") as container:
            container.copy(dest="/file", contents={"file": "text"})
            container.config(cmd=["/file"])
            image = container.commit("localhost/tiny")
        assert image.architecture in ("amd64", "arm64")
        assert len(image.layers) == 1
        assert image.history[0].comment == ""
        assert consistent(image)

    def test_the_container_goes_on_above_its_new_layer(self, container: WorkingContainer) -> None:
        container.run("echo 1 > /a")
        first = container.commit()
        container.run("rm /a; echo 2 > /b")
        second = container.commit()
        assert second.layers[: len(first.layers)] == first.layers
        assert [change.path for change in second.diff(first)] == ["/a", "/b"]

    def test_rm_removes_the_container(self, store: Store, busybox_image: Image) -> None:
        container = store.from_image(busybox_image)
        container.run("touch /a")
        container.commit(rm=True)
        assert not container.exists
        with pytest.raises(NotFound):
            container.run("true")


class TestTimes:
    def build(self, store: Store, **options: Any) -> Image:
        with store.from_image("localhost/busybox") as container:
            container.run("mkdir /d && echo 1 > /d/f && ln -s f /d/l")
            return container.commit(**options)

    def test_the_same_timestamp_gives_the_same_image(self, store: Store, busybox_image: Image) -> None:
        images = [self.build(store, timestamp=0) for _ in range(2)]
        assert images[0] == images[1]
        assert images[0].config.created == "1970-01-01T00:00:00Z"
        assert self.build(store, timestamp=1).id != images[0].id

    def test_a_timestamp_dates_history_and_files_of_new_layers_also_when_they_are_exported(
        self, store: Store, busybox_image: Image, tmp_path: Path
    ) -> None:
        image = self.build(store, timestamp=1_000_000_000)
        assert image.history[-1].created == "2001-09-09T01:46:40Z"
        with (tmp_path / "layer.tar").open("wb") as out:
            store.layers.export(image.layers[-1], out.fileno())
        with tarfile.open(tmp_path / "layer.tar") as tar:
            assert {member.mtime for member in tar} == {1_000_000_000}

    def test_source_date_epoch_dates_only_the_documents(self, store: Store, busybox_image: Image) -> None:
        image = self.build(store, source_date_epoch=5)
        assert image.config.created == "1970-01-01T00:00:05Z"
        assert image.history[-1].created == "1970-01-01T00:00:05Z"
        assert self.build(store, source_date_epoch=5).diff_ids != self.build(store, timestamp=5).diff_ids

    def test_with_rewrite_timestamp_younger_files_are_dated_back(self, store: Store, busybox_image: Image) -> None:
        options = {"source_date_epoch": 5, "rewrite_timestamp": True}
        assert self.build(store, **options) == self.build(store, **options)
        with pytest.raises(UsageError):
            self.build(store, timestamp=1, **options)

    def test_a_cached_layer_keeps_its_own_times(self, store: Store, busybox_image: Image) -> None:
        def build(**options: Any) -> Image:
            with store.from_image(busybox_image, cache=True) as container:
                container.run("echo 1 > /a")
                return container.commit(**options)

        plain, dated = build(), build(timestamp=7)
        assert plain.diff_ids[-1] != dated.diff_ids[-1]
        assert (build(), build(timestamp=7)) == (plain, dated)
        assert build(timestamp=7).layers == dated.layers

    def test_a_cached_rebuild_gives_the_same_image(self, store: Store, busybox_image: Image) -> None:
        def build() -> Image:
            with store.from_image(busybox_image, cache=True) as container:
                container.run("date +%N > /a")
                container.config(cmd=["x"], created_by="CMD")
                return container.commit()

        assert build() == build()


class TestSquash:
    def fill(self, container: WorkingContainer) -> None:
        container.run("echo 1 > /a; mkdir -p /d/deep; echo 1 > /d/deep/f; ln /a /hard")
        container.fork("side").remove()  # makes a layer of it
        container.run("rm -r /d /bin/dd; mkdir /d; echo 2 > /d/new; chmod 700 /home; rm /bin/zcat; mkdir /bin/zcat")
        container.fork("side").remove()
        container.run("rmdir /bin/zcat; echo again > /a; echo back > /bin/dd")

    def test_everything_becomes_one_layer_without_whiteouts(self, container: WorkingContainer) -> None:
        self.fill(container)
        image, flat = container.commit(), container.commit(squash=True)
        assert len(flat.layers) == 1
        assert [entry.empty_layer for entry in flat.history] == [True, True, False]
        assert tree(flat) == tree(image)
        assert consistent(flat)
        assert not any(".wh." in name for name in names(flat, -1))

    def test_new_layers_become_one_and_the_base_stays(self, container: WorkingContainer) -> None:
        base = container.base
        assert base is not None
        self.fill(container)
        image, flat = container.commit(), container.commit(squash="new", timestamp=5)
        assert flat.layers[:-1] == base.layers
        assert tree(flat) == tree(image)
        assert consistent(flat)
        gone = sorted(name for name in names(flat, -1) if ".wh." in name)
        assert gone == ["bin/.wh.zcat"]  # and none for what the base never had

    def test_the_container_itself_is_not_squashed(self, container: WorkingContainer) -> None:
        self.fill(container)
        layers = container.commit().layers
        container.commit(squash=True)
        assert container.layers == layers

    def test_another_word_is_refused(self, container: WorkingContainer) -> None:
        with pytest.raises(UsageError):
            container.commit(squash="some")


class TestDocuments:
    def test_oci_has_annotations_about_the_base(self, container: WorkingContainer) -> None:
        base = container.base
        assert base is not None
        container.config(annotations={"mine": "1"})
        image = container.commit(annotations={"given": "2"})
        notes = dict(image.manifest.annotations)
        prefix = "org.opencontainers.image."
        assert notes == {
            "given": "2", "mine": "1", f"{prefix}base.digest": base.digest,
            f"{prefix}base.name": "localhost/busybox:latest", f"{prefix}created": image.config.created,
        }  # fmt: skip
        assert image.manifest.media_type == mediatype.OCI_MANIFEST

    def test_annotations_of_the_base_are_inherited_but_not_those_about_its_own_base(
        self, container: WorkingContainer
    ) -> None:
        container.config(annotations={"mine": "1"})
        first = container.commit("localhost/first")
        with container.store.from_image(first) as second:
            second.config(labels={"x": "y"})
            notes = second.commit().manifest.annotations
        assert notes["mine"] == "1"
        assert notes["org.opencontainers.image.base.name"] == "localhost/first:latest"

    def test_docker_format_has_its_own_media_types_and_no_annotations(self, container: WorkingContainer) -> None:
        container.config(annotations={"lost": "1"}, healthcheck="true", comment="said")
        container.run("touch /a")
        image = container.commit(format="docker")
        assert image.manifest.media_type == mediatype.DOCKER_MANIFEST
        assert image.manifest.config.media_type == mediatype.DOCKER_CONFIG
        assert {layer.media_type for layer in image.manifest.layers} == {mediatype.DOCKER_LAYER}
        assert image.manifest.annotations == {}
        assert b'"comment":"said"' in image.config_blob
        with pytest.raises(UsageError, match="format"):
            container.commit(format="v1")

    def test_docker_extensions_stay_in_oci_images_too(self, container: WorkingContainer) -> None:
        container.config(healthcheck="true", shell=["/bin/sh", "-e", "-c"], on_build="RUN x")
        config = container.commit().config.config
        assert config.healthcheck is not None
        assert config.shell == ("/bin/sh", "-e", "-c")
        assert config.on_build == ("RUN x",)


class TestMounted:
    def test_what_is_written_through_a_mount_becomes_part_of_the_image(self, container: WorkingContainer) -> None:
        from pathlib import Path

        tree = Path(container.mount())
        (tree / "by-hand").write_text("x")
        container.run("cat /by-hand > /copy")
        assert (tree / "copy").read_text() == "x"
        image = container.commit()
        assert sorted(names(image, -1)) == ["by-hand", "copy"]
        assert container.mount_point == str(tree)
        (tree / "later").write_text("y")
        assert sorted(names(container.commit(), -1)) == ["later"]
        assert container.umount() is True
        assert container.umount() is False

    def test_a_mount_in_use_can_not_be_committed(self, container: WorkingContainer) -> None:
        tree = container.mount()
        container.run("touch /a")
        with open(f"{tree}/a"), pytest.raises(StoreBusy):  # noqa: PTH123
            container.commit()
        assert container.commit().layers[-1] == container.layers[-1]


def tree(image: Image) -> list[str]:
    """What a container on the image sees: type, mode, owner, size and link of every file."""
    command = "find / -xdev ! -path '/proc*' ! -path '/sys*' ! -path '/dev*' -exec stat -c '%n %A %u:%g %s %N' {} +"
    with image.store.from_image(image) as container:
        lines = container.run(command, capture=True, check=False).stdout.splitlines()
    # Sizes of directories are the file system's own business.
    return sorted(" ".join(w for i, w in enumerate(line.split()) if not (i == 3 and " d" in line)) for line in lines)


def names(image: Image, position: int) -> list[str]:
    """The entries of a layer's tar that are not directories."""
    with tempfile.TemporaryFile() as file:
        image.store.layers.export(image.layers[position], file.fileno())
        file.seek(0)
        with tarfile.open(fileobj=file) as tar:
            return [member.name for member in tar if not member.isdir()]

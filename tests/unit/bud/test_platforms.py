"""Builds for several platforms: one index of images, stages that are built once, bases and programs of others."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from bud.builds import Builds
from bud.cli import main
from bud.emit import script
from bud.errors import DockerfileError, StepFailed
from bud.explain import explain
from bud.progress import Progress
from buildlib import Access, ManifestList, Platform, can_run
from buildlib.linux.mount import mount, umount
from buildlib.store import Store
from buildlib.testing import serve_registry

from .conftest import Builder

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.root

HOST = str(Platform.host())
OTHERS = [text for text in ("linux/s390x", "linux/riscv64", "linux/ppc64le") if not can_run(Platform.parse(text))]
CROSS = (
    "FROM --platform=$BUILDPLATFORM BASE AS tools\nRUN echo once >> /times\n"
    "FROM --platform=$BUILDPLATFORM BASE AS build\nARG TARGETARCH\nCOPY --from=tools /times /\n"
    "RUN echo for $TARGETARCH > /program\n"
    'FROM scratch\nCOPY --from=build /program /times /\nCMD ["/program"]\n'
)


def several(*platforms: str, **more: Any) -> dict[str, Any]:
    found = tuple(Platform.parse(text) for text in platforms)
    return {
        "platform": found[0],
        "platforms": found,
        "plan": {"platform": platforms[0], "build_platform": HOST},
        **more,
    }


def made(bud: Builder, text: str, *platforms: str, **more: Any) -> ManifestList:
    index = bud.build(text, **several(*platforms, **{"names": ("several",), **more}))
    assert isinstance(index, ManifestList)
    return index


def test_the_name_means_an_index_with_an_image_for_each_platform(bud: Builder) -> None:
    index = made(bud, CROSS, HOST, *OTHERS, names=("several", "several:2"), index_annotations={"a": "b"})
    assert [str(image.platform) for image in index.images] == [HOST, *OTHERS]
    assert index.names == ("localhost/several:2", "localhost/several:latest")
    assert index.index.annotations == {"a": "b"}
    for image in index.images:
        assert bud.read(image, "/program") == f"for {image.platform.architecture}\n"
        assert image.names == ()
    assert bud.store.image("several", Platform.parse(OTHERS[0])) == index.images[1]
    assert bud.store.containers() == []


def test_a_stage_that_no_platform_changes_is_built_once(bud: Builder) -> None:
    made(bud, CROSS, HOST, *OTHERS)
    said = bud.out.getvalue()
    assert said.count("RUN echo once") == 1
    assert said.count("RUN echo for") == 1 + len(OTHERS)
    assert f"[{OTHERS[0]} build 3/3] RUN echo for" in said
    made(bud, CROSS, HOST, *OTHERS)
    assert "RUN echo for" in bud.out.getvalue()
    assert " DONE" not in "".join(line for line in bud.out.getvalue().splitlines(True) if "RUN" in line)
    assert bud.cached() == 1 + 3 * (1 + len(OTHERS))


def test_platforms_are_built_at_the_same_time(bud: Builder) -> None:
    """Each waits for a file that the other makes, in a folder that both have."""
    text = (
        "FROM --platform=$BUILDPLATFORM BASE\nARG TARGETARCH\n"
        "RUN --mount=type=cache,target=/both touch /both/$TARGETARCH; n=0; "
        "until [ $(ls /both | wc -l) -eq 2 ]; do n=$((n+1)); [ $n -lt 600 ] || exit 1; sleep 0.1; done\n"
    )
    index = made(bud, text, HOST, OTHERS[0], jobs=2)
    assert len(index.images) == 2


def test_one_that_fails_ends_the_others_and_keeps_its_container(bud: Builder) -> None:
    text = (
        "FROM --platform=$BUILDPLATFORM BASE AS one\nRUN touch /half; exit 7\n"
        "FROM --platform=$BUILDPLATFORM BASE\nARG TARGETARCH\nRUN echo $TARGETARCH; sleep 600\n"
        "COPY --from=one / /\n"
    )
    with pytest.raises(StepFailed, match="exit code 7") as caught:
        made(bud, text, HOST, OTHERS[0], jobs=4)
    (kept,) = bud.store.containers()
    assert caught.value.container is not None
    assert kept.id == caught.value.container.id
    assert kept.read_file("/half") == b""
    kept.remove()


def test_a_base_that_is_an_index_gives_each_platform_its_image(bud: Builder) -> None:
    bases = []
    for text in (HOST, OTHERS[0]):
        platform = Platform.parse(text)
        with bud.store.from_image("scratch") as container:
            container.copy(dest="/", contents={"which": text})
            container.config(os=platform.os, architecture=platform.architecture, variant=platform.variant or "")
            bases.append(container.commit())
    bud.store.create_manifest_list("localhost/base", bases)
    index = made(bud, "FROM localhost/base\nCOPY --chmod=600 <<x /x\nx\n", HOST, OTHERS[0])
    assert [bud.read(image, "/which") for image in index.images] == [HOST, OTHERS[0]]


def test_a_base_in_a_registry_is_fetched_for_all_platforms_once(
    bud: Builder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bases = []
    for text in (HOST, *OTHERS):
        with bud.store.from_image("scratch") as container:
            container.copy(dest="/", contents={"which": text})
            container.config(architecture=Platform.parse(text).architecture)
            bases.append(container.commit())
    with serve_registry() as registry, Store.open(str(tmp_path / "other")) as store:
        access = Access.from_environment({}, 0, tls_verify=False)
        base, app = f"{registry.host}/base:1", f"{registry.host}/app:1"
        bud.store.create_manifest_list(base, bases).push(access=access)
        other = Builder(store, bud.context)
        text = f"FROM {base}\nCOPY --chmod=600 <<x /x\nx\nFROM {base}\nCOPY --from=0 /x /\n"
        words = [f"--root={store.root}", "--progress=plain", f"--platform={HOST},{OTHERS[0]}", "-t", app]
        words += ["--tls-verify=false", "--push"]
        other.file("Dockerfile", text)
        assert main([*words, str(bud.context)]) == 0
        pushed = store.manifest_list(app)
        assert list(registry.repository("app").tags) == ["1"]
        assert [str(image.platform) for image in store.manifest_list(base).images] == [HOST, OTHERS[0]]
        assert [other.read(image, "/which") for image in pushed.images] == [HOST, OTHERS[0]]
        assert main([*words, "--all-platforms", str(bud.context)]) == 125  # it goes with no --platform
        words[2] = "--all-platforms"
        assert main([*words, str(bud.context)]) == 0
        assert [str(image.platform) for image in store.manifest_list(app).images] == [HOST, *OTHERS]
        words[2] = f"--platform={HOST},{OTHERS[0]}"
        with Store.open(str(tmp_path / "third")) as third:
            assert str(third.pull(app, platform=Platform.parse(OTHERS[0]), access=access).platform) == OTHERS[0]
    capsys.readouterr()
    assert main([*words[:-1], str(bud.context)]) == 0  # the registry is gone, and nobody asks for it
    assert capsys.readouterr().err.count(" CACHED") == 4


def test_a_platform_whose_programs_can_not_be_executed_stops_all(bud: Builder) -> None:
    with bud.store.from_image(bud.base) as container:
        container.config(architecture=OTHERS[0].partition("/")[2])
        foreign = container.commit()
    bud.store.create_manifest_list("localhost/base", [bud.store.image(bud.base), foreign])
    with pytest.raises(DockerfileError, match=f"can't execute programs for {OTHERS[0]}") as caught:
        made(bud, "FROM localhost/base\nRUN touch /begun\n", HOST, OTHERS[0])
    assert caught.value.line == 2
    assert "RUN" not in bud.out.getvalue()


def test_a_base_that_is_here_for_another_platform_is_no_unknown_name(bud: Builder) -> None:
    with pytest.raises(DockerfileError, match=f"'busybox' is here for {HOST}, not for {OTHERS[0]}") as caught:
        made(bud, "FROM busybox\n", HOST, OTHERS[0])
    assert "pulling failed" in str(caught.value.hint)


def test_its_script_makes_the_same_index(bud: Builder) -> None:
    request = bud.request(CROSS, **several(HOST, OTHERS[0]), names=("several", "twice"), timestamp=0)
    with Builds(bud.store, request, Progress(None)) as builds:
        text = script(builds)
        index = builds.run()
    namespace: dict[str, Any] = {"__name__": "script"}
    exec(compile(text, "script.py", "exec"), namespace)
    twin = namespace["build"](bud.store)
    assert (twin.digest, twin.names) == (index.digest, index.names), text


def test_it_is_explained_for_each_platform(bud: Builder) -> None:
    made(bud, CROSS, HOST, OTHERS[0])
    request = bud.request(CROSS.replace("for $T", "now for $T"), **several(HOST, OTHERS[0]))
    told = [one for one in explain(bud.store, request) if "RUN" in one.title]
    assert [one.hit for one in told] == [True, False, True, False]
    assert told[3].title.startswith(f"[{OTHERS[0]} build")


def command(bud: Builder, *words: str) -> int:
    bud.store.close()
    return main([f"--root={bud.store.root}", "-q", *words, str(bud.context)])


@pytest.fixture
def cross(bud: Builder) -> Builder:
    bud.file("Dockerfile", CROSS.replace("BASE", bud.base))
    return bud


def test_the_command_makes_folders_archives_and_metadata(
    cross: Builder, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    words = [f"-o=type=local,dest={out}", f"-o=type=oci,dest={tmp_path}/all.tar", f"--metadata-file={tmp_path}/meta"]
    assert command(cross, f"--platform=local,{OTHERS[0]}", f"--platform={OTHERS[1]}", "-t", "x", *words) == 0
    index = cross.store.manifest_list("x")
    assert capfd.readouterr().out == f"{index.id}\n"
    for image in index.images:
        folder = out / str(image.platform).replace("/", "_")
        assert (folder / "program").read_text() == f"for {image.platform.architecture}\n"
    ((loaded, _),) = cross.store.load(f"{tmp_path}/all.tar")
    assert isinstance(loaded, ManifestList)  # its layers are compressed, so that it has another digest
    assert [image.id for image in loaded.images] == [image.id for image in index.images]
    described = json.loads((tmp_path / "meta").read_text())
    assert described["containerimage.digest"] == index.digest
    assert described["containerimage.descriptor"]["mediaType"] == "application/vnd.oci.image.index.v1+json"
    assert described["image.name"] == "x"


def test_without_a_name_there_are_still_the_outputs(cross: Builder, tmp_path: Path) -> None:
    assert command(cross, f"--platform={HOST},{OTHERS[0]}", f"-o={tmp_path}/out") == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(
        text.replace("/", "_") for text in (HOST, OTHERS[0])
    )
    assert cross.store.manifest_lists() == []


def test_an_index_of_one(cross: Builder) -> None:
    assert command(cross, "--build-arg=BUILDKIT_MULTI_PLATFORM=1", "-t", "single") == 0
    assert [str(image.platform) for image in cross.store.manifest_list("single").images] == [HOST]


def test_an_additional_context_serves_all_platforms(cross: Builder, tmp_path: Path) -> None:
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / "file").write_text("more")
    (tmp_path / "more" / ".dockerignore").write_text("no")
    cross.file(
        "Dockerfile",
        f"FROM --platform=$BUILDPLATFORM {cross.base} AS a\nARG TARGETARCH\n"
        "RUN --mount=from=more,target=/m cp /m/file /$TARGETARCH\nFROM scratch\nCOPY --from=a /* /\n",
    )
    assert command(cross, f"--platform={HOST},{OTHERS[0]}", f"--build-context=more={tmp_path}/more", "-t", "c") == 0
    for image in cross.store.manifest_list("c").images:
        assert cross.read(image, f"/{image.platform.architecture}") == "more"
    assert cross.store.containers() == []


def test_what_can_not_hold_several_platforms_is_refused_at_once(
    cross: Builder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for output in ("type=tar,dest=x", "type=docker,dest=x"):
        assert command(cross, f"--platform={HOST},{OTHERS[0]}", f"-o={output}") == 125
        assert "can't hold several platforms" in capsys.readouterr().err
    assert command(cross, f"--platform={HOST}", "--arch=arm64") == 125
    assert "--platform goes with none of" in capsys.readouterr().err


def test_images_are_added_to_the_index_of_manifest(cross: Builder) -> None:
    assert command(cross, "--manifest=all", f"--platform={OTHERS[0]}", "-t", "one") == 0
    assert command(cross, "--manifest=all", f"--arch={OTHERS[1].partition('/')[2]}") == 0
    index = cross.store.manifest_list("all")
    before = [str(image.platform) for image in index.images]
    assert before == OTHERS[:2]
    assert cross.store.image("one") == index.images[0]
    cross.file("Dockerfile", CROSS.replace("BASE", cross.base).replace("echo for", "echo now for"))
    assert command(cross, "--manifest=all", f"--platform={OTHERS[0]},{HOST}") == 0
    images = cross.store.manifest_list("all").images
    assert sorted(str(image.platform) for image in images) == sorted([HOST, *OTHERS[:2]])
    said = {str(image.platform): cross.read(image, "/program").partition(" ")[0] for image in images}
    assert said == {HOST: "now", OTHERS[0]: "now", OTHERS[1]: "for"}


# --- programs of other machines --------------------------------------------------------------------------------------

BINFMT = Path("/proc/sys/fs/binfmt_misc")
ELF = b"\x7fELF\2\1\1" + bytes(9) + b"\2\0\2\1"
"""How a program for loong64 begins."""


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[None]:
    """Busybox poses as QEMU: of a "program" it only looks at the name."""
    if "binfmt_misc" not in Path("/proc/filesystems").read_text():
        pytest.skip("this kernel has no binfmt_misc")
    entry = BINFMT / "qemu-loongarch64"
    if entry.exists():
        pytest.skip("programs for loong64 can be executed already")
    mounted = not (BINFMT / "register").exists()
    if mounted:
        mount("binfmt_misc", str(BINFMT), "binfmt_misc")
    busybox = shutil.copy(shutil.which("busybox") or pytest.skip("busybox is not installed"), tmp_path / "busybox")
    magic = "".join(f"\\x{byte:02x}" for byte in ELF)
    (BINFMT / "register").write_text(f":{entry.name}:M::{magic}::{busybox}:F")
    yield
    entry.write_text("-1")
    if mounted:
        umount(str(BINFMT))


def test_programs_of_another_machine_run_through_the_emulator(bud: Builder, emulator: None) -> None:
    with bud.store.from_image("scratch") as container:
        container.copy(dest="/bin/", contents={"sh": ELF + bytes(44)}, chmod="755")
        container.config(architecture="loong64")
        foreign = container.commit()
    bud.store.create_manifest_list("localhost/base", [bud.store.image(bud.base), foreign])
    index = made(bud, "FROM localhost/base\nRUN echo emulated > /out\n", HOST, "linux/loong64")
    assert [bud.read(image, "/out") for image in index.images] == ["emulated\n"] * 2

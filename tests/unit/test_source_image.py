"""Source images: layouts of what an image was made of, shared with buildah."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

import pytest

from buildlib.errors import FormatError, NameInUse, NotFound
from buildlib.source_image import CONFIG, add_source, create_source_image, source_manifest
from buildlib.testing import serve_registry


@pytest.fixture
def image(tmp_path: Path) -> str:
    path = str(tmp_path / "source")
    create_source_image(path, author="me", created=0.0)
    return path


def names(path: str, number: int) -> list[str]:
    digest = source_manifest(path).layers[number].digest
    with tarfile.open(f"{path}/blobs/sha256/{digest.hex}") as tar:
        return tar.getnames()


def test_a_new_one_has_a_config_of_its_own_kind_and_no_layers(image: str) -> None:
    manifest = source_manifest(image)
    assert (manifest.config.media_type, manifest.layers) == (CONFIG, ())
    config = Path(image, "blobs", "sha256", manifest.config.digest.hex).read_text()
    assert json.loads(config) == {"created": "1970-01-01T00:00:00Z", "author": "me"}
    with pytest.raises(NameInUse):
        create_source_image(image)


def test_sources_become_layers_and_archives_stay_as_they_are(image: str, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "b").write_text("b")
    (tmp_path / "folder" / "a").write_text("a")
    with tarfile.open(tmp_path / "x.tar.gz", "w:gz") as tar:
        tar.add(tmp_path / "folder", "inside")
    add_source(image, str(tmp_path / "folder"), annotations={"k": "v"})
    add_source(image, str(tmp_path / "folder" / "a"))
    add_source(image, str(tmp_path / "x.tar.gz"))
    assert [names(image, number) for number in range(2)] == [["a", "b"], ["a"]]
    layers = source_manifest(image).layers
    assert layers[0].annotations == {"k": "v"}
    assert layers[2].size == (tmp_path / "x.tar.gz").stat().st_size
    assert len(list((tmp_path / "source" / "blobs" / "sha256").iterdir())) == 5
    with pytest.raises(NotFound):
        add_source(image, str(tmp_path / "none"))
    assert len(list((tmp_path / "source" / "blobs" / "sha256").iterdir())) == 5


def test_the_same_sources_make_the_same_image(tmp_path: Path) -> None:
    (tmp_path / "f").write_text("x")
    for name in ("one", "two"):
        create_source_image(str(tmp_path / name))
    digests = {add_source(str(tmp_path / name), str(tmp_path / "f")) for name in ("one", "two")}
    assert len(digests) == 1


def test_what_is_no_source_image_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        source_manifest(str(tmp_path))
    (tmp_path / "index.json").write_text("{}")
    with pytest.raises(FormatError):
        source_manifest(str(tmp_path))


def test_one_travels_through_a_registry(image: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from buildlib.cli import main

    (tmp_path / "f").write_text("x")
    assert main(["source", "add", image, str(tmp_path / "f")]) == 0
    with serve_registry() as registry:
        name = f"{registry.host}/team/site:source"
        assert main(["source", "push", "-q", "--tls-verify=false", image, name]) == 0
        assert main(["source", "pull", "-q", "--tls-verify=false", name, f"{tmp_path}/back"]) == 0
        assert main(["source", "pull", "-q", "--tls-verify=false", name, f"{tmp_path}/back"]) == 125
    assert capsys.readouterr().out.strip() == str(source_manifest(image).digest)
    assert source_manifest(f"{tmp_path}/back").raw == source_manifest(image).raw
    assert names(f"{tmp_path}/back", 0) == ["f"]
    assert main(["source", "create", image]) == 125
    assert main(["source"]) == 0
    assert main(["source", "odd"]) == 125

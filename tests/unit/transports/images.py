"""Small images for the tests of transports, and a source and a destination in memory."""

import gzip
import io
import json
import tarfile
import threading

from buildlib.content import VerifiedReader
from buildlib.errors import NotFound
from buildlib.oci import ContainerConfig, Descriptor, Digest, ImageConfig, Index, Manifest, Platform, mediatype
from buildlib.transports import Form


def layer_tar(name, data=b"content"):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as file:
        info = tarfile.TarInfo(name)
        info.size = len(data)
        file.addfile(info, io.BytesIO(data))
    return out.getvalue()


class Memory:
    """Content by digest; makes images; is a source of the one in ``root``."""

    name = "memory"

    def __init__(self):
        self.content = {}
        self.root = None
        self.opened = []
        self.closed = False

    def keep(self, data, media_type, **more):
        self.content[Digest.of(data)] = data
        return Descriptor(media_type, Digest.of(data), len(data), **more)

    def image(
        self, *names, docker=False, compression="gzip", platform="linux/amd64", annotations=None, pretty=False, size=1
    ):
        """A manifest of one layer a name; remembers it as the root."""
        tars = [layer_tar(name, (name.encode() + b"-") * size * 1000) for name in names]
        p = Platform.parse(platform)
        config = ImageConfig(
            p.architecture,
            p.os,
            ContainerConfig(env=("A=<b>",), cmd=("sh",)),
            tuple(Digest.of(tar) for tar in tars),
            variant=p.variant,
        )
        pack = {"none": bytes, "gzip": lambda d: gzip.compress(d, mtime=0)}.get(compression)
        if compression == "zstd":
            import zstandard

            pack = zstandard.compress
        layers = [self.keep(pack(tar), mediatype.layer(compression, docker=docker)) for tar in tars]
        raw = config.encode() if not pretty else json.dumps(json.loads(config.encode()), indent=3).encode()
        described = self.keep(raw, mediatype.DOCKER_CONFIG if docker else mediatype.OCI_CONFIG)
        manifest = Manifest.build(
            described,
            layers,
            media_type=mediatype.DOCKER_MANIFEST if docker else mediatype.OCI_MANIFEST,
            annotations=annotations,
        )
        if pretty:
            document = json.dumps(json.loads(manifest.raw), indent=5).encode()
            manifest = Manifest.parse(document, manifest.media_type)
        self.root = self.keep(manifest.raw, manifest.media_type, platform=p)
        return manifest

    def index(self, *platforms, docker=False, annotations=None, **image):
        """An index of an image a platform; remembers it as the root."""
        entries = []
        for platform in platforms:
            self.image(f"file-{platform.replace('/', '-')}", docker=docker, platform=platform, **image)
            entries.append(self.root)
        index = Index.build(
            entries, media_type=mediatype.DOCKER_LIST if docker else mediatype.OCI_INDEX, annotations=annotations
        )
        self.root = self.keep(index.raw, index.media_type)
        return index

    def resolve(self):
        return self.root

    def open(self, descriptor):
        self.opened.append(descriptor.digest)
        if descriptor.digest not in self.content:
            raise NotFound("no blob", kind="blob", name=str(descriptor.digest))
        return io.BytesIO(self.content[descriptor.digest])

    def close(self):
        self.closed = True


class Sink:
    """A destination in memory that notes the order of what happens."""

    name = "sink"

    def __init__(self, form=None):
        self.form = form or Form()
        self.content = {}
        self.documents = {}
        self.calls = []
        self.pushed = []
        self.finished = None
        self._lock = threading.Lock()

    def has(self, descriptor):
        return descriptor.digest in self.content

    def push(self, blob):
        with blob.open() as reader:
            data = reader.readall()
        with self._lock:
            self.content[blob.descriptor.digest] = data
            self.calls.append(("push", blob.media_type))
            self.pushed.append(blob.descriptor)

    def put(self, document):
        self.calls.append(("put", document.media_type))
        self.documents[document.digest] = document

    def finish(self, document, names=()):
        self.calls.append(("finish", document.media_type))
        self.finished = document
        self.names = tuple(names)

    def close(self):
        self.calls.append(("close", None))

    def abort(self):
        self.calls.append(("abort", None))


def read(source, descriptor):
    """The verified content of a descriptor."""
    return VerifiedReader(source.open(descriptor), descriptor.digest, descriptor.size).readall()


def manifest_of(source):
    """The manifest of a source of one image."""
    root = source.resolve()
    return Manifest.parse(read(source, root), root.media_type)


def tars_of(source):
    """What is in the layers of a source, decompressed: all that must survive any copy."""
    from buildlib.transports.packing import unpacked

    manifest = manifest_of(source)
    return [unpacked(io.BytesIO(read(source, layer))).read() for layer in manifest.layers]

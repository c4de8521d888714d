"""The builds of a request: one for each platform that it asks for, executed together and made one image or one index.

A stage that is the same for several platforms (``FROM --platform=$BUILDPLATFORM`` and nothing in it that depends on the
target) is built once.
"""

from __future__ import annotations

import os
from contextlib import ExitStack

from bud.build import Build, Shared
from bud.errors import StepFailed
from bud.schedule import run_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from bud.progress import Progress
    from bud.request import Request
    from bud.stage import StageBuild
    from buildlib import Image, ManifestList, Platform, Store


def build(store: Store, request: Request, progress: Progress | None = None) -> Image | ManifestList:
    """Build the target and return its image; for several platforms the index of their images.

    Raises :class:`DockerfileError` for what is wrong with the Dockerfile or a COPY in it, :class:`StepFailed` (a
    :class:`buildlib.errors.RunError`) for a RUN that failed: its container is kept unless the request says otherwise.
    """
    from bud.progress import Progress

    with Builds(store, request, progress or Progress(None)) as made:
        return made.run()


class Builds:
    """All builds of one request; leaving the block removes their containers, but for one that is kept."""

    def __init__(self, store: Store, request: Request, progress: Progress) -> None:
        if request.all_platforms:
            request = request.on(_platforms_of_bases(store, request))
        self.store = store
        self.request = request
        self.progress = progress
        self.shared = Shared(store, request, progress)
        self.each = [Build(store, one, progress, self.shared) for one in request.for_each_platform()]

    def __enter__(self) -> Builds:
        return self

    def __exit__(self, *_: object) -> None:
        with ExitStack() as stack:
            for one in self.each:
                stack.push(one)

    def describe(self) -> str:
        """The plans as text."""
        plans = [(one.label.rstrip(), one.plan().describe()) for one in self.each]
        return "".join(f"platform {label}\n{text}" if label else text for label, text in plans)

    def run(self) -> Image | ManifestList:
        """Build all, and give the result its names."""
        images = execute(self.each)
        request = self.request
        if not request.manifest and not request.platforms:
            return images[0]
        step = self.progress.step("exporting manifest list")
        index = self._extended(images) if request.manifest else self._index(images)
        step.say(f"writing index {index.digest}")
        for name in index.names:
            step.say(f"naming to {name}")
        step.end()
        return index if request.platforms or not request.names else images[0]

    def _index(self, images: Sequence[Image]) -> ManifestList:
        names = self.request.names
        index = self.store.create_manifest_list(
            names[0] if names else None, images, annotations=self.request.index_annotations, replace=True
        )
        index.tag(*names[1:])
        return index

    def _extended(self, images: Sequence[Image]) -> ManifestList:
        """The index of ``--manifest`` with the images in place of those that it had for their platforms."""
        from buildlib.errors import NotFound

        name = self.request.manifest
        try:
            index = self.store.manifest_list(name)
        except NotFound:
            index = self.store.create_manifest_list(name)
        for image in images:
            before = [
                entry.digest
                for entry in index.index.manifests
                if entry.platform == image.platform and entry.digest != image.digest
            ]
            index.add(image)
            for digest in before:
                index.remove_image(digest)
        if self.request.index_annotations:
            index.annotate_index(self.request.index_annotations)
        if self.request.platforms:
            index.tag(*self.request.names)
        return index


def _platforms_of_bases(store: Store, request: Request) -> tuple[Platform, ...]:
    """The platforms that all bases have, but for those whose FROM names one; as their places list them."""
    from bud.progress import Progress
    from buildlib.errors import NotFound, UsageError

    with Build(store, request, Progress(None)) as one:
        stages = one.plan().stages
    common: list[Platform] | None = None
    for name in dict.fromkeys(each.base.name for each in stages if each.base.kind == "image" and not each.platform):
        try:
            is_own = (store.find(name).name or "").startswith("localhost/")
        except NotFound:
            is_own = False
        access = request.access() if request.access and not is_own else None
        listed = store.create_manifest_list(None, [name if is_own else f"docker://{name}"], all=True, access=access)
        # Attestations are listed as images of an unknown platform.
        found = [each.platform for each in listed.index.manifests if each.platform and each.platform.os != "unknown"]
        common = found if common is None else [each for each in common if each in found]
    if not common:
        raise UsageError("the bases have no platform in common", hint="say which to build: --platform")
    return tuple(common)


def execute(builds: Sequence[Build]) -> list[Image]:
    """Do what is to be done, what is independent at the same time; the images, in the order of ``builds``."""
    first = builds[0]
    plans = [one.plan() for one in builds]
    for warning in dict.fromkeys(warning for plan in plans for warning in plan.warnings):
        first.progress.warn(warning)
    first.caching.open([one.request.platform for one in builds])
    left: dict[int, StageBuild] = {}
    for number, one in enumerate(builds):
        one.prepare(plans[number], builds[:number])
        left |= {id(stage): stage for stage in one.replay()}
    try:
        if len(left) > 1:
            first.store.worker.warm("run")  # it is forked from this process as long as that has one thread
        tasks = [_Task(stage) for stage in left.values()]
        run_all(tasks, first.request.jobs or os.cpu_count() or 1)
    except StepFailed as error:
        _owner(builds, error).failed(error)
        raise
    images = [one.commit(one.target) for one in builds]
    stages = {id(stage): stage.container for one in builds for stage in one.stages.values()}
    containers = [container for container in stages.values() if container is not None]
    first.caching.export([one.target for one in builds], containers)
    return images


class _Task:
    """A stage as a task of :mod:`bud.schedule`, among those of all builds."""

    def __init__(self, stage: StageBuild) -> None:
        self.number = id(stage)
        self.needs = tuple(id(stage.build.stages[number]) for number in stage.needs)
        self._stage = stage

    def run(self) -> None:
        self._stage.run()

    def cancel(self) -> None:
        self._stage.cancel()


def _owner(builds: Sequence[Build], error: StepFailed) -> Build:
    """The build whose container it is in which a command failed."""
    for one in builds:
        if any(stage.container is error.container and stage.build is one for stage in one.stages.values()):
            return one
    return builds[0]

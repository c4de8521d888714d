"""Builds the image that a Dockerfile describes: plans it, executes the calls of the plan, commits. It has no cache.

What is executed when is decided in :mod:`bud.builds`.
"""

from __future__ import annotations

from contextlib import suppress
from threading import RLock

from bud.caching import Caching
from bud.calls import Compiler, New, Ref
from bud.contexts import Contexts
from bud.plan import make_plan
from bud.request import Request, SecretSource, SshSource
from bud.stage import StageBuild
from bud.steps import BaseConfig, CopyStep, RunStep

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from bud.calls import Call
    from bud.errors import StepFailed
    from bud.progress import Progress
    from bud.steps import Origin, Plan, StagePlan
    from buildlib import Image, Platform, Store, WorkingContainer

_LOCAL = ("oci:", "oci-archive:", "docker-archive:", "docker-daemon:", "dir:", "containers-storage:", "tarball:")
"""How names begin of images that lie on this machine."""

__all__ = ["Build", "Request", "SecretSource", "SshSource"]


class Shared:
    """What the builds of one command, for a platform each, have together; to be closed."""

    def __init__(self, store: Store, request: Request, progress: Progress) -> None:
        self.several = bool(request.platforms)
        self.caching = Caching(store, request.caching, progress)
        self.contexts = Contexts(store, request.context, request.ignore, request.plan.contexts)
        self.asked: dict[str, list[Platform]] = {}
        """For which platforms each base image was wanted."""
        self.lock = RLock()

    def close(self) -> None:
        """Let go of caches and contexts from elsewhere."""
        self.caching.close()
        self.contexts.close()


class Build:
    """One build; leaving the block removes all its containers, but for one that is kept. Thread-safe."""

    def __init__(self, store: Store, request: Request, progress: Progress, shared: Shared | None = None) -> None:
        self.store = store
        self.request = request
        self.progress = progress
        self.shared = shared or Shared(store, request, progress)
        self.label = f"{request.platform} " if self.shared.several else ""
        """What tells it from the others, before something else."""
        self.contexts = self.shared.contexts
        self.caching = self.shared.caching
        self.compiler = Compiler(request, self.contexts)
        self.stages: dict[int, StageBuild] = {}
        self._target = -1
        self._fresh: dict[tuple[Origin, str], list[WorkingContainer]] = {}
        """Containers on base images that no stage has taken yet."""
        self._images: dict[str, WorkingContainer] = {}
        """Containers on images from which files are taken."""
        self._kept: WorkingContainer | None = None

    def __enter__(self) -> Build:
        return self

    def __exit__(self, *_: object) -> None:
        waiting = [container for several in self._fresh.values() for container in several]
        own = [stage.container for stage in self.stages.values() if stage.build is self and stage.container is not None]
        for container in (*own, *waiting, *self._images.values()):
            if container is self._kept:
                container.keep()
            else:
                container.remove()
        self.shared.close()

    # --- the plan and its execution -----------------------------------------------------------------------------------

    def plan(self) -> Plan:
        """What is to be done. Bases that are not here are fetched for it."""
        from bud.allowed import check

        plan = make_plan(self.request.dockerfile, self.request.plan, self.config_of)
        check(plan, self.request, self.platform_of)
        return plan

    def run(self) -> Image:
        """Do it."""
        from bud.builds import execute

        return execute([self])[0]

    def prepare(self, plan: Plan, earlier: Sequence[Build]) -> None:
        """Make the stages; those that are the same in an ``earlier`` build are that one's."""
        self._target = plan.target
        alone = len(plan.stages) == 1
        for stage in plan.stages:
            twin = None if stage.number == plan.target else self._twin(stage, earlier)
            self.stages[stage.number] = twin or StageBuild(self, stage, alone=alone)

    def _twin(self, stage: StagePlan, earlier: Sequence[Build]) -> StageBuild | None:
        if not stage.platform and stage.base.kind != "stage":
            return None  # its base is for the platform of the build
        origins = {step.origin.kind for step in stage.steps if isinstance(step, CopyStep)}
        origins |= {mount.origin.kind for step in stage.steps if isinstance(step, RunStep) for mount in step.mounts}
        if origins & {"image", "named"}:
            return None  # and so are images from which files are taken
        for other in earlier:
            found = other.stages.get(stage.number)
            same = all(self.stages[number] is other.stages.get(number) for number in stage.needs)
            if found is not None and same and found.plan == stage:
                return found
        return None

    def replay(self) -> list[StageBuild]:
        """Do here what the cache has; the stages of which something is left."""
        left: list[StageBuild] = []
        for stage in self.stages.values():  # each comes after what it needs
            if {other.number for other in left} & set(stage.needs) or not stage.replay():
                left.append(stage)
        return left

    @property
    def target(self) -> WorkingContainer:
        """The container that becomes the image."""
        container = self.stages[self._target].container
        assert container is not None
        return container

    def failed(self, error: StepFailed) -> None:
        """See to the container of a RUN that failed."""
        if self.request.on_error == "fail":
            return
        self._kept = error.container
        assert error.container is not None
        error.hint = f"look into it: buildlib run {error.container.name} -- sh"
        if self.request.on_error == "shell":
            from bud.debug import open_shell

            self.progress.close()
            open_shell(self, error)

    # --- bases --------------------------------------------------------------------------------------------------------

    def config_of(self, origin: Origin, platform: str) -> BaseConfig:
        """The config of a base; the container that it is read from waits for the stage."""
        name = origin.name
        if origin.kind == "named":
            place = self.contexts.place(name)
            if place.kind != "image":
                return BaseConfig(working_dir="/")
            name = place.where
        container = self.from_image(name, platform)
        self._fresh.setdefault((origin, platform), []).append(container)
        config = container.image_config.config
        return BaseConfig(
            config.env, config.working_dir, config.user, config.shell, config.on_build, config.args_escaped
        )

    def platform_of(self, stage: StagePlan) -> str:
        """The platform of the programs in a stage that is not built on another one."""
        from buildlib import Platform

        for container in self._fresh.get((stage.base, stage.platform), ()):
            return str(container.image_config.platform)
        return stage.platform or str(self.request.platform or Platform.host())

    def from_image(self, name: str, platform: str = "") -> WorkingContainer:
        """A new container on an image."""
        step = self.progress.step(f"[{self.label}internal] load {name}") if name != "scratch" else None
        options = base_options(self.request, platform)
        if self.shared.several and name != "scratch" and not name.startswith(_LOCAL):
            self._fetch_beside(name, options, self.shared.asked.setdefault(name, []))
        container = self.store.from_image(name, **options, **self._access(name, options), temporary=True)
        if step is not None:
            step.end()
        return container

    def _fetch_beside(self, name: str, options: dict[str, Any], platforms: list[Platform]) -> None:
        """Fetch an image for one more platform so that its name means those of before too, and the next build has all.

        What goes wrong is said when the image is taken.
        """
        from buildlib.errors import NotFound, TransportError

        wanted = options["platform"]
        if wanted in platforms:
            return
        platforms.append(wanted)
        policy = options.get("pull", "missing")
        if len(platforms) == 1 or policy == "never" or name.startswith("localhost/"):
            return
        with suppress(NotFound):
            here = self.store.image(name, wanted)
            if policy == "missing" and wanted.rank(here.platform) is not None:
                return
        with suppress(NotFound, TransportError):
            self.store.pull_all(name, platforms=platforms, **self._access(name, {"pull": "always"}))
            options.pop("pull", None)

    def _access(self, name: str, options: dict[str, Any]) -> dict[str, Any]:
        """The option ``access`` if a registry has to be asked for the image: what talks to one costs time to load."""
        from buildlib.errors import NotFound

        policy = options.get("pull", "missing")
        if self.request.access is None or policy == "never" or name == "scratch" or name.startswith(_LOCAL):
            return {}
        if policy == "missing" and not name.startswith("docker://"):
            try:
                self.store.image(name, options.get("platform"))
            except NotFound:
                pass
            else:
                return {}
        return {"access": self.request.access()}

    def start(self, stage: StagePlan) -> WorkingContainer:
        """The container that a stage begins with."""
        if stage.base.kind == "stage":
            base = self.stages[stage.base.stage].container
            assert base is not None
            return base.fork(temporary=True)
        with self.shared.lock:
            waiting = self._fresh.get((stage.base, stage.platform))
            if waiting:
                return waiting.pop()
        return self.from_image("scratch", stage.platform)

    def fill(self, container: WorkingContainer, origin: Origin) -> None:
        """Copy a context that is a folder into the container of a stage that is built on it."""
        if self.contexts.place(origin.name).kind != "image":
            self.invoke(container, self.compiler.base(origin.name))

    # --- calls --------------------------------------------------------------------------------------------------------

    def invoke(self, container: WorkingContainer, call: Call, **more: Any) -> Any:
        """Make a call on a container."""
        options = {name: self.resolve(value) for name, value in call.options.items()}
        if call.verb == "run" and self.request.proxy:
            in_scope = options.get("env", {})
            options["proxy"] = {name: value for name, value in self.request.proxy.items() if name not in in_scope}
        if call.verb == "add":
            options.update(self.logins(call))
        return getattr(container, call.verb)(*call.args, **options, **more)

    def resolve(self, value: Any) -> Any:
        """A value of a call with what it refers to in place."""
        if isinstance(value, Ref):
            return self._referred(value)
        if isinstance(value, New):
            import buildlib

            options = {name: self.resolve(each) for name, each in value.options.items()}
            return getattr(buildlib, value.name)(*value.args, **options)
        return [self.resolve(each) for each in value] if isinstance(value, list) else value

    def _referred(self, ref: Ref) -> Any:
        if ref.kind == "stage":
            return self.stages[ref.name].container
        with self.shared.lock:
            if ref.kind == "image":
                if ref.name not in self._images:
                    self._images[ref.name] = self.from_image(ref.name)
                return self._images[ref.name]
            return getattr(self.contexts, ref.kind)(ref.name)

    def logins(self, call: Call) -> dict[str, str]:
        """The Authorization header for a source of ADD, from the secrets that docker has for that."""
        from bud.logins import authorization

        found = authorization(call.args, self.request.secrets)
        return {} if found is None else {"authorization": found}

    # --- the end ------------------------------------------------------------------------------------------------------

    def commit(self, container: WorkingContainer) -> Image:
        """Make the target's container the image."""
        fields = final_config(self.request)
        if fields:
            container.config(**fields)
        step = self.progress.step(f"{self.label}exporting to image")
        image = container.commit(names=self.request.names, **commit_options(self.request))
        step.say(f"writing image sha256:{image.id}")
        for name in self.request.names:
            step.say(f"naming to {name}")
        step.end()
        return image


def base_options(request: Request, platform: str) -> dict[str, Any]:
    """How containers on images are made; what says nothing new is left out."""
    wanted = _platform(platform) if platform else request.platform
    options = {
        "pull": request.pull if request.pull != "missing" else None,
        "cache": request.layers or None,
        "no_cache": (request.no_cache and request.layers) or None,
        "max_age": request.caching.max_age,
        "platform": wanted,
        "format": request.format if request.format != "oci" else None,
        "run": request.run,
    }
    return {name: value for name, value in options.items() if value is not None}


def _platform(text: str) -> Platform:
    from buildlib import Platform

    return Platform.parse(text)


def final_config(request: Request) -> dict[str, Any]:
    """What the command line adds to the config, without a word in the history."""
    fields: dict[str, Any] = {}
    if request.labels or request.unset_labels:
        fields["labels"] = {**request.labels, **dict.fromkeys(request.unset_labels)}
    if request.env or request.unset_env:
        fields["env"] = {**dict(request.env), **dict.fromkeys(request.unset_env)}
    if request.os_version:
        fields["os_version"] = request.os_version
    if request.os_features:
        fields["os_features"] = list(request.os_features)
    if request.platform is not None:
        fields.update(os=request.platform.os, architecture=request.platform.architecture)
        if request.platform.variant:
            fields["variant"] = request.platform.variant
    return fields


def commit_options(request: Request) -> dict[str, Any]:
    """How the image is committed; what says nothing new is left out."""
    options = {
        "squash": "all" if request.squash_all else "new" if request.squash else None,
        "inline_cache": request.caching.inline or None,
        "timestamp": request.timestamp,
        "source_date_epoch": request.source_date_epoch,
        "rewrite_timestamp": request.rewrite_timestamp or None,
        "annotations": dict(request.annotations) or None,
        "omit_history": request.omit_history or None,
    }
    return {name: value for name, value in options.items() if value is not None}

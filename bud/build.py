"""Executes a plan on the public API of buildlib, one call a step. It knows nothing of syntax, and has no cache."""

from __future__ import annotations

import time

from bud.dispatch import is_remote
from bud.errors import DockerfileError, StepFailed
from bud.plan import Options, make_plan
from bud.progress import Progress
from bud.steps import BaseConfig, ConfigStep, CopyStep, RunStep, WorkdirStep
from buildlib import errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, NamedTuple

    from bud.progress import StepProgress
    from bud.stages import Dockerfile
    from bud.steps import LayerStep, Origin, Plan, RunMount, StagePlan, Step
    from buildlib import IgnorePatterns, Image, Platform, Store, WorkingContainer
else:
    from bud.value import NamedTuple

COMMENT = "buildkit.dockerfile.v0"
"""What BuildKit writes beside each entry of a history."""


class SecretSource(NamedTuple):
    """Where a secret comes from: the ``name`` of a file, or of a variable of this process."""

    kind: str
    name: str


class Request(NamedTuple):
    """All that a build is asked for."""

    dockerfile: Dockerfile
    context: str
    """The folder that COPY and ADD take from."""
    ignore: IgnorePatterns
    plan: Options = Options()
    platform: Platform | None = None
    """Asked for explicitly; None: what the bases have for this machine."""
    names: tuple[str, ...] = ()
    layers: bool = True
    """A layer for each step, and every step memoised; else one layer for all of a stage."""
    no_cache: bool = False
    pull: str = "missing"
    labels: Mapping[str, str] = {}
    annotations: Mapping[str, str] = {}
    env: tuple[tuple[str, str], ...] = ()
    secrets: Mapping[str, SecretSource] = {}
    proxy: Mapping[str, str] = {}
    """Variables that every RUN sees and no key contains."""
    network: str = "host"
    format: str = "oci"
    squash: bool = False
    """One layer of all new layers; those of the base stay."""
    timestamp: int | None = None
    source_date_epoch: int | None = None
    rewrite_timestamp: bool = False
    keep_on_failure: bool = True


def build(store: Store, request: Request, progress: Progress | None = None) -> Image:
    """Build the target and return its image.

    Raises :class:`DockerfileError` for what is wrong with the Dockerfile or a COPY in it, :class:`StepFailed` (a
    :class:`buildlib.errors.RunError`) for a RUN that failed: its container is kept unless the request says otherwise.
    """
    return _Build(store, request, progress or Progress(None)).run()


class _Build:
    def __init__(self, store: Store, request: Request, progress: Progress) -> None:
        self.store = store
        self.request = request
        self.progress = progress
        self.fresh: dict[tuple[Origin, str], list[WorkingContainer]] = {}
        """Containers on base images that no stage has taken yet."""
        self.built: dict[int, WorkingContainer] = {}
        self.context_copy: WorkingContainer | None = None
        self.kept: WorkingContainer | None = None

    def run(self) -> Image:
        try:
            plan = make_plan(self.request.dockerfile, self.request.plan, self.config_of)
            for warning in plan.warnings:
                self.progress.warn(warning)
            _check_supported(plan)
            for stage in plan.stages:
                self.build_stage(plan, stage)
            return self.commit(self.built[plan.target])
        finally:
            self.clear()

    # --- bases --------------------------------------------------------------------------------------------------------

    def config_of(self, origin: Origin, platform: str) -> BaseConfig:
        """The config of a base; the container that it is read from waits for the stage."""
        if origin.kind == "named":
            raise DockerfileError(f"the build context {origin.name} can't be a base yet")
        container = self.from_image(origin.name, platform)
        self.fresh.setdefault((origin, platform), []).append(container)
        config = container.image_config.config
        return BaseConfig(config.env, config.working_dir, config.user, config.shell, config.on_build)

    def from_image(self, name: str, platform: str) -> WorkingContainer:
        from buildlib import Platform

        step = self.progress.step(f"[internal] load {name}") if name != "scratch" else None
        wanted = Platform.parse(platform) if platform else self.request.platform
        container = self.store.from_image(
            name,
            pull=self.request.pull,
            cache=self.request.layers,
            no_cache=self.request.no_cache and self.request.layers,
            platform=wanted,
            format=self.request.format,
            temporary=True,
        )
        if step is not None:
            step.end()
        return container

    def start(self, stage: StagePlan) -> WorkingContainer:
        """The container that a stage begins with."""
        if stage.base.kind == "stage":
            return self.built[stage.base.stage].fork(temporary=True)
        if stage.base.kind == "scratch":
            return self.from_image("scratch", stage.platform)
        return self.fresh[stage.base, stage.platform].pop()

    # --- steps --------------------------------------------------------------------------------------------------------

    def build_stage(self, plan: Plan, stage: StagePlan) -> None:
        container = self.built[stage.number] = self.start(stage)
        total = stage.layer_steps + (stage.base.kind == "image")
        number = total - stage.layer_steps
        label = "" if len(plan.stages) == 1 else f"{stage.label} "
        if number:
            self.progress.step(f"[{label}{1:>{len(str(total))}}/{total}] FROM {stage.base.name}").end()
        for step in stage.steps:
            if isinstance(step, ConfigStep):
                self.configure(container, step)
                continue
            number += 1
            title = f"[{label}{number:>{len(str(total))}}/{total}] {step.title}"
            self.perform(container, step, self.progress.step(title))

    def configure(self, container: WorkingContainer, step: ConfigStep) -> None:
        fields = dict(step.changes)
        if "cmd" in fields and "args_escaped" not in fields:
            # ENTRYPOINT clears the command, and nothing else.
            fields["args_escaped"] = container.image_config.config.args_escaped
        comment = COMMENT if step.created_by is not None else None
        container.config(created_by=step.created_by, comment=comment, **fields)

    def perform(self, container: WorkingContainer, step: LayerStep, shown: StepProgress) -> None:
        """Do one step that makes a layer; its errors say where in the Dockerfile it stands."""
        began = time.time()
        try:
            if isinstance(step, RunStep):
                cached = self.run_step(container, step, shown)
            else:
                self.files(container, step)
                history = container.state.history
                # A layer that is older than this step was not made by it.
                cached = self.request.layers and bool(history) and (history[-1].created or began) < began
        except errors.RunError as error:
            shown.end(error=error.message)
            raise self.failed(container, step, error) from error
        except (errors.CopyError, errors.UsageError, errors.NotFound) as error:
            shown.end(error=error.message)
            raise step.at.error(error.message, hint=error.hint) from error
        shown.end(cached=cached)

    def failed(self, container: WorkingContainer, step: LayerStep, error: errors.RunError) -> StepFailed:
        """The error of a RUN, with its place and the way to look at what it left."""
        place = step.at.error(error.message)
        hint = error.hint
        if self.request.keep_on_failure:
            self.kept = container
            hint = f"look into it: buildlib run {container.name} -- sh"
        failure = StepFailed(
            place.message,
            hint=hint,
            argv=error.argv,
            exit_code=error.exit_code,
            output=error.output,
            file=place.file,
            line=place.line,
            instruction=step.at.line.text,
        )
        failure.container = container
        return failure

    def run_step(self, container: WorkingContainer, step: RunStep, shown: StepProgress) -> bool:
        in_scope = dict(step.env)
        result = container.run(
            step.argv,
            env=in_scope,
            mounts=[*self.script(step), *(self.mount(step, one) for one in step.mounts)],
            network=step.network if step.network != "default" else self.request.network,
            proxy={name: value for name, value in self.request.proxy.items() if name not in in_scope},
            stdout=shown,
            stderr=shown,
            created_by=step.created_by,
            comment=COMMENT,
        )
        return result.cached

    def script(self, step: RunStep) -> list[Any]:
        if step.script is None:
            return []
        from buildlib import Content

        path, text = step.script
        return [Content(path, text.encode("utf-8", "surrogateescape"))]

    def mount(self, step: RunStep, wanted: RunMount) -> Any:
        """A mount of the plan as one of the API."""
        from buildlib import Bind, Cache, Secret, Tmpfs

        mount = wanted.mount
        if mount.type == "tmpfs":
            return Tmpfs(mount.target, mount.size)
        if mount.type == "secret":
            source = self.request.secrets.get(mount.id)
            return Secret(
                mount.id,
                mount.target or None,
                source=source.name if source is not None and source.kind == "file" else None,
                variable=source.name if source is not None and source.kind == "env" else None,
                env=mount.env,
                mode=0o400 if mount.mode is None else mount.mode,
                uid=mount.uid or 0,
                gid=mount.gid or 0,
                required=mount.required,
            )
        if mount.type == "cache":
            return Cache(
                mount.target,
                mount.id,
                mount.sharing,
                0o755 if mount.mode is None else mount.mode,
                mount.uid or 0,
                mount.gid or 0,
                from_=self.source_of(wanted.origin) if wanted.origin.kind != "scratch" else None,
                source=mount.source if wanted.origin.kind != "scratch" else None,
                ro=mount.readonly,
            )
        if wanted.origin.kind == "context":
            return self.bind_context(wanted)
        return Bind(mount.source, mount.target, self.source_of(wanted.origin), not mount.readonly)

    def bind_context(self, wanted: RunMount) -> Any:
        """A part of the build context, mounted; what is ignored is not in it."""
        from buildlib import Bind

        mount = wanted.mount
        if self.request.ignore:
            return Bind(mount.source, mount.target, self.filtered_context(), not mount.readonly)
        return Bind(mount.source, mount.target, rw=not mount.readonly, context=self.request.context)

    def filtered_context(self) -> WorkingContainer:
        """The context without what is ignored, as a container that mounts can be taken from."""
        if self.context_copy is None:
            self.context_copy = self.store.from_image("scratch", cache=True, temporary=True)
            self.context_copy.copy(".", dest="/", context=self.request.context, ignore=self.request.ignore)
        return self.context_copy

    def source_of(self, origin: Origin) -> Any:
        """What ``from_`` of the API takes: a container, or the name of an image."""
        return self.built[origin.stage] if origin.kind == "stage" else origin.name

    def files(self, container: WorkingContainer, step: CopyStep | WorkdirStep) -> None:
        """A step that makes files without running anything."""
        if isinstance(step, WorkdirStep):
            container.config(working_dir=step.path)
            owner = step.owner or "0:0"
            container.mkdir(step.path, 0o755, owner, created_by=step.created_by, comment=COMMENT)
            return
        options: dict[str, Any] = {
            "dest": step.dest,
            "chown": step.chown or None,
            "chmod": step.chmod or None,
            "exclude": step.exclude,
            "link": step.link,
            "contents": dict(step.contents) or None,
            "empty_wildcard": True,
            "created_by": step.created_by,
            "comment": COMMENT,
        }
        if step.origin.kind == "context":
            options.update(context=self.request.context, ignore=self.request.ignore)
        else:
            options["from_"] = self.source_of(step.origin)
        if not step.is_add:
            container.copy(*step.sources, parents=step.parents, **options)
            return
        if step.unpack is not None:
            options["unpack"] = step.unpack
        container.add(*step.sources, **options)

    # --- the end ------------------------------------------------------------------------------------------------------

    def commit(self, container: WorkingContainer) -> Image:
        request = self.request
        fields: dict[str, Any] = {}
        if request.labels:
            fields["labels"] = request.labels
        if request.env:
            fields["env"] = request.env
        if request.platform is not None:
            platform = request.platform
            fields.update(os=platform.os, architecture=platform.architecture)
            if platform.variant:
                fields["variant"] = platform.variant
        if fields:
            container.config(**fields)
        step = self.progress.step("exporting to image")
        image = container.commit(
            names=request.names,
            squash="new" if request.squash else False,
            timestamp=request.timestamp,
            source_date_epoch=request.source_date_epoch,
            rewrite_timestamp=request.rewrite_timestamp,
            format=request.format,
            annotations=request.annotations or None,
        )
        step.say(f"writing image sha256:{image.id}")
        for name in request.names:
            step.say(f"naming to {name}")
        step.end()
        return image

    def clear(self) -> None:
        """Remove the containers, but for the one that is kept."""
        waiting = [container for several in self.fresh.values() for container in several]
        extra = [self.context_copy] if self.context_copy is not None else []
        for container in (*self.built.values(), *waiting, *extra):
            if container is self.kept:
                container.keep()
            else:
                container.remove()


def _check_supported(plan: Plan) -> None:
    """Refuse what can't be done yet before anything has been done."""
    for stage in plan.stages:
        for step in stage.steps:
            problem = _unsupported(step)
            if problem is not None:
                assert step.at is not None
                raise step.at.error(f"{problem} is not supported yet")


def _unsupported(step: Step) -> str | None:
    if isinstance(step, CopyStep):
        if step.origin.kind == "named":
            return f"the build context {step.origin.name}"
        remote = next((source for source in step.sources if is_remote(source)), None)
        return f"ADD from the network ({remote})" if remote is not None else None
    if not isinstance(step, RunStep):
        return None
    if step.security != "sandbox":
        return f"--security={step.security}"
    if step.devices:
        return "--device"
    for mount, origin in step.mounts:
        if mount.type == "ssh":
            return "--mount=type=ssh"
        if origin.kind == "named":
            return f"the build context {origin.name}"
    return None

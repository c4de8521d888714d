"""``buildlib config``: changes what an image made of the container will say about itself."""

from __future__ import annotations

from buildlib.cli.flags import BOOL, EACH, LIST, NUMBER, Flag, Verb

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from buildlib import WorkingContainer
    from buildlib.cli.flags import Arguments

VERB = Verb(
    "config",
    "Update image configuration settings",
    accepts="CONTAINER",
    positionals=(1, 1),
    missing="container ID must be specified",
    example="buildlib config --cmd 'nginx -g \"daemon off;\"' --port 80 --env 'PATH=/app/bin:$PATH' $ctr\n"
    "buildlib config --label team=web --label old- --entrypoint '[\"/app/start\"]' $ctr",
    details="NAME- removes one annotation, variable, label, port or volume, and - removes all.",
    flags=(
        Flag("add-history", "note the changes in the history of the image", kind=BOOL, env="BUILDAH_HISTORY"),
        Flag("annotation", "an annotation of the manifest", short="a", kind=EACH, metavar="KEY=VALUE"),
        Flag("arch", "architecture of the image", metavar="ARCH"),
        Flag("author", "who made the image", metavar="NAME"),
        Flag("cmd", "default command: words, or a JSON array", metavar="COMMAND"),
        Flag("comment", "a comment in the image", metavar="TEXT"),
        Flag("created-by", "what the history says of how the last layer was made", metavar="TEXT"),
        Flag("domainname", "domain name of containers", metavar="NAME"),
        Flag("entrypoint", "entry point: a JSON array, or a line for the shell", metavar="COMMAND"),
        Flag("env", "a variable; the value may name others, as $PATH", short="e", kind=EACH, metavar="NAME=VALUE"),
        Flag("healthcheck", "how to test health: a line for the shell, CMD and words, or NONE", metavar="COMMAND"),
        Flag("healthcheck-interval", "time between tests, like 30s", metavar="DURATION"),
        Flag("healthcheck-retries", "how often a test has to fail", kind=NUMBER, metavar="COUNT"),
        Flag("healthcheck-start-interval", "time between tests while starting", metavar="DURATION"),
        Flag("healthcheck-start-period", "how long a container may take to start", metavar="DURATION"),
        Flag("healthcheck-timeout", "how long a test may take", metavar="DURATION"),
        Flag("history-comment", "a comment in the history", metavar="TEXT"),
        Flag("hostname", "host name of containers", metavar="NAME"),
        Flag("label", "a label", short="l", kind=EACH, metavar="KEY=VALUE"),
        Flag("onbuild", "an instruction for builds on this image", kind=EACH, metavar="INSTRUCTION"),
        Flag("os", "operating system of the image", metavar="OS"),
        Flag("os-feature", "a feature that the operating system must have", kind=EACH, metavar="FEATURE"),
        Flag("os-version", "version of the operating system", metavar="VERSION"),
        Flag("port", "a port to expose", short="p", kind=LIST, metavar="PORT"),
        Flag("shell", "the shell of commands that are lines", metavar="COMMAND"),
        Flag("stop-signal", "signal that stops containers", metavar="SIGNAL"),
        Flag("unsetannotation", "an annotation to remove", kind=LIST, metavar="KEY"),
        Flag("unsetlabel", "a label to remove", kind=LIST, metavar="KEY"),
        Flag("user", "default user", short="u", metavar="USER[:GROUP]"),
        Flag("variant", "variant of the architecture", metavar="VARIANT"),
        Flag("volume", "a path for a volume", short="v", kind=LIST, metavar="PATH"),
        Flag("workingdir", "default working directory", metavar="DIR"),
    ),
)

_FIELDS = {
    "arch": "arch",
    "author": "author",
    "comment": "comment",
    "created_by": "history_created_by",
    "domainname": "domainname",
    "annotation": "annotations",
    "healthcheck_interval": "healthcheck_interval",
    "healthcheck_retries": "healthcheck_retries",
    "healthcheck_start_interval": "healthcheck_start_interval",
    "healthcheck_start_period": "healthcheck_start_period",
    "healthcheck_timeout": "healthcheck_timeout",
    "history_comment": "history_comment",
    "hostname": "hostname",
    "label": "labels",
    "onbuild": "on_build",
    "os": "os",
    "os_feature": "os_features",
    "os_version": "os_version",
    "port": "ports",
    "stop_signal": "stop_signal",
    "user": "user",
    "variant": "variant",
    "volume": "volumes",
    "workingdir": "workdir",
}
"""Flags whose values the library takes as they are, and its names for them."""

_INSTRUCTIONS = {
    "annotation": "ANNOTATION",
    "author": "MAINTAINER",
    "cmd": "CMD",
    "entrypoint": "ENTRYPOINT",
    "env": "ENV",
    "healthcheck": "HEALTHCHECK",
    "label": "LABEL",
    "onbuild": "ONBUILD",
    "port": "EXPOSE",
    "shell": "SHELL",
    "stop_signal": "STOPSIGNAL",
    "user": "USER",
    "volume": "VOLUME",
    "workingdir": "WORKDIR",
}
"""What the history calls a change when it is to be noted."""


def run(args: Arguments) -> int:
    """Set what was given."""
    from buildlib.cli.place import open_store

    with open_store(args) as store:
        container = store.container(args.positionals[0])
        container.config(**_fields(args, container))
        if args.add_history:
            for line in _history(args):
                container.config(created_by=f"/bin/sh -c #(nop) {line}")
    return 0


def _fields(args: Arguments, container: WorkingContainer) -> dict[str, Any]:
    """What was given, in the words of the library."""
    from buildlib.cli.words import argv, environment, json_array, shell_or_argv

    fields = {name: args.values[key] for key, name in _FIELDS.items() if key in args.given}
    for key, name in (("unsetlabel", "labels"), ("unsetannotation", "annotations")):
        if key in args.given:
            fields[name] = [*fields.get(name, ()), *(f"{word}-" for word in args.values[key])]
    if "env" in args.given:
        fields["env"] = environment(container.image_config.config.env, args.env)
    if "cmd" in args.given:
        fields["cmd"] = argv("cmd", args.cmd) if args.cmd else None
    if "entrypoint" in args.given:
        fields["entrypoint"] = shell_or_argv(args.entrypoint) or None
    if "shell" in args.given:
        fields["shell"] = argv("shell", args.shell)
    if "healthcheck" in args.given:
        fields["healthcheck"] = json_array(args.healthcheck) or args.healthcheck
    return fields


def _history(args: Arguments) -> list[str]:
    """A line for each kind of change."""
    lines = []
    for key, instruction in _INSTRUCTIONS.items():
        if key in args.given:
            value = args.values[key]
            lines.append(f"{instruction} {value if isinstance(value, str) else ' '.join(value)}")
    return lines

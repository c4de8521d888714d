"""The completion for fish: a line for each verb and each flag."""

from __future__ import annotations

from buildlib.cli.completion import choices, flags, is_path, positionals, takes_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from buildlib.cli.flags import Verb

_HEAD = r"""# fish completion for buildlib; written by `buildlib completion fish`

function __buildlib_root
    set -l words (commandline -opc)
    for number in (seq (count $words))
        string match -q -- '--root=*' $words[$number]; and echo $words[$number]
        test "$words[$number]" = --root; and test $number -lt (count $words); and echo --root=$words[(math $number + 1)]
    end
end
function __buildlib_containers
    buildlib (__buildlib_root) containers --format '{{.ContainerName}}' 2>/dev/null
end
function __buildlib_images
    buildlib (__buildlib_root) images --filter dangling=false --format '{{.Name}}:{{.Tag}}' 2>/dev/null
end
function __buildlib_verb
    # The verb of the command line, which may be two words; nothing before it.
    set -l found
    set -l skip 0
    for word in (commandline -opc)[2..]
        if test $skip = 1
            set skip 0
        else if contains -- $word @VALUED@
            set skip 1
        else if not string match -q -- '-*' $word
            set -a found $word
            contains -- $found[1] manifest source; or break
            test (count $found) = 2; and break
        end
    end
    test "$found" = "$argv"
end
complete -c buildlib -f
complete -c buildah -w buildlib
"""


def script(verbs: Sequence[Verb]) -> str:
    """The whole script."""
    from buildlib.cli.flags import GLOBAL_FLAGS

    valued = " ".join(f"--{flag.name}" for flag in GLOBAL_FLAGS if takes_value(flag))
    return _HEAD.replace("@VALUED@", valued) + "".join(f"{line}\n" for line in _lines(verbs))


def _lines(verbs: Sequence[Verb]) -> Iterator[str]:
    groups = sorted({verb.name.split()[0] for verb in verbs if " " in verb.name})
    for group in groups:
        yield f"complete -c buildlib -n __buildlib_verb -a {group} -d {_quoted(f'{group} …')}"
    yield from _verb_lines(type(verbs[0])("", "", example=""), "__buildlib_verb")
    for verb in verbs:
        before, _, last = verb.name.rpartition(" ")
        names = " ".join((last, *verb.aliases))
        condition = _quoted(f"__buildlib_verb {before}".strip())
        yield f"complete -c buildlib -n {condition} -a {_quoted(names)} -d {_quoted(verb.summary)}"
        for called in (verb.name, *verb.aliases):
            yield from _verb_lines(verb, _quoted(f"__buildlib_verb {called}"))


def _verb_lines(verb: Verb, condition: str) -> Iterator[str]:
    kinds = set(positionals(verb))
    for kind, name in (("container", "__buildlib_containers"), ("image", "__buildlib_images")):
        if kinds & {kind, "any"}:
            yield f"complete -c buildlib -n {condition} -a '({name})'"
    if "file" in kinds:
        yield f"complete -c buildlib -n {condition} -F"
    for flag in flags(verb):
        words = [f"complete -c buildlib -n {condition} -l {flag.name}"]
        words += [f"-s {flag.short}"] if flag.short else []
        if takes_value(flag):
            known = choices(verb, flag)
            words.append(f"-x -a {_quoted(' '.join(known))}" if known else "-r -F" if is_path(flag) else "-x")
        words.append(f"-d {_quoted(flag.help)}")
        yield " ".join(words)


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"

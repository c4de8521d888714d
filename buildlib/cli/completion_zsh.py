"""The completion for zsh: ``_arguments`` with a line for each flag."""

from __future__ import annotations

from buildlib.cli.completion import choices, flags, is_path, positionals, takes_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildlib.cli.flags import Flag, Verb

_SCRIPT = r"""#compdef buildlib buildah
# zsh completion for buildlib; written by `buildlib completion zsh`

__buildlib_root() {
    local at=${words[(I)--root]}
    reply=(${(M)words:#--root=*})
    ((at > 0)) && reply=(--root "${words[at + 1]}")
}
__buildlib_containers() {
    local -a reply names; __buildlib_root
    names=(${(f)"$(buildlib $reply containers --format '{{.ContainerName}}' 2>/dev/null)"})
    compadd -a names
}
__buildlib_images() {
    local -a reply names; __buildlib_root
    names=(${(f)"$(buildlib $reply images --filter dangling=false --format '{{.Name}}:{{.Tag}}' 2>/dev/null)"})
    compadd -a names
}
__buildlib_any() { __buildlib_containers; __buildlib_images; }

_buildlib() {
    local context state state_descr line verb
    typeset -A opt_args
    local -a verbs=(
@VERBS@
    )
    _arguments -C -S \
@GLOBAL@
        '1: :{_describe command verbs}' '*:: :->rest' && return 0
    [[ $state == rest ]] || return 1
    verb=$words[1]
    if [[ $verb == manifest || $verb == source ]] && ((CURRENT == 2)); then
        case $verb in
        manifest) compadd @MANIFEST@ ;;
        source) compadd @SOURCE@ ;;
        esac
        return
    fi
    if [[ $verb == manifest || $verb == source ]]; then
        verb="$verb $words[2]"; shift words; ((CURRENT--))
    fi
    case $verb in
@CASES@
    esac
}

if [[ $funcstack[1] == _buildlib ]]; then _buildlib "$@"; else compdef _buildlib buildlib buildah; fi
"""


def script(verbs: Sequence[Verb]) -> str:
    """The whole script."""
    from buildlib.cli.flags import GLOBAL_FLAGS

    firsts = {verb.name.split()[0]: verb.summary if " " not in verb.name else "…" for verb in verbs}
    firsts.update({alias: verb.summary for verb in verbs for alias in verb.aliases})
    cases = []
    for verb in verbs:
        names = "|".join(f'"{name}"' for name in (verb.name, *verb.aliases))
        lines = [_flag(verb, flag) for flag in flags(verb)] + _positionals(verb)
        body = " \\\n".join(f"            {line}" for line in lines)
        cases.append(f"    {names}) _arguments -S \\\n{body} ;;")
    found = {
        "@VERBS@": "\n".join(f"        {_quoted(f'{name}:{text}')}" for name, text in sorted(firsts.items())),
        "@GLOBAL@": "\n".join(f"        {_flag(verbs[0], flag)} \\" for flag in GLOBAL_FLAGS if not flag.hidden),
        "@MANIFEST@": _second(verbs, "manifest"),
        "@SOURCE@": _second(verbs, "source"),
        "@CASES@": "\n".join(cases),
    }
    text = _SCRIPT
    for name, value in found.items():
        text = text.replace(name, value)
    return text


def _second(verbs: Sequence[Verb], group: str) -> str:
    return " ".join(verb.name.split()[1] for verb in verbs if verb.name.startswith(f"{group} "))


def _flag(verb: Verb, flag: Flag) -> str:
    help = flag.help.replace("[", "\\[").replace("]", "\\]").replace(":", "\\:")
    value, sign = "", ""
    if takes_value(flag):
        known = choices(verb, flag)
        action = f"({' '.join(known)})" if known else "_files" if is_path(flag) else " "
        value, sign = f":{flag.name}:{action}", "="
    lines = [_quoted(f"*--{flag.name}{sign}[{help}]{value}")]
    if flag.short:
        lines.append(_quoted(f"*-{flag.short}{'+' if value else ''}[{help}]{value}"))
    return " ".join(lines)


def _positionals(verb: Verb) -> list[str]:
    actions = {"container": "__buildlib_containers", "image": "__buildlib_images", "any": "__buildlib_any"}
    actions |= {"file": "_files", "none": " "}
    kinds = positionals(verb)
    lines = [_quoted(f"{number}: :{actions[kind]}") for number, kind in enumerate(kinds[:-1], 1)]
    return lines + [_quoted(f"*: :{actions[kind]}") for kind in kinds[-1:]]


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"

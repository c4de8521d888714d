"""The completion for bash: one function, and what the verbs take as words of shell code."""

from __future__ import annotations

from buildlib.cli.completion import choices, flags, is_path, positionals, takes_value

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from buildlib.cli.flags import Verb

_SCRIPT = r"""# bash completion for buildlib; written by `buildlib completion bash`

__buildlib_names() {
    local kind=$1 root=("${@:2}")
    case $kind in
    container | any) buildlib "${root[@]}" containers --format '{{.ContainerName}}' 2>/dev/null ;;&
    image | any) buildlib "${root[@]}" images --filter dangling=false --format '{{.Name}}:{{.Tag}}' 2>/dev/null ;;
    esac
}

__buildlib_verb() {
    verb= flags= valued= paths= kinds=
    case $1 in
@CASES@
    esac
}

__buildlib_choices() {
    case $1 in
@CHOICES@
    esac
}

_buildlib() {
    local line=${COMP_LINE:0:COMP_POINT} words word cur prev root=() verb= flags= valued= paths= kinds=
    local number=1 taken=0 literal= wanted
    read -ra words <<<"$line"
    [[ $line == *[[:space:]] ]] && words+=("")
    cur=${words[-1]}
    # Which verb it is, and how many positionals stand before the cursor.
    __buildlib_verb ""
    for ((number = 1; number < ${#words[@]} - 1; number++)); do
        word=${words[number]}
        if [[ -z $literal && $word == --?* || -z $literal && $word == -?* ]]; then
            [[ $word == --root=* ]] && root=("$word")
            if [[ $word == -- ]]; then
                literal=1
            elif [[ $word != *=* && " $valued " == *" $word "* ]]; then
                [[ $word == --root ]] && root=(--root "${words[number + 1]}")
                ((number++))
                ((number == ${#words[@]} - 1)) && prev=$word
            fi
        elif [[ -z $verb || $verb == manifest || $verb == source ]]; then
            if [[ $verb == "" && ($word == manifest || $word == source) ]]; then
                verb=$word
            else
                __buildlib_verb "${verb:+$verb }$word"
                [[ -n $verb ]] || return 0
            fi
        else
            ((taken++))
        fi
    done
    if [[ $cur == --*=* ]]; then
        prev=${cur%%=*} cur=${cur#*=}
    fi
    if [[ -n $prev ]]; then
        wanted=$(__buildlib_choices "$verb $prev")
        if [[ " $paths " == *" $prev "* ]]; then
            compopt -o filenames 2>/dev/null
            COMPREPLY=($(compgen -f -- "$cur"))
        else
            COMPREPLY=($(compgen -W "$wanted" -- "$cur"))
        fi
    elif [[ -z $literal && $cur == -* ]]; then
        COMPREPLY=($(compgen -W "$flags" -- "$cur"))
    elif [[ -z $verb ]]; then
        COMPREPLY=($(compgen -W "@VERBS@" -- "$cur"))
    elif [[ $verb == manifest || $verb == source ]]; then
        case $verb in
        manifest) COMPREPLY=($(compgen -W "@MANIFEST@" -- "$cur")) ;;
        source) COMPREPLY=($(compgen -W "@SOURCE@" -- "$cur")) ;;
        esac
    else
        kinds=($kinds)
        ((taken >= ${#kinds[@]})) && taken=$((${#kinds[@]} - 1))
        ((taken < 0)) && return 0
        case ${kinds[taken]} in
        file)
            compopt -o filenames 2>/dev/null
            COMPREPLY=($(compgen -f -- "$cur"))
            ;;
        none) ;;
        *) COMPREPLY=($(compgen -W "$(__buildlib_names "${kinds[taken]}" "${root[@]}")" -- "$cur")) ;;
        esac
    fi
    # Readline replaces what follows the last ":" or "=" only.
    local whole=${words[-1]} last=${COMP_WORDS[COMP_CWORD]}
    if [[ $cur == *:* && $COMP_WORDBREAKS == *:* ]]; then
        local head=${cur%"${cur##*:}"}
        COMPREPLY=("${COMPREPLY[@]#"$head"}")
    fi
    [[ ${COMPREPLY[0]} == *: || ${COMPREPLY[0]} == *= ]] && compopt -o nospace 2>/dev/null
    return 0
}

complete -F _buildlib buildlib buildah
"""


def script(verbs: Sequence[Verb]) -> str:
    """The whole script."""
    root = type(verbs[0])("", "", example="")
    cases = [f'    "")\n{_words(root, "")}        ;;']
    values = {f" --{flag.name}": " ".join(choices(root, flag)) for flag in flags(root) if choices(root, flag)}
    for verb in verbs:
        names = "|".join(f'"{name}"' for name in (verb.name, *verb.aliases))
        cases.append(f"    {names})\n{_words(verb, verb.name)}        ;;")
        for flag in flags(verb):
            if flag.kind != "bool" and choices(verb, flag):
                values[f"{verb.name} --{flag.name}"] = " ".join(choices(verb, flag))
    found = {
        "@CASES@": "\n".join(cases),
        "@CHOICES@": "\n".join(f'    "{key}") echo "{words}" ;;' for key, words in values.items()),
        "@VERBS@": " ".join(_first(verbs)),
        "@MANIFEST@": _second(verbs, "manifest"),
        "@SOURCE@": _second(verbs, "source"),
    }
    text = _SCRIPT
    for name, value in found.items():
        text = text.replace(name, value)
    return text


def _first(verbs: Sequence[Verb]) -> list[str]:
    return sorted({name.split()[0] for verb in verbs for name in (verb.name, *verb.aliases)} | {"help"})


def _second(verbs: Sequence[Verb], group: str) -> str:
    return " ".join(verb.name.split()[1] for verb in verbs if verb.name.startswith(f"{group} "))


def _words(verb: Verb, name: str) -> str:
    offered = list(flags(verb))
    spelled = [word for flag in offered for word in (f"--{flag.name}", *([f"-{flag.short}"] if flag.short else []))]
    valued = [
        word
        for flag in offered
        if takes_value(flag)
        for word in (f"--{flag.name}", *([f"-{flag.short}"] if flag.short else []))
    ]
    fields = {
        "verb": name,
        "flags": " ".join([*spelled, "--help"]),
        "valued": " ".join(valued),
        "paths": " ".join(f"--{flag.name}" for flag in offered if is_path(flag)),
        "kinds": " ".join(positionals(verb)),
    }
    return "".join(f'        {key}="{value}"\n' for key, value in fields.items())

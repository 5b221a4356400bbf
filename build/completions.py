"""The completion of bash and zsh, from the parser of the command line: python build/completions.py bash|zsh >FILE

Nouns, verbs, options, their choices and the keys of `--filter` come from the parser. Names of networks, endpoints,
sandboxes and nodes are read from the program when one is completed. Paths are those of files, commands those of PATH.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from cni_cnm import cli
from cni_cnm.drivers import drivers
from cni_cnm.ipam import ipams

BOTH = """\
# completion for cni-cnm, made from its parser

_cni_cnm_kind() {{  # KIND PROGRAM: what there is of it
    case "$1" in
    network) "$2" network ls --format '{{{{.Name}}}}' 2>/dev/null ;;
    endpoint | sandbox) "$2" endpoint ls --format '{{{{.ID}}}} {{{{.Container}}}}' 2>/dev/null ;;
    node) "$2" node ls --quiet 2>/dev/null ;;
    path | command) echo "@$1" ;;
    words:*) echo "${{1#words:}}" ;;
    esac
}}

_cni_cnm_offered() {{  # PROGRAM WORD...: what may stand in place of the last word, a line each; @path, @command
    [ -z "${{ZSH_VERSION-}}" ] || emulate -L sh
    local program=$1 place='' option='' count=0 texts='' kinds='' last='' value='' here='' flags='' others=''
    shift
    while :; do
        case "$place" in
{paths}
        esac
        [ "$#" -gt 1 ] || break
        here=$1
        shift
        if [ "$option" ]; then option=''; continue; fi
        case "$place $here" in
        {known}) place="$place $here" ;;
        *" --") count=$((count + 1)) texts='' ;;
        *" =" | {valued}) option=$here ;;
        *" -"*) ;;
        *) count=$((count + 1)) ;;
        esac
    done
    if [ "$option" ]; then
        case "$place $option" in
{values}
        esac
        texts=''
    else
        [ "$count" = 0 ] || [ "$kinds$last" != none ] || texts=''  # nothing may stand there
        value=$last
        for here in $kinds; do
            [ "$count" -gt 0 ] || {{ value=$here; break; }}
            count=$((count - 1))
        done
    fi
    case "$1" in
    -*) ;;
    *) texts="$texts $(_cni_cnm_kind "$(echo "$value" | tr + ' ')" "$program")" ;;
    esac
    for here in $texts; do
        case "$here" in
        @*) others="$others $here" ;;
        "$1"*) case "$here" in -*) flags="$flags $here" ;; *) others="$others $here" ;; esac ;;
        esac
    done
    # Options are offered for a dash, or where nothing else is.
    for here in ${{others:-$flags}}; do echo "$here"; done
}}
"""
BASH = """
_cni_cnm() {
    local word=${COMP_WORDS[COMP_CWORD]} one
    COMPREPLY=()
    while IFS= read -r one; do
        case "$one" in
        @path) mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -f -- "$word") ;;
        @command) mapfile -t -O "${#COMPREPLY[@]}" COMPREPLY < <(compgen -c -- "$word") ;;
        *) COMPREPLY+=("$one") ;;
        esac
    done < <(_cni_cnm_offered "${COMP_WORDS[@]:0:COMP_CWORD+1}")
    case "${COMPREPLY[0]-}" in *=) compopt -o nospace 2>/dev/null ;; esac
    return 0
}

complete -F _cni_cnm cni-cnm
"""
ZSH = """
_cni_cnm() {
    local one
    for one in ${(f)"$(_cni_cnm_offered "${(@)words[1,CURRENT]}")"}; do
        case "$one" in
        @path) _files ;;
        @command) _command_names -e ;;
        *=) compadd -S '' -- "$one" ;;
        *) compadd -- "$one" ;;
        esac
    done
}

_cni_cnm
"""
KINDS = {
    **{name: name for name in ("network", "endpoint", "sandbox", "node", "command")},
    "other": "network",
    "container": "endpoint",
    "what": "endpoint",
    "to": "endpoint",
    "file": "path",
}
"""Names of arguments to what they are."""
WORDS = {"driver": [*drivers], "ipam": [*filter(None, ipams)], "format": ["json", "table"]}
"""Options with a few well-known values among others."""


def script(shell: str) -> str:
    """The whole completion file of `bash` or `zsh`."""
    paths: list[str] = []
    known: list[str] = []
    valued: list[str] = []
    values: list[str] = []
    for path, parser in _parsers("", cli._parser()):  # noqa: SLF001
        if path:
            known.append(f'"{path}"')
        places = [action for action in parser._actions if not action.option_strings and not _children_of(action)]  # noqa: SLF001
        flags = [flag for action in parser._actions for flag in action.option_strings]  # noqa: SLF001
        words = " ".join([*(name for name, _ in _children(parser)), *flags])
        kinds = [_kind(action) for action in places]
        last = kinds[-1] if places and places[-1].nargs in ("+", "*") else "none"
        paths.append(f'        "{path}") texts="{words}" kinds="{" ".join(kinds)}" last={last} ;;')
        for action in parser._actions:  # noqa: SLF001
            if action.option_strings and action.nargs != 0:
                patterns = " | ".join(f'"{path} {flag}"' for flag in action.option_strings)
                valued.append(patterns)
                values.append(f"        {patterns}) value={_kind(action)} ;;")
    both = BOTH.format(
        paths="\n".join(paths), known=" | ".join(known), valued=" | ".join(valued), values="\n".join(values)
    )
    return both + BASH if shell == "bash" else f"#compdef cni-cnm\n{both}{ZSH}"


def _kind(action: argparse.Action) -> str:
    """What a value of it is. `words:` has the words themselves, with + between them."""
    if keys := getattr(action, "filter_keys", ()):
        return f"words:{'+'.join(f'{key}=' for key in keys)}"
    words = action.choices or WORDS.get(action.dest)
    if words:
        return f"words:{'+'.join(map(str, words))}"
    return "path" if action.metavar == "PATH" else KINDS.get(action.dest, "none")


def _parsers(path: str, parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Each parser with the words that lead to it, each with a blank before it."""
    yield path, parser
    for name, child in _children(parser):
        yield from _parsers(f"{path} {name}", child)


def _children(parser: argparse.ArgumentParser) -> list[tuple[str, argparse.ArgumentParser]]:
    return [pair for action in parser._actions for pair in _children_of(action)]  # noqa: SLF001


def _children_of(action: argparse.Action) -> list[tuple[str, argparse.ArgumentParser]]:
    return list(action.choices.items()) if isinstance(action, argparse._SubParsersAction) else []  # noqa: SLF001


if __name__ == "__main__":
    sys.stdout.write(script(sys.argv[1]))

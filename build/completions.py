"""The completion of bash, from the parser of the command line: python build/completions.py >FILE

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

TEMPLATE = """\
# bash completion for cni-cnm, made from its parser

_cni_cnm_kind() {{  # KIND PROGRAM WORD: what may stand there
    case "$1" in
    network) "$2" network ls --format '{{{{.Name}}}}' 2>/dev/null ;;
    endpoint | sandbox) "$2" endpoint ls --format '{{{{.ID}}}} {{{{.Container}}}}' 2>/dev/null ;;
    node) "$2" node ls --quiet 2>/dev/null ;;
    path) compgen -f -- "$3" ;;
    command) compgen -c -- "$3" ;;
    words:*) echo "${{1#words:}}" ;;
    esac
}}

_cni_cnm() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} program=${{COMP_WORDS[0]}} path='' index here count=0 option=''
    local words='' kinds='' last='' value=''
    local options=() others=()
    COMPREPLY=()
    for ((index = 1; index <= COMP_CWORD; index++)); do
        here=${{COMP_WORDS[index]}}
        case "$path" in
{paths}
        esac
        [ "$index" -lt "$COMP_CWORD" ] || break
        if [ "$option" ]; then option=''; continue; fi
        case "$path $here" in
        {known}) path="$path $here" ;;
        *" --") count=$((count + 1)) words='' ;;
        {valued}) option=$here ;;
        *" -"*) ;;
        *) count=$((count + 1)) ;;
        esac
    done
    if [ "$option" ]; then
        case "$path $option" in
{values}
        esac
        words=''
    else
        [ "$count" = 0 ] || [ "$kinds$last" != none ] || words=''  # nothing may stand there
        value=$last
        for here in $kinds; do
            [ "$count" -gt 0 ] || {{ value=$here; break; }}
            count=$((count - 1))
        done
    fi
    case "$value" in
    path | command) mapfile -t COMPREPLY < <(_cni_cnm_kind "$value" "$program" "$word"); [ "$words" ] || return 0 ;;
    *) words="$words $(_cni_cnm_kind "${{value//+/ }}" "$program" "$word")" ;;
    esac
    mapfile -t -O "${{#COMPREPLY[@]}}" COMPREPLY < <(compgen -W "$words" -- "$word")
    if [ "${{word#-}}" = "$word" ]; then  # options are offered for a dash, or where nothing else is
        for index in "${{!COMPREPLY[@]}}"; do
            here=${{COMPREPLY[index]}}
            case "$here" in -*) options+=("$here") ;; *) others+=("$here") ;; esac
        done
        [ "${{#others[@]}}" = 0 ] && others=("${{options[@]}}")
        COMPREPLY=("${{others[@]}}")
    fi
    case "${{COMPREPLY[0]-}}" in *=) compopt -o nospace 2>/dev/null ;; esac
    return 0
}}

complete -F _cni_cnm cni-cnm
"""
KINDS = {
    **{name: name for name in ("network", "endpoint", "sandbox", "node", "command")},
    "other": "network",
    "container": "endpoint",
    "file": "path",
}
"""Names of arguments to what they are."""
WORDS = {"driver": [*drivers], "ipam": [*filter(None, ipams)], "format": ["json", "table"]}
"""Options with a few well-known values among others."""


def script() -> str:
    """The whole completion file."""
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
        paths.append(f'        "{path}") words="{words}" kinds="{" ".join(kinds)}" last={last} ;;')
        for action in parser._actions:  # noqa: SLF001
            if action.option_strings and action.nargs != 0:
                patterns = " | ".join(f'"{path} {flag}"' for flag in action.option_strings)
                valued.append(patterns)
                values.append(f"        {patterns}) value={_kind(action)} ;;")
    return TEMPLATE.format(
        paths="\n".join(paths), known=" | ".join(known), valued=" | ".join(valued), values="\n".join(values)
    )


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
    sys.stdout.write(script())

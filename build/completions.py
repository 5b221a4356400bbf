"""The completion of bash, from the parser of the command line: python build/completions.py >FILE

Nouns, verbs and options come from the parser. Names of networks and ids of endpoints are read from the program when one
is completed, and paths are those of files.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator

from cni_cnm import cli

TEMPLATE = """\
# bash completion for cni-cnm, made from its parser

_cni_cnm_listed() {{  # NOUN COLUMN: what the program lists
    "$1" "$2" ls 2>/dev/null | awk -v column="$3" 'NR > 1 {{ print $column }}'
}}

_cni_cnm() {{
    local word=${{COMP_WORDS[COMP_CWORD]}} before=${{COMP_WORDS[COMP_CWORD - 1]}} program=${{COMP_WORDS[0]}}
    local path='' index
    COMPREPLY=()
    for ((index = 1; index < COMP_CWORD; index++)); do
        case "$path ${{COMP_WORDS[index]}}" in
        {paths}) path="$path ${{COMP_WORDS[index]}}" ;;
        *) ;;
        esac
    done
    local words='' kind=''
    case "$path" in
{cases}
    esac
    case "$path $before" in
{values}
    esac
    case "$kind" in
    network) words="$words $(_cni_cnm_listed "$program" network 2)" ;;
    endpoint) words="$words $(_cni_cnm_listed "$program" endpoint 1)" ;;
    path) mapfile -t COMPREPLY < <(compgen -f -- "$word"); return ;;
    none) return ;;
    esac
    mapfile -t COMPREPLY < <(compgen -W "$words" -- "$word")
}}

complete -F _cni_cnm cni-cnm
"""
LISTED = {"network": "network", "other": "network", "endpoint": "endpoint"}
"""Names of arguments whose values the program lists, and the noun."""


def script() -> str:
    """The whole completion file."""
    paths: list[str] = []
    cases: list[str] = []
    values: list[str] = []
    for path, parser in _parsers("", cli._parser()):  # noqa: SLF001
        if path:
            paths.append(f'"{path}"')
        flags = [flag for action in parser._actions for flag in action.option_strings]  # noqa: SLF001
        kind = next((LISTED[a.dest] for a in parser._actions if not a.option_strings and a.dest in LISTED), "")  # noqa: SLF001
        words = " ".join([*(name for name, _ in _children(parser)), *flags])
        cases.append(f'    "{path}") words="{words}" kind={kind or "words"} ;;')
        for action in parser._actions:  # noqa: SLF001
            if action.option_strings and action.nargs != 0:
                patterns = " | ".join(f'"{path} {flag}"' for flag in action.option_strings)
                of = "path" if action.metavar == "PATH" else LISTED.get(action.dest, "none")
                values.append(f"    {patterns}) words='' kind={of} ;;")
    return TEMPLATE.format(paths=" | ".join(paths), cases="\n".join(cases), values="\n".join(values))


def _parsers(path: str, parser: argparse.ArgumentParser) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    """Each parser with the words that lead to it, each with a blank before it."""
    yield path, parser
    for name, child in _children(parser):
        yield from _parsers(f"{path} {name}", child)


def _children(parser: argparse.ArgumentParser) -> list[tuple[str, argparse.ArgumentParser]]:
    found = (action.choices for action in parser._actions if isinstance(action, argparse._SubParsersAction))  # noqa: SLF001
    return [pair for choices in found for pair in choices.items()]


if __name__ == "__main__":
    sys.stdout.write(script())

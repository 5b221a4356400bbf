"""The command line: a module for each noun of `NOUNS`, with `configure(nouns)`, which adds a parser for each verb.

A verb's parser names its function: `set_defaults(verb=…)`. The function gets the parsed arguments and returns the exit
code, None for 0. What lists declares its columns (listing.py). Results go to stdout, errors as one sentence to stderr.

    0     all was done                          3     the verb ends so by itself, such as doctor with findings
    1     an error                              11    the same command may work later
    2     the command line is not understood

Of several names, each that is wrong has its sentence, and the others are still served. CNI_CNM_DEBUG=1 shows a
traceback instead.
"""

from __future__ import annotations

import os
import sys

from cni_cnm import __version__
from cni_cnm.cni import names, versions

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

    from cni_cnm.cli.parser import Parser

NOUNS = (
    "network",
    "endpoint",
    "sandbox",
    "ipam",
    "port",
    "node",
    "conf",
    "doctor",
    "run",
    "exec",
    "graph",
    "watch",
    "probe",
    "drops",
    "explain",
    "repair",
    "gc",
    "adopt",
    "release",
    "support",
    "serve",
)


def run_command(argv: list[str]) -> int:
    if sys.stdout is None:  # closed by the caller: what is written is lost, and no file that is opened becomes it
        sys.stdout = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115
    try:
        code = _run(argv)
    except SystemExit as error:  # by argparse: --help, or a word that is wrong
        code = int(error.code or 0)
    return _written(code)


def _run(argv: list[str]) -> int:
    name = os.path.basename(argv[0])
    if name != "cni-cnm" and not name.startswith("__main__") and (len(argv) == 1 or names.of(name)):
        # Runtimes run a plugin without arguments to learn its version (the reference prints the same two lines).
        version = names.REFERENCE_VERSION if names.of(name) else f"v{__version__}"
        listed = ", ".join(versions.supported(name))
        sys.stderr.write(f"CNI {name} plugin {version}\nCNI protocol versions supported: {listed}\n")
        return 0
    parser = _parser([argv[1]] if argv[1:2] and argv[1] in NOUNS else NOUNS)
    arguments, unknown = parser.parse_known_args(argv[1:])
    if unknown:
        getattr(arguments, "parser", parser).refuse(unknown)
    if not hasattr(arguments, "verb"):
        parser.print_help(sys.stderr)
        return 2
    try:
        return int(arguments.verb(arguments) or 0)
    except Exception as error:
        if isinstance(error, BrokenPipeError) and _is_unread():
            from cni_cnm.frontend.stderr import say

            say("cni-cnm: the reader of the output has ended, so the command has ended, too")
            return 1
        from cni_cnm.errors import TryAgain
        from cni_cnm.frontend.reply import as_cnm_error
        from cni_cnm.frontend.stderr import say

        if os.environ.get("CNI_CNM_DEBUG"):
            raise
        shown = as_cnm_error(error)
        say(f"cni-cnm: {shown}")
        return TryAgain.code if isinstance(shown, TryAgain) else 1
    finally:
        _say_notes()


def _written(code: int) -> int:
    """Write what is left of the output. 1 instead of 0 if that fails: the command is not undone.

    No error if the reader has read enough, as `head` does.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        from cni_cnm.frontend.stderr import say

        enough = isinstance(error, BrokenPipeError) and _is_unread()
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # for the interpreter's end, which writes it once more
        if enough:
            return code
        if code == 0:
            say(f"cni-cnm: the command was carried out, but its output cannot be written: {error.strerror}")
        return code or 1
    return code


def _is_unread() -> bool:
    """Whether stdout is a pipe without a reader, as after `head`."""
    from select import poll

    waiting = poll()
    waiting.register(1, 0)
    return bool(waiting.poll(0))


def _say_notes() -> None:
    from cni_cnm.frontend.stderr import say
    from cni_cnm.state.record_reader import take_notes

    for sentence in take_notes():
        say(f"cni-cnm: {sentence}")


def _parser(chosen: Sequence[str] = NOUNS) -> Parser:
    """With the nouns that were chosen: loading the others takes longer than most commands."""
    from importlib import import_module

    from cni_cnm.cli.parser import Parser

    parser = Parser(
        prog="cni-cnm",
        description="Pod networking by the Container Network Model. With CNI_COMMAND in the environment this program "
        "is a CNI plugin; otherwise it is this command line.",
        epilog="Configuration: /etc/cni-cnm/config.toml. Full documentation: cni-cnm(8).",
    )
    parser.add_argument("-v", "--version", action="version", version=f"cni-cnm {__version__}")
    nouns = parser.add_subparsers(title="what", metavar="NOUN")
    for noun in chosen:
        import_module(f"cni_cnm.cli.{noun}").configure(nouns)
    _complete(parser, "")
    return parser


def _complete(parser: argparse.ArgumentParser, path: str) -> None:
    """Add examples, and to the parsed arguments the parser of their verb: its usage is shown where they are wrong."""
    from cni_cnm.cli import examples

    parser.formatter_class = examples.Formatter
    parser.epilog = examples.epilog(path, parser.epilog)
    for action in parser._actions:  # noqa: SLF001
        for name, child in action.choices.items() if isinstance(action.choices, dict) else ():
            child.set_defaults(parser=child)
            _complete(child, f"{path} {name}".lstrip())

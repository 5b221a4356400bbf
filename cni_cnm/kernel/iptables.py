"""The host's iptables, for what other programs keep there. Our own rules are nftables (nft.py).

Whichever backend the host's `iptables` has (legacy or nf_tables) is the one those programs use, too.
"""

from __future__ import annotations

from subprocess import DEVNULL, PIPE, Popen, TimeoutExpired

from cni_cnm.child_output import OutputTooLong, communicate
from cni_cnm.errors import IoFailed
from cni_cnm.waiting import waiting

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

PATH = {"PATH": "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin", "LANG": "C"}
TIMEOUT_S = 20
OUTPUT_MAX = 64 << 20
"""Bytes. A hundred thousand rules have about 12 MiB."""
FAMILIES = ("iptables", "ip6tables")


def rewrite(family: str, change: Callable[[str], str], table: str = "") -> bool:
    """Read all tables of `family` (of FAMILIES, or its legacy program) or one, let `change` write a script, run it.

    False if the family's programs are not there, or there was nothing to change. IoFailed with iptables' own words.
    """
    saved = save(family, table)
    script = change(saved) if saved else ""
    if not script:
        return False
    restore(family, script)
    return True


def save(family: str, table: str = "") -> str:
    """What the program prints of all tables, or of one; "" where it is not installed. IoFailed as above."""
    return _call([f"{family}-save", *(("-t", table) if table else ())], None) or ""


def restore(family: str, script: str) -> bool:
    """Let the program do what the script says, beside what is there. False: it is not installed. IoFailed as above."""
    return _call([f"{family}-restore", "--noflush", "--wait", "5"], script) is not None


def _call(command: list[str], stdin: str | None) -> str | None:
    """What the command prints; None if it is not installed."""
    try:
        code, out, err = execute(command, stdin)
    except FileNotFoundError:
        return None
    except OutputTooLong as error:
        raise IoFailed(f"{command[0]} printed {error}", hint="are there that many rules?") from error
    except TimeoutExpired as error:
        raise IoFailed(
            f"{command[0]} did not finish in {TIMEOUT_S} s", hint="does another program hold its lock?"
        ) from error
    if code:
        raise IoFailed(f"{command[0]} failed: {err.strip()}")
    return out


def execute(command: list[str], stdin: str | None = None) -> tuple[int, str, str]:
    """Exit code, stdout and stderr. FileNotFoundError, OutputTooLong, TimeoutExpired."""
    source = DEVNULL if stdin is None else PIPE
    with waiting(), Popen(command, stdin=source, stdout=PIPE, stderr=PIPE, env=PATH) as child:
        try:
            sent = (stdin or "").encode(errors="surrogateescape")
            out, err = communicate(child, sent, TIMEOUT_S, OUTPUT_MAX)
        except BaseException:
            child.kill()
            raise
    return child.returncode, out.decode(errors="surrogateescape"), err.decode(errors="surrogateescape")

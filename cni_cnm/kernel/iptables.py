"""The host's iptables, for what other programs keep there. Our own rules are nftables (nft.py).

Whichever backend the host's `iptables` has (legacy or nf_tables) is the one those programs use, too.
"""

from __future__ import annotations

from subprocess import DEVNULL, TimeoutExpired, run

from cni_cnm.errors import IoFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

PATH = {"PATH": "/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin", "LANG": "C"}
TIMEOUT_S = 20
FAMILIES = ("iptables", "ip6tables")
_LEGACY = {"iptables": "ip_tables_names", "ip6tables": "ip6_tables_names"}


def variants() -> list[str]:
    """Both families by the host's default backend, and by the legacy one too where something uses that."""
    return [*FAMILIES, *(f"{family}-legacy" for family, names in _LEGACY.items() if "filter" in _lines(names))]


def _lines(name: str) -> list[str]:
    try:
        with open(f"/proc/thread-self/net/{name}") as file:
            return file.read().split()
    except OSError:
        return []


def rewrite(family: str, change: Callable[[str], str], table: str = "") -> bool:
    """Read all tables of `family` (of FAMILIES or `variants`) or one, let `change` write a script of changes, run it.

    False if the family's programs are not there, or there was nothing to change. IoFailed with iptables' own words.
    """
    saved = _call([f"{family}-save", *(("-t", table) if table else ())], None)
    script = change(saved) if saved else ""
    if not script:
        return False
    _call([f"{family}-restore", "--noflush", "--wait", "5"], script)
    return True


def _call(command: list[str], stdin: str | None) -> str:
    try:
        done = run(
            command, input=stdin, stdin=DEVNULL if stdin is None else None, capture_output=True, text=True,
            env=PATH, timeout=TIMEOUT_S, check=False,
        )  # fmt: skip
    except FileNotFoundError:
        return ""
    except TimeoutExpired as error:
        raise IoFailed(
            f"{command[0]} did not finish in {TIMEOUT_S} s", hint="does another program hold its lock?"
        ) from error
    if done.returncode:
        raise IoFailed(f"{command[0]} failed: {done.stderr.strip()}")
    return done.stdout

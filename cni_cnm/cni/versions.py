"""CNI specification versions: which are supported, which verbs each allows, and the answer to VERSION.

Imports nothing, because VERSION must cost nothing.
"""

from __future__ import annotations

SUPPORTED = ("0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
UNSTATED = "0.1.0"
"""Of a configuration without `cniVersion` (SPEC 0.1.0 did not have the key)."""

SINCE = {"CHECK": "0.4.0", "GC": "1.1.0", "STATUS": "1.1.0"}
"""First version of the verbs that are not in all of them."""

PER_FAMILY, VERSIONED, PLAIN = range(3)
"""Shapes of a result: `ip4`/`ip6`; `ips` with `version`; `ips` without."""


_FIRST = {"bandwidth": "0.3.0", "firewall": "0.4.0"}
"""Of plugins that this program stands in for (cni/names/): the first version that the reference plugin supports."""
LATER = tuple(_FIRST)


def supported(name: str = "") -> tuple[str, ...]:
    """The versions that the plugin of that name supports."""
    return SUPPORTED[SUPPORTED.index(_FIRST.get(name, UNSTATED)) :]


def answer(name: str = "") -> str:
    """The answer to VERSION: one compact line."""
    listed = ",".join(f'"{version}"' for version in supported(name))
    return f'{{"cniVersion":"{SUPPORTED[-1]}","supportedVersions":[{listed}]}}\n'


def require(verb: str, version: str, name: str = "") -> None:
    """IncompatibleVersion if `version` is not supported or does not have `verb`."""
    from cni_cnm.errors import IncompatibleVersion

    if version not in supported(name):
        raise IncompatibleVersion(
            f"incompatible CNI versions: config is {version[:40]!r}, plugin supports {', '.join(supported(name))}",
            hint="set cniVersion to one of them",
        )
    since = SINCE.get(verb, UNSTATED)
    if SUPPORTED.index(version) < SUPPORTED.index(since):
        raise IncompatibleVersion(
            f"config version does not allow {verb}: cniVersion is {version}, {verb} exists since {since}",
            hint=f"set cniVersion to {since} or later",
        )


def shape(version: str) -> int:
    """PER_FAMILY, VERSIONED or PLAIN; results of one shape differ in their version string only."""
    index = SUPPORTED.index(version)
    if index < SUPPORTED.index("0.3.0"):
        return PER_FAMILY
    return VERSIONED if index < SUPPORTED.index("1.0.0") else PLAIN

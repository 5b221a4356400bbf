"""Sysctls and link attributes of a container's interface, with the keys of the reference `tuning` plugin.

Only sysctls under `net`, and of those only what /etc/cni/tuning/allowlist.conf allows. Each line of that file is a
regular expression, which is searched in the key as the configuration has it. Without the file all are allowed.
"""

from __future__ import annotations

import errno

from cni_cnm.errors import CheckFailed, DriverFailed, InvalidConfig, IoFailed, KernelError
from cni_cnm.fields import Fields
from cni_cnm.model import Tuning

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from re import Pattern

    from cni_cnm.kernel import Link, Stack
    from cni_cnm.model import Json

ALLOWLIST = "/etc/cni/tuning/allowlist.conf"
KEYS = ("sysctl", "mac", "promisc", "mtu", "allmulti", "txQLen")
_VALUE_BYTES = 4095
"""proc_sys keeps a value within a page."""
_WRITE_ONLY = (errno.EACCES, errno.EPERM, errno.EINVAL, errno.EIO)
"""Errors of reading a key that can only be written (net/ipv4/route/flush) or is not set yet (stable_secret)."""
_U32 = 0xFFFFFFFF
_EXAMPLE = "keys look like net.ipv4.conf.IFNAME.arp_ignore"


def parse(
    block: Mapping[str, Json] | None,
    arguments: Mapping[str, Json] | None,
    ifname: str,
    *,
    mac: str = "",
    allowlist: str = ALLOWLIST,
) -> Tuning | None:
    """What `block` requests, overridden by `arguments` (args.cni). None without a block: arguments alone tune nothing.

    Both objects are as written, because IFNAME in sysctl keys is recognised by its capitals. Their own keys may be in
    any case. The MAC is that of args.cni, else `mac` (the runtime's: CNI_ARGS, then runtimeConfig), else the block's.
    InvalidConfig for every value that is certain to fail.
    """
    if block is None:
        return None
    configured, from_args = Fields(block, "tuning.", words=True), Fields(arguments, "args.cni.", words=True)

    def given(key: str) -> Fields | None:
        return next((fields for fields in (from_args, configured) if key in fields), None)

    mtu, promisc, allmulti, queue = (given(key) for key in ("mtu", "promisc", "allmulti", "txQLen"))
    return Tuning(
        _sysctls((configured, from_args), ifname, allowlist),
        from_args.mac("mac") or mac or configured.mac("mac") or None,
        (mtu.whole("mtu", 0, 0, 65536) if mtu else 0) or None,
        promisc.flag("promisc") if promisc else None,
        allmulti.flag("allmulti") if allmulti else None,
        queue.whole("txQLen", 0, 0, _U32) if queue else None,
    )


def refuse_repeated(document: bytes) -> None:
    """InvalidConfig if an object called `sysctl` has a key twice: JSON decoders keep only one of the two.

    `document` is valid JSON. The call is needed only if `b'sysctl' in document.lower()`.
    """
    import json

    def refuse(pairs: list[tuple[str, Json]]) -> tuple[tuple[str, Json], ...]:
        for name, value in pairs:
            if name.lower() == "sysctl" and isinstance(value, tuple):  # an object; lists stay lists
                seen = set()
                for key, _ in value:
                    if key in seen:
                        raise InvalidConfig(f"the sysctl {key} is given twice", hint="keep one of them")
                    seen.add(key)
        return tuple(pairs)

    json.loads(document, object_pairs_hook=refuse)


def current(stack: Stack, ifname: str, tuning: Tuning) -> Tuning:
    """The present values of what `tuning` will change, for `restore`."""
    before = ((key, _before(stack, key)) for key, _ in tuning.sysctls)
    changed = _attributes(tuning)
    link = _require(stack, ifname) if changed else None
    attributes = {key: getattr(link, key) for key in changed}
    return Tuning(tuple((key, value) for key, value in before if value is not None), **attributes)


def apply(stack: Stack, ifname: str, tuning: Tuning) -> Link:
    """Write the sysctls in their order, then the link's attributes in one request. Returns the link as it is then."""
    link = _require(stack, ifname)
    stack.set_sysctls(tuning.sysctls)
    attributes = _attributes(tuning)
    if not attributes:
        return link
    stack.set_link(link.ifindex, **attributes)
    return _require(stack, ifname)


def restore(stack: Stack, ifname: str, before: Tuning) -> None:
    """Write back what `current` returned, on an interface that stays. No error if the link or a sysctl is gone."""
    link = stack.link(ifname)
    if link is None:
        return
    attributes = _attributes(before)
    try:
        if attributes:
            stack.set_link(link.ifindex, **attributes)
    except KernelError as error:
        if error.errno != errno.ENODEV:
            raise
    stack.set_sysctls(before.sysctls, tolerate=True)


def check(stack: Stack, ifname: str, tuning: Tuning) -> None:
    """CheckFailed naming the first value that differs. What `tuning` leaves out is not compared."""
    link = stack.link(ifname)
    if link is None:
        raise CheckFailed(f"the container's interface {ifname} is missing")
    for key, wanted in _attributes(tuning).items():
        found = getattr(link, key)
        if found != wanted:
            raise CheckFailed(f"{ifname} has {key} {found}, it was given {wanted}")
    for key, value in tuning.sysctls:
        try:
            text = stack.sysctl(key)
        except KernelError as error:
            if error.errno in _WRITE_ONLY:
                continue
            raise
        if text is None:
            raise CheckFailed(f"the sysctl {key} is missing, it was set to {value!r}")
        if text.split() != value.split():
            raise CheckFailed(f"the sysctl {key} is {text!r}, it was set to {value!r}")


def _attributes(tuning: Tuning) -> dict[str, Json]:
    """The link attributes that are set, by their names in `Link` and in `Stack.set_link`."""
    return {key: value for key, value in tuning._asdict().items() if key != "sysctls" and value is not None}


def _require(stack: Stack, ifname: str) -> Link:
    link = stack.link(ifname)
    if link is None:
        raise DriverFailed(f"the container's interface {ifname} to be tuned is missing")
    return link


def _before(stack: Stack, key: str) -> str | None:
    """The key's value; None if it cannot be read, so that there is nothing to restore."""
    try:
        return stack.sysctl(key)
    except KernelError as error:
        if error.errno in _WRITE_ONLY:
            return None
        raise


def _sysctls(sources: tuple[Fields, ...], ifname: str, allowlist: str) -> tuple[tuple[str, str], ...]:
    """Path and value of each sysctl. A later source replaces what an earlier one has for the same path."""
    found: dict[str, str] = {}
    allowed = _allowed(allowlist) if any(source.mapping("sysctl") for source in sources) else None
    for source in sources:
        here: dict[str, str] = {}
        for key, value in source.mapping("sysctl").items():
            path = _path(key, ifname)
            if path in here:
                raise InvalidConfig(f"{source.name('sysctl')} has {here[path]} and {key}, which are the same")
            if allowed is not None and not any(pattern.search(key) for pattern in allowed):
                patterns = ", ".join(pattern.pattern for pattern in allowed) or "none"
                raise InvalidConfig(f"the sysctl {key} is not allowed here", hint=f"{allowlist} allows {patterns}")
            here[path] = key
            found[path] = _value(key, value)
    return tuple(found.items())


def _path(key: str, ifname: str) -> str:
    """sysctl(8)'s rule: the first `.` or `/` is the separator; the other one stands for a dot in a name."""
    first = min((key.find(sign), sign) for sign in "./" if sign in key)[1] if set("./") & set(key) else ""
    path = key.translate(str.maketrans("./", "/.")) if first == "." else key
    parts = path.split("/")
    good = len(parts) > 1 and parts[0] == "net" and all(parts) and not {".", ".."} & set(parts)
    if not good or not path.isprintable() or " " in path:
        raise InvalidConfig(f"the sysctl {key!r} is not a network sysctl", hint=_EXAMPLE)
    return path.replace("IFNAME", ifname, 1)


def _value(key: str, value: Json) -> str:
    """A string, or a whole number. A boolean is refused."""
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str):
        raise InvalidConfig(f"the sysctl {key} is {value!r}, it must be a string")
    if not text.strip() or len(text.encode()) > _VALUE_BYTES or not text.replace("\t", "").isprintable():
        raise InvalidConfig(
            f"the sysctl {key} cannot be {text[:80]!r}", hint="use one line of printable text, at most 4095 bytes"
        )
    return text


def _allowed(path: str) -> list[Pattern[str]] | None:
    """The patterns of the allow-list. None: there is no list, and every sysctl is allowed."""
    import re

    from cni_cnm import text_file

    try:
        lines = [line.strip() for line in text_file.read(path).decode().split("\n")]
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise IoFailed(f"the list of allowed sysctls {path} cannot be read: {error}") from error
    patterns = []
    for number, line in enumerate(lines, 1):
        try:
            patterns += [re.compile(line)] if line else []
        except re.error as error:
            raise InvalidConfig(f"line {number} of {path} is no regular expression: {error}") from error
    return patterns

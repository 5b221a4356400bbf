"""NetworkManager and systemd-networkd, which may take our links for their own."""

from __future__ import annotations

import os
from configparser import ConfigParser, Error
from fnmatch import fnmatchcase

from cni_cnm.doctor.commands import command
from cni_cnm.doctor.finding import Finding

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.doctor.picture import Picture

_NETWORKD = ("/etc/systemd/network", "/run/systemd/network", "/usr/lib/systemd/network", "/lib/systemd/network")
_NM = (
    "/etc/NetworkManager",
    "/etc/NetworkManager/conf.d",
    "/run/NetworkManager/conf.d",
    "/usr/lib/NetworkManager/conf.d",
)
_WHY = "It may take a container's link off its bridge, or give our bridge other addresses."


def look(picture: Picture) -> Iterator[Finding]:
    names = sorted({network.policy.bridge for network in picture.used_networks if network.policy.bridge})
    names = [*names, *(["veth00000000"] if names else [])]
    if names and os.path.exists("/run/systemd/netif"):
        yield from _networkd(names)
    if names and os.path.exists("/run/NetworkManager"):
        yield from _network_manager(names)


def _networkd(names: list[str]) -> Iterator[Finding]:
    """The first file that matches a link decides, in the order of the files' names, whatever folder they are in."""
    files: dict[str, str] = {}
    for folder in _NETWORKD:
        for file in _files(folder, ".network"):
            files.setdefault(file, f"{folder}/{file}")
    for name in names:
        deciding = next((path for _, path in sorted(files.items()) if _matches(_read(path), name)), "")
        if not deciding or _read(deciding).get("Link", "Unmanaged", fallback="no").lower() in (
            "yes",
            "true",
            "1",
        ):
            continue
        pattern, place = _pattern(name), f"/etc/systemd/network/05-cni-cnm-{_pattern(name).rstrip('*')}.network"
        text = rf"[Match]\nName={pattern}\n\n[Link]\nUnmanaged=yes\n"
        yield Finding(
            f"systemd-networkd manages {pattern}: {deciding} matches it",
            _WHY,
            (f"{command('printf', text)} > {command(place)}", command("networkctl", "reload")),
            about=name,
        )


def _network_manager(names: list[str]) -> Iterator[Finding]:
    patterns = []
    for folder in _NM:
        for file in _files(folder, ".conf"):
            parsed = _read(f"{folder}/{file}")
            for key in ("unmanaged-devices", "unmanaged-devices+"):
                patterns += parsed.get("keyfile", key, fallback="").replace(",", ";").split(";")
    wanted = {
        one.strip().removeprefix("interface-name:") for one in patterns if one.strip().startswith("interface-name:")
    }
    for name in names:
        if name.startswith("veth") or any(fnmatchcase(name, one) for one in wanted):
            continue  # its own udev rule leaves veths alone
        place = f"/etc/NetworkManager/conf.d/cni-cnm-{name}.conf"
        text = rf"[keyfile]\nunmanaged-devices+=interface-name:{name}\n"
        yield Finding(
            f"NetworkManager manages the bridge {name}",
            _WHY,
            (f"{command('printf', text)} > {command(place)}", command("nmcli", "general", "reload")),
            about=name,
        )


def _pattern(name: str) -> str:
    return "veth*" if name.startswith("veth") else name


def _files(folder: str, suffix: str) -> list[str]:
    try:
        return [name for name in os.listdir(folder) if name.endswith(suffix)]
    except OSError:
        return []


def _read(path: str) -> ConfigParser:
    parsed = ConfigParser(delimiters=("=",), strict=False, interpolation=None, allow_no_value=True)
    parsed.optionxform = str  # type: ignore[assignment,method-assign]  # keys have capitals
    try:
        parsed.read(path, encoding="utf-8")
    except (Error, OSError, UnicodeDecodeError):
        pass
    return parsed


def _matches(file: ConfigParser, name: str) -> bool:
    """By name or by kind: other conditions are taken as met only together with one of these."""
    names = file.get("Match", "Name", fallback="").split()
    kinds = file.get("Match", "Kind", fallback="").split()
    kind = "veth" if name.startswith("veth") else "bridge"
    by_name = not names or any(fnmatchcase(name, one) for one in names)
    by_kind = not kinds or kind in kinds
    others = set(file["Match"]) - {"Name", "Kind"} if file.has_section("Match") else {"none"}
    return bool(names or kinds) and by_name and by_kind and not others

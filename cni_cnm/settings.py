"""Settings of this host: where things are kept. One TOML file, every key optional, unknown keys refused.

run_dir = "/run/cni-cnm"                   records that a reboot voids, locks, the service's socket
state_dir = "/var/lib/cni-cnm"             networks
leases_dir = "/var/lib/cni/networks"       host-local's store, shared with the reference executable
log = "syslog"                             or the path of a file, or "none"
default_address_pools = [{base = "10.200.0.0/16", size = 24}]
"""

from __future__ import annotations

import os
from ipaddress import ip_network
from typing import Any, NamedTuple

from cni_cnm.errors import InvalidConfig, IoFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.model import IPNetwork, Json

PATH = "/etc/cni-cnm/config.toml"
ENVIRONMENT = "CNI_CNM_CONFIG"


class AddressPool(NamedTuple):
    """A block that subnets of prefix length `size` are cut from, for networks that name none."""

    base: IPNetwork
    size: int


class Settings(NamedTuple):
    run_dir: str = "/run/cni-cnm"
    state_dir: str = "/var/lib/cni-cnm"
    leases_dir: str = "/var/lib/cni/networks"
    log: str = "syslog"
    default_address_pools: tuple[AddressPool, ...] = ()
    """In order of preference; none: the built-in ones (ipam/pools.py)."""


def load(path: str = "") -> Settings:
    """The settings in `path`, else in the file CNI_CNM_CONFIG names, else in /etc/cni-cnm/config.toml.

    The last one may be missing. InvalidConfig names the file and the key; IoFailed if the file cannot be
    read.
    """
    path = path or os.environ.get(ENVIRONMENT, "")
    if not path and not os.path.exists(PATH):
        return Settings()
    path = path or PATH
    import tomllib

    try:
        with open(path, "rb") as file:
            raw = tomllib.load(file)
    except OSError as error:
        raise IoFailed(f"the settings {path} cannot be read: {error.strerror}") from error
    except ValueError as error:
        raise InvalidConfig(f"the settings {path} are no TOML: {error}") from error
    return Settings()._replace(**{key: _value(path, key, value) for key, value in raw.items()})


def _value(path: str, key: str, value: Json) -> Any:
    if key not in Settings._fields:
        raise InvalidConfig(
            f"the settings {path} have an unknown key {key!r}", hint=f"known: {', '.join(Settings._fields)}"
        )
    if key == "default_address_pools":
        if not isinstance(value, list) or not value:
            raise InvalidConfig(f"{key} in {path} must be a list of {{base, size}}")
        return tuple(_pool(f"{key}[{n}] in {path}", item) for n, item in enumerate(value))
    if not isinstance(value, str):
        raise InvalidConfig(f"{key} in {path} is {value!r}, it must be a string")
    if not os.path.isabs(value) and not (key == "log" and value in ("syslog", "none")):
        choices = "an absolute path, 'syslog' or 'none'" if key == "log" else "an absolute path"
        raise InvalidConfig(f"{key} in {path} is {value!r}, it must be {choices}")
    return value


def _pool(where: str, raw: Json) -> AddressPool:
    if not isinstance(raw, dict) or set(raw) != {"base", "size"}:
        raise InvalidConfig(f"{where} must have base and size and nothing else")
    size = raw["size"]
    if not isinstance(raw["base"], str):
        raise InvalidConfig(f"{where} has base {raw['base']!r}, it must be a network such as '10.200.0.0/16'")
    try:
        base = ip_network(raw["base"])
    except ValueError as error:
        raise InvalidConfig(f"{where} has base {raw['base']!r}: {error}") from error
    longest = base.max_prefixlen - 2
    if not isinstance(size, int) or isinstance(size, bool) or not base.prefixlen <= size <= longest:
        raise InvalidConfig(f"{where} has size {size!r}, it must be between {base.prefixlen} and {longest}")
    return AddressPool(base, size)

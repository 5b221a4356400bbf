"""Settings of this host: where state is kept. One TOML file; every key is optional, an unknown key is refused.

run_dir = "/run/cni-cnm"                   records that are void after a reboot, locks, the service's socket
state_dir = "/var/lib/cni-cnm"             records that are kept over reboots
leases_dir = "/var/lib/cni/networks"       host-local's leases, shared with the reference executable
log = "syslog"                             or "stderr", the path of a file, or "none"
log_format = "text"                        or "json"
metrics = "socket"                         or "off", or an address and port, such as "127.0.0.1:9477", as well
default_address_pools = [{base = "10.200.0.0/16", size = 24}]
port_wait = 5                              seconds, 0 to 30
linger = 60                                seconds, 0 to 3600
plugin_wait = 20                           seconds, 1 to 100
hold_ports = "docker"                      or "none"
docker_api = "auto"                        or "off", or the path of dockerd's socket

[cluster]                                  only on hosts of a cluster: cluster_settings.py
"""

from __future__ import annotations

import os
from _thread import _local

from cni_cnm import validate
from cni_cnm.errors import InvalidConfig, IoFailed, shown
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from cni_cnm.cluster_settings import ClusterSettings
    from cni_cnm.fields import Fields
    from cni_cnm.model import IPNetwork, Json

PATH = "/etc/cni-cnm/config.toml"
SERVICE_SOCKET = "/run/cni-cnm/service.sock"
ENVIRONMENT = "CNI_CNM_CONFIG"
_PORT_WAIT_MAX = 30
"""Less than a runtime waits for a plugin."""
_PLUGIN_WAIT_MAX = 100
_LINGER_MAX = 3600


class AddressPool(NamedTuple):
    """A block of addresses for networks without a subnet: each gets a part of it with prefix length `size`."""

    base: IPNetwork
    """The block."""
    size: int
    """Prefix length of each subnet."""


class Settings(NamedTuple):
    """Where things are kept on this host. Paths are absolute."""

    run_dir: str = "/run/cni-cnm"
    """Records that a reboot voids, locks, the service's socket."""
    state_dir: str = "/var/lib/cni-cnm"
    """Records that are kept over reboots: networks, pools of Docker's, addresses of IPAM plugins."""
    leases_dir: str = "/var/lib/cni/networks"
    """The IPAM host-local's store, shared with the reference executable."""
    log: str = "syslog"
    """Where a line for each request goes: `syslog`, `stderr`, `none` or a file's path."""
    default_address_pools: tuple[AddressPool, ...] = ()
    """In order of preference. Empty: the built-in ones (ipam/pools.py)."""
    port_wait: int = 5
    """Seconds that an ADD waits for a host port whose holder is leaving (cnm/endpoint/leaving_holder.py)."""
    linger: int = 60
    """Seconds that a service which a call has started stays without calls (cni/linger.py). 0: no call starts one."""
    plugin_wait: int = 20
    """Seconds that a call to a Docker plugin may take (docker_protocol/http.py)."""
    hold_ports: str = "docker"
    """`docker`: published ports of Docker's containers are refused to processes of the host; `none`: they are not."""
    docker_api: str = "auto"
    """Where Docker is asked which networks and containers it has: `auto` is /run/docker.sock, `off` nowhere."""
    cluster: ClusterSettings | None = None
    """None: this host belongs to no cluster."""
    log_format: str = "text"
    """`text` or `json` (frontend/request_log.py)."""
    metrics: str = "socket"
    """Where the service shows metrics: `off`; `socket`: RUN_DIR/metrics.sock; an address with a port: there as well."""


_opened = _local()
"""`settings` of the controller that the thread opened last."""
_opened_last = Settings()
"""Likewise, of any thread."""


def in_force() -> Settings:
    """For code that is handed no controller: those of the one that this thread opened last, else another thread.

    A worker of the service answers calls with other settings on several threads at once.
    """
    found: Settings = getattr(_opened, "settings", _opened_last)
    return found


def put_in_force(settings: Settings) -> Settings:
    """Called where a controller is opened. Returns the same."""
    global _opened_last  # noqa: PLW0603 - of the process
    _opened.settings = _opened_last = settings
    return settings


def resolve(settings: object) -> Settings:
    """The settings that a caller means: the value itself, the path of a file, or None for the host's own."""
    if isinstance(settings, Settings):
        return settings
    if settings is None:
        return load()
    path = os.fspath(settings) if isinstance(settings, str | os.PathLike) else ""
    if not isinstance(path, str) or not path or not path.isprintable():
        raise InvalidConfig(f"settings is {shown(settings)}, it must be a Settings or the path of a file")
    return load(path)


def load(path: str = "", *, cluster_needed: bool = True) -> Settings:
    """The settings in `path`, else in the file of the variable CNI_CNM_CONFIG, else in /etc/cni-cnm/config.toml.

    Only the last one may be missing. InvalidConfig names the file and the key; IoFailed if the file cannot be read.

    `cluster_needed` False is for a DEL, which needs the folders, and nothing of a cluster: a part [cluster] that is
    wrong is as if it were absent, but no service lingers.
    """
    path = path or os.environ.get(ENVIRONMENT, "")
    if not path and not os.path.exists(PATH):
        return Settings()
    path = path or PATH
    from cni_cnm import text_file

    try:
        text = text_file.read(path).decode()
        if not _has_values(text):
            return Settings()
        import tomllib

        raw = tomllib.loads(text)
    except OSError as error:
        raise IoFailed(f"the settings file {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidConfig(f"the settings file {path} is not UTF-8: {error.reason} at byte {error.start}") from error
    except ValueError as error:
        raise InvalidConfig(f"the settings file {path} is not TOML: {error}") from error
    return _parse(path, raw, cluster_needed)


def _has_values(text: str) -> bool:
    """False for comments alone, as packages install the file: a pod then does not pay for the parser."""
    return any(line.strip() and not line.lstrip().startswith("#") for line in text.splitlines())


def _parse(path: str, raw: Mapping[str, Json], cluster_needed: bool) -> Settings:
    from cni_cnm.fields import Fields

    fields = Fields(raw, f"{path}: ")
    fields.refuse_unknown(Settings._fields)
    pools = fields.objects("default_address_pools")
    if "default_address_pools" in fields and not pools:
        raise fields.wrong("default_address_pools", "a list of at least one {base, size}")
    texts: Mapping[str, Any] = {key: fields.required(key, parse) for key, parse in _TEXTS.items() if key in fields}
    found = Settings()._replace(
        **texts,
        default_address_pools=tuple(map(_pool, pools)),
        port_wait=fields.whole("port_wait", Settings().port_wait, 0, _PORT_WAIT_MAX),
        linger=fields.whole("linger", Settings().linger, 0, _LINGER_MAX),
        plugin_wait=fields.whole("plugin_wait", Settings().plugin_wait, 1, _PLUGIN_WAIT_MAX),
    )
    if "cluster" not in fields:
        return found
    try:
        from cni_cnm import cluster_settings

        return found._replace(cluster=cluster_settings.read(Fields(fields.raw("cluster"), f"{path}: cluster.")))
    except InvalidConfig:
        if cluster_needed:
            raise
        return found._replace(linger=0)


def _docker_api(text: str) -> str:
    if text not in ("auto", "off") and not os.path.isabs(text):
        raise ValueError("an absolute path, 'auto' or 'off'")
    return text


def _hold_ports(text: str) -> str:
    if text not in ("docker", "none"):
        raise ValueError("'docker' or 'none'")
    return text


def _log(text: str) -> str:
    if text not in ("syslog", "stderr", "none") and not os.path.isabs(text):
        raise ValueError("an absolute path, 'syslog', 'stderr' or 'none'")
    return text


def _log_format(text: str) -> str:
    if text not in ("text", "json"):
        raise ValueError("'text' or 'json'")
    return text


def _metrics(text: str) -> str:
    if text not in ("socket", "off"):
        address, _, port = text.rpartition(":")
        if (
            not port.isdecimal()
            or not 0 < int(port) < 1 << 16
            or not validate.accepts(validate.address, address.strip("[]"))
        ):
            raise ValueError("'socket', 'off', or an address and a port, such as '127.0.0.1:9477' or '[::1]:9477'")
    return text


_TEXTS = {
    "run_dir": validate.absolute_path,
    "state_dir": validate.absolute_path,
    "leases_dir": validate.absolute_path,
    "log": _log,
    "log_format": _log_format,
    "metrics": _metrics,
    "docker_api": _docker_api,
    "hold_ports": _hold_ports,
}


def _pool(fields: Fields) -> AddressPool:
    fields.refuse_unknown(AddressPool._fields)
    base = fields.required("base", validate.network)
    size = fields.whole("size", 0, base.prefixlen, base.max_prefixlen - 2)
    if "size" not in fields:
        raise InvalidConfig(f"{fields.name('size')} is missing")
    return AddressPool(base, size)

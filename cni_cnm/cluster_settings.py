"""Settings of the cluster that a host belongs to: the table [cluster] of the settings file.

store = "etcd"
endpoints = ["http://192.0.2.1:2379"]      several: the next one is asked if one does not answer
prefix = "/cni-cnm"                        of the keys
node = "node1"                             default: the variable NODE_NAME, else the host's name
address = "192.0.2.11"                     or a list, or a link; default: by the default routes
ca = "/etc/cni-cnm/etcd-ca.pem"            https: who signs the servers' certificates
cert = "/etc/cni-cnm/etcd.pem"             https: this host's certificate, and its key
key = "/etc/cni-cnm/etcd-key.pem"
username = "node1"                         etcd's user, and the file with its password
password_file = "/etc/cni-cnm/etcd-password"

On the nodes of a Kubernetes cluster, with `node` and `address` as above:

store = "kubernetes"
kubeconfig = "/etc/cni-cnm/kubeconfig"     default: the service account of the pod
network = "pods"                           the one network of the cluster
conflist = "/etc/cni/net.d/10-cni-cnm.conflist"   written when the data path stands; default: not written
subnets = ["10.244.0.0/16", "fd00:10:244::/56"]   podCIDRs outside of these are left out; default: none is
port = 4799                                UDP port of the VXLAN devices
direct = "auto"                            plain routes: "auto", "always" or "never"
"""

from __future__ import annotations

from cni_cnm import validate
from cni_cnm.errors import InvalidConfig, shown
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

    from cni_cnm.fields import Fields
    from cni_cnm.model import IPNetwork


class ClusterSettings(NamedTuple):
    """Where hosts keep what they agree on, and how this host is reached by others."""

    store: str
    """`etcd` or `kubernetes`."""
    endpoints: tuple[str, ...] = ()
    """etcd: URLs, http or https."""
    prefix: str = "/cni-cnm"
    """Of etcd's keys, without a slash at the end."""
    node: str = ""
    """Name of this host; "": the variable NODE_NAME, else the host's name."""
    address: tuple[str, ...] = ()
    """Underlay addresses, or one name of a link; empty: those of the links with the default routes."""
    ca: str = ""
    cert: str = ""
    key: str = ""
    """Files in PEM; "" for none."""
    username: str = ""
    password_file: str = ""
    kubeconfig: str = ""
    """Kubernetes: a file that says where the API is, and as whom to ask; "": the pod's service account."""
    network: str = "pods"
    """Kubernetes: name of the one network."""
    conflist: str = ""
    """Kubernetes: the CNI configuration that the agent writes when the data path stands; "": none."""
    subnets: tuple[IPNetwork, ...] = ()
    """Kubernetes: podCIDRs outside of these are left out; empty: none is. IPv4 first."""
    port: int = 4799
    """Kubernetes: UDP port of the VXLAN devices."""
    direct: str = "auto"
    """Kubernetes: `auto`, `always` or `never`; cluster/values.py has what they mean."""


def read(fields: Fields) -> ClusterSettings:
    """InvalidConfig names the key."""
    fields.refuse_unknown(ClusterSettings._fields)
    store = fields.parsed("store", _store)
    if not store:
        raise InvalidConfig(f"{fields.name('store')} is missing", hint="known: 'etcd' and 'kubernetes'")
    _refuse_other_stores(fields, store)
    texts: Mapping[str, Any] = {key: fields.required(key, parse) for key, parse in _TEXTS.items() if key in fields}
    address = (fields.text("address"),) if isinstance(fields.raw("address"), str) else fields.texts("address")
    found = ClusterSettings(store, fields.texts("endpoints"), address=address)._replace(**texts)
    return _kubernetes(fields, found) if store == "kubernetes" else _etcd(fields, found)


def _refuse_other_stores(fields: Fields, store: str) -> None:
    for other, keys in _KEYS_OF_STORES.items():
        for key in keys:
            if other != store and key in fields:
                raise InvalidConfig(f"{fields.name(key)} is of the store '{other}', and the store is '{store}'")


def _etcd(fields: Fields, found: ClusterSettings) -> ClusterSettings:
    if any("@" in text for text in found.endpoints):
        raise InvalidConfig(
            f"{fields.name('endpoints')} has a user or a password in a URL, and messages name the endpoints",
            hint="[cluster] has the keys username and password_file for that",
        )
    example = "such as 'https://192.0.2.1:2379'"
    if not found.endpoints:
        raise InvalidConfig(f"{fields.name('endpoints')} is missing", hint=f"a list of URLs, {example}")
    for number, endpoint in enumerate(found.endpoints):
        if not _is_url(endpoint):
            what = f"{fields.name('endpoints')}[{number}] is {shown(endpoint)}"
            raise InvalidConfig(f"{what}, it must be a URL, {example}")
    if bool(found.cert) != bool(found.key):
        raise InvalidConfig(f"{fields.name('cert')} and {fields.name('key')} belong together: one is missing")
    if bool(found.username) != bool(found.password_file):
        raise InvalidConfig(
            f"{fields.name('username')} and {fields.name('password_file')} belong together: one is missing"
        )
    return found


def _kubernetes(fields: Fields, found: ClusterSettings) -> ClusterSettings:
    given = [validate.require(validate.network, text, fields.name("subnets")) for text in fields.texts("subnets")]
    subnets = sorted(given, key=lambda each: each.version)
    if len({each.version for each in subnets}) != len(subnets) or ("subnets" in fields and not subnets):
        raise fields.wrong("subnets", "a list of one or two networks, at most one of each IP version")
    return found._replace(
        subnets=tuple(subnets),
        port=fields.whole("port", found.port, 1, 0xFFFF),
    )


def _is_url(text: str) -> bool:
    from urllib.parse import urlsplit

    try:
        parts = urlsplit(text)
        rest = parts.path.strip("/") + parts.query + parts.fragment
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0 and not rest
    except ValueError:
        return False


def _store(text: str) -> str:
    if text not in _KEYS_OF_STORES:
        raise ValueError("'etcd' or 'kubernetes'")
    return text


def _direct(text: str) -> str:
    if text not in ("auto", "always", "never"):
        raise ValueError("'auto', 'always' or 'never'")
    return text


def _prefix(text: str) -> str:
    if not text.startswith("/") or text.endswith("/") or not text.isprintable():
        raise ValueError("a path that begins with a slash and ends without one, such as '/cni-cnm'")
    return text


_KEYS_OF_STORES = {
    "etcd": ("endpoints", "prefix", "ca", "cert", "key", "username", "password_file"),
    "kubernetes": ("kubeconfig", "network", "conflist", "subnets", "port", "direct"),
}
_TEXTS: Mapping[str, Callable[[str], str]] = {
    "prefix": _prefix,
    "node": validate.network_name,
    "ca": validate.absolute_path,
    "cert": validate.absolute_path,
    "key": validate.absolute_path,
    "username": str,
    "password_file": validate.absolute_path,
    "kubeconfig": validate.absolute_path,
    "network": validate.network_name,
    "conflist": validate.absolute_path,
    "direct": _direct,
}

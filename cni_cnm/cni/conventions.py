"""What a runtime requests for one endpoint in addition to the configuration (CNI's CONVENTIONS document).

There are three ways, and a later one wins: CNI_ARGS, `args.cni`, `runtimeConfig`. Runtimes send CNI_ARGS with a `;` at
the end, with `=` inside a value, and with keys for other plugins: all of that is accepted.
"""

from __future__ import annotations

from cni_cnm import validate
from cni_cnm.errors import InvalidConfig, InvalidEnvironment, shown
from cni_cnm.fields import Fields, lowered
from cni_cnm.model import Dns, Pod
from cni_cnm.named_tuple import NamedTuple

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from cni_cnm.errors import CnmError
    from cni_cnm.model import IPAddress, IPInterface, Json, PortMapping

RUNTIME_KEYS = frozenset((
    "mac", "ips", "ipranges", "dns", "aliases", "portmappings", "bandwidth", "deviceid", "cgrouppath",
    "io.kubernetes.cri.pod-annotations",
))  # fmt: skip
"""`cgroupPath` and the annotations are facts about the pod, not requests."""

_POD = ("K8S_POD_NAME", "K8S_POD_NAMESPACE", "K8S_POD_UID")
"""Of CNI_ARGS, in the order of `Pod`."""
_ALIAS_BYTES = 253


class Requested(NamedTuple):
    """All that was requested, validated."""

    mac: str = ""
    runtime_mac: str = ""
    """The MAC without the configuration's own `mac`."""
    addresses: tuple[IPAddress | IPInterface, ...] = ()
    gateways: tuple[IPAddress, ...] = ()
    ranges: tuple[Json, ...] = ()
    """Range sets (lists of objects), keys lower-cased."""
    dns: Dns | None = None
    aliases: tuple[str, ...] = ()
    ports: tuple[PortMapping, ...] = ()
    pod: Pod = Pod()
    device_id: str = ""
    addresses_replace: bool = False
    """True: the addresses replace configured ones (`static`). Those of CNI_ARGS are added to them."""


def cni_args(text: str) -> dict[str, str]:
    """CNI_ARGS, `KEY=VALUE` joined by `;`. InvalidEnvironment for a piece without `=`."""
    pairs = {}
    for piece in text.split(";"):
        key, equals, value = piece.partition("=")
        if piece.strip() and not equals:
            raise InvalidEnvironment(f"CNI_ARGS has {piece[:80]!r}, which is no KEY=VALUE")
        pairs[key] = value
    return pairs


def pod(args: str) -> str:
    """`Pod.label` of what CNI_ARGS has."""
    pairs = dict(piece.partition("=")[::2] for piece in args.split(";"))
    return Pod(*[pairs.get(key, "") for key in _POD]).label


def requested(config: Fields, args: str) -> Requested:
    """`args` is CNI_ARGS. InvalidConfig or InvalidEnvironment names the value that is wrong."""
    environment = cni_args(args)
    configured = config.mac("mac")
    argued = _argued_mac(environment)
    given = Requested(
        mac=argued or configured,
        runtime_mac=argued,
        addresses=_addresses(_listed(environment.get("IP", "")), "CNI_ARGS IP", InvalidEnvironment),
        gateways=_gateways(environment.get("GATEWAY", "")),
        pod=Pod(*[environment.get(key, "") for key in _POD]),
    )
    if "args" in config:
        given = _with_interface(given, config.object("args").object("cni"))
    if "runtimeConfig" in config:
        runtime = config.object("runtimeConfig")
        given = given._replace(
            ranges=_ranges(runtime),
            dns=_dns(runtime.object("dns")),
            aliases=_aliases(runtime, config.text("name")),
            ports=_ports(runtime),
            device_id=runtime.parsed("deviceID", validate.device_id) or "",
        )
        given = _with_interface(given, runtime)
    return given


def argued_mac(args: str) -> str:
    """The MAC of CNI_ARGS alone."""
    return _argued_mac(cni_args(args))


def _argued_mac(environment: Mapping[str, str]) -> str:
    argued = environment.get("MAC", "")
    return validate.require(validate.mac, argued, "CNI_ARGS MAC", InvalidEnvironment) if argued else ""


def _with_interface(given: Requested, source: Fields) -> Requested:
    """With the MAC and the addresses of a later source, where it has some."""
    mac = source.mac("mac")
    addresses = _addresses(source.texts("ips"), source.name("ips"), InvalidConfig)
    given = given._replace(mac=mac or given.mac, runtime_mac=mac or given.runtime_mac)
    return given._replace(addresses=addresses, addresses_replace=True) if addresses else given


def _listed(text: str) -> Iterable[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _addresses(texts: Iterable[str], where: str, error: type[CnmError]) -> tuple[IPAddress | IPInterface, ...]:
    """Each `ADDRESS` or `ADDRESS/PREFIX`."""
    return tuple(validate.require(validate.address_or_interface, text, where, error) for text in texts)


def _gateways(text: str) -> tuple[IPAddress, ...]:
    texts = _listed(text)
    return tuple(validate.require(validate.address, one, "CNI_ARGS GATEWAY", InvalidEnvironment) for one in texts)


def _ranges(runtime: Fields) -> tuple[Json, ...]:
    """`ipRanges`: a list of range sets. go-cni sends a range in place of a set: it is read as a set of one."""
    sets = []
    for index, entry in enumerate(runtime.items("ipRanges")):
        where = f"{runtime.name('ipRanges')}[{index}]"
        members = [entry] if isinstance(entry, dict) else entry
        if not isinstance(members, list) or not members or not all(isinstance(member, dict) for member in members):
            raise InvalidConfig(f"{where} is {shown(entry)}, it must be a list of objects with subnet")
        # go-cni sends keys that are not set as empty text.
        sets.append([_without_empty(lowered(member, where)) for member in members])
    return tuple(sets)


def _without_empty(entry: Mapping[str, Json]) -> dict[str, Json]:
    return {key: value for key, value in entry.items() if value != ""}


def _dns(given: Fields) -> Dns | None:
    found = Dns(given.texts("servers"), "", given.texts("searches"), given.texts("options"))
    return found if any(found) else None


def _aliases(runtime: Fields, network: str) -> tuple[str, ...]:
    """A list, as the convention has it, or podman's object: the list of each network by its name."""
    if isinstance(runtime.raw("aliases"), dict):
        by_network = runtime.mapping("aliases")
        runtime, key = Fields({network: by_network.get(network)}, f"{runtime.name('aliases')}."), network
    else:
        key = "aliases"
    aliases = runtime.texts(key)
    for alias in aliases:
        if not 0 < len(alias.encode()) <= _ALIAS_BYTES or not alias.isprintable() or " " in alias:
            raise InvalidConfig(f"{runtime.name(key)} has {shown(alias)}, which is no host name")
    return aliases


def _ports(runtime: Fields) -> tuple[PortMapping, ...]:
    raw = runtime.raw("portMappings")
    if raw is None:
        return ()
    from cni_cnm.firewall.portmap_options import parse_mappings

    return parse_mappings(raw)

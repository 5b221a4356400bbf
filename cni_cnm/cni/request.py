"""Configuration and call as the engine's values. Only the options of drivers stay JSON.

A configuration is read in one of two profiles: with any key of the reference `bridge` plugin as that plugin
would read it, without one as a network of the Container Network Model. `profile` says it outright.
"""

from __future__ import annotations

from cni_cnm import validate
from cni_cnm.cni import conventions
from cni_cnm.cni.versions import UNSTATED
from cni_cnm.drivers import CHAINED, DEFAULT, drivers
from cni_cnm.errors import InvalidConfig, InvalidEnvironment, UnsupportedField, shown
from cni_cnm.fields import Fields, lowered
from cni_cnm.model import Dns, EndpointKey, EndpointSpec, IpamSpec, NameService, NetworkSpec, PortmapOptions

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from cni_cnm.cni.environ import Call
    from cni_cnm.drivers import Driver
    from cni_cnm.model import Bandwidth, Json, SourceRouting, Tuning

REFERENCE = "reference"
CNM = "cnm"

OWN_KEYS = frozenset((
    "cniversion", "name", "type", "ipam", "dns", "args", "runtimeconfig", "capabilities",
    "prevresult", "mac", "profile", "driver", "options", "internal", "labels", "owner",
    "statusexhausted", "allowoverlap", "dnsenabled", "dnsservers",
))  # fmt: skip
"""Read by this frontend or added by runtimes: not passed to drivers."""
BLOCKS = ("portmap", "firewall", "bandwidth", "tuning", "sbr")
"""Named after the plugins usually chained behind a bridge."""
RUNTIME_PREFIXES = ("cni.dev/", "nerdctl", "io.kubernetes.")
_DEFAULT_IPAM = "host-local"
"""Of the CNM profile, where `ipam` has no type. The reference profile has no addresses then."""
_FIREWALL_KEYS = ("backend", "ingressPolicy", "firewalldZone", "iptablesAdminChainName")
_LOWERED_FIREWALL_KEYS = tuple(key.lower() for key in _FIREWALL_KEYS)
_FIREWALL_BACKENDS = ("", "iptables", "firewalld", "nftables")

VALID = ("cni.dev/valid-attachments", "cni.dev/attachments")
"""GC's list, under the specification's key and the one libcni sends beside it."""


def version_of(config: Fields) -> str:
    return config.text("cniVersion") or UNSTATED


def name_of(config: Fields) -> str:
    """The network's name; InvalidConfig if missing or not fit for file names."""
    name = config.text("name")
    if not name:
        raise InvalidConfig("missing network name", hint="give the configuration a 'name'")
    return validate.require(validate.network_name, name, "the network name")


def key_of(config: Fields, call: Call) -> EndpointKey:
    return EndpointKey(name_of(config), call.container_id, call.ifname)


def network_of(document: Mapping[str, Json], config: Fields, call: Call) -> NetworkSpec:
    """The network, with all of this frontend's keys validated. The driver and the IPAM validate theirs."""
    if not config.text("type") and config.raw("plugins") is not None:
        raise InvalidConfig(
            "the configuration is a list of plugins, of which a plugin is given one at a time",
            hint="leave that to a runtime, or send cni-cnm's entry with the list's cniVersion and name",
        )
    config.flag("enableIPv6")
    driver = driver_of(config)
    declared = driver.configuration
    if declared.refused:
        raise InvalidConfig(f"driver is {config.text('driver')!r}, which {declared.refused}", hint=declared.hint)
    profile = profile_of(config, driver)
    default = _DEFAULT_IPAM if profile == CNM and declared.addresses else ""
    return NetworkSpec(
        name=name_of(config),
        driver=config.text("driver") or DEFAULT,
        options={**_options(document, config, profile), **_firewall(config)},
        ipam=ipam_of(document, config, call, default),
        internal=config.flag("internal"),
        dns=_dns(config.object("dns")),
        labels=_labels(config.object("labels"), config.mapping("labels")),
        portmap=portmap_of(config)[0],
        allow_overlap=config.flag("allowOverlap"),
        names=_names(config) if "dnsEnabled" in config or "dnsServers" in config else None,
    )


def _names(config: Fields) -> NameService | None:
    """`dnsEnabled`, with `dnsServers`, or else the name servers of `dns`, and with the domain of `dns`."""
    if not config.flag("dnsEnabled"):
        if config.items("dnsServers"):
            raise InvalidConfig("dnsServers is given, and dnsEnabled is not true", hint="set dnsEnabled to true")
        return None
    from cni_cnm.names import labels

    dns = config.object("dns")
    domain = labels.domain_of(name_of(config), dns.text("domain"))
    if not domain:
        raise dns.wrong("domain", "labels of letters, digits, '-' and '_' with dots between them for dnsEnabled")
    key, source = ("dnsServers", config) if config.items("dnsServers") else ("nameservers", dns)
    servers = (validate.require(validate.address, text, source.name(key)) for text in source.texts(key))
    return NameService(domain, tuple(map(str, servers)))


def _firewall(config: Fields) -> dict[str, Json]:
    """The block `firewall`, for the driver: its policy, and a zone and a chain of other firewalls."""
    if "firewall" not in config:
        return {}
    block = config.object("firewall")
    if block.text("backend") not in _FIREWALL_BACKENDS:
        raise InvalidConfig(
            f"firewall.backend is {shown(block.raw('backend'))}, it must be one of "
            f"{', '.join(repr(name) for name in _FIREWALL_BACKENDS if name)}"
        )
    found = {key: value for key in _FIREWALL_KEYS[1:] if (value := block.text(key))}
    if found:
        from cni_cnm.firewall import foreign_accept, isolation
        from cni_cnm.kernel import firewalld

        parsers = (isolation.parse_policy, firewalld.parse_zone, foreign_accept.parse_chain)
        for key, parse in zip(_FIREWALL_KEYS[1:], parsers, strict=True):
            if key in found:
                found[key] = parse(found[key])
    return {key.lower(): value for key, value in found.items()}


def portmap_of(config: Fields) -> tuple[PortmapOptions, Sequence[str]]:
    """The block `portmap`, and notes on keys that are accepted and have no effect."""
    raw = config.mapping("portmap")
    if not raw:
        return PortmapOptions(), ()
    from cni_cnm.firewall.portmap_options import parse_options

    return parse_options(raw)


def endpoint_of(config: Fields, call: Call, owner: str) -> EndpointSpec:
    """The endpoint, with what the runtime requests for it."""
    requested = conventions.requested(config, call.args)
    tuning = _tuning(config, call, requested.runtime_mac)
    return EndpointSpec(
        container_id=call.container_id,
        ifname=call.ifname,
        netns=call.netns,
        owner=owner,
        mac=(tuning and tuning.mac) or requested.mac,
        addresses=requested.addresses,
        gateways=requested.gateways,
        ranges=requested.ranges,
        environ=call.environ,
        request_id=call.environ.get("CNI_CNM_REQUEST", ""),
        dns=requested.dns,
        aliases=requested.aliases,
        ports=requested.ports,
        pod=requested.pod,
        bandwidth=_bandwidth(config),
        tuning=tuning,
        source_routing=_source_routing(config),
        addresses_replace=requested.addresses_replace,
        device_id=requested.device_id,
        listed="prevResult" in config and lists_interface(config, call.ifname),
    )


def _bandwidth(config: Fields) -> Bandwidth | None:
    block = config.raw("bandwidth")
    runtime = config.object("runtimeConfig").raw("bandwidth") if "runtimeConfig" in config else None
    if block is None and runtime is None:
        return None
    from cni_cnm.cnm.interface import shaping

    found = shaping.parse(block, runtime)
    for key in ("shapedSubnets", "unshapedSubnets"):
        if config.object("bandwidth").raw(key):
            raise UnsupportedField(
                f"bandwidth.{key} is given, but a limit here is for everything that an interface sends and receives",
                hint="chain the bandwidth plugin behind this one instead",
            )
    return found


def _tuning(config: Fields, call: Call, mac: str) -> Tuning | None:
    block = config.raw("tuning")
    if block is None:
        return None
    from cni_cnm.cnm.interface import tuning

    return tuning.parse(block, config.object("args").raw("cni"), call.ifname, mac=mac)


def _source_routing(config: Fields) -> SourceRouting | None:
    if "sbr" not in config:
        return None
    from cni_cnm.cnm.interface import source_routing

    return source_routing.parse(config.mapping("sbr"))


def refuse_repeated(raw: bytes) -> None:
    """InvalidConfig for a sysctl that is given twice: decoding has kept only one of them. `raw` is valid JSON."""
    if b"sysctl" in raw.lower():
        from cni_cnm.cnm.interface import tuning

        tuning.refuse_repeated(raw)


def is_chained(config: Fields) -> bool:
    """True for an ADD that follows an interface plugin in a chain: `prevResult` has interfaces, and there is no `ipam`.

    `ipam`, and a driver other than the default one, request an interface of our own. So does a list whose only other
    interface is loopback. InvalidConfig if it is not known which interface is meant.
    """
    if config.text("driver") not in ("", DEFAULT) or config.mapping("ipam"):
        return False
    previous = config.object("prevResult")
    links = previous.objects("interfaces")
    if links:
        return any(link.text("name") != "lo" for link in links)
    addresses = [(ip, "address") for ip in previous.objects("ips")]
    addresses += [(previous.object(key), "ip") for key in ("ip4", "ip6") if key in previous]
    if any(not fields.required(key, validate.interface).ip.is_loopback for fields, key in addresses):
        raise InvalidConfig(
            "prevResult has addresses and no interfaces, so it is not known which interface is meant",
            hint="leave this plugin out behind a plugin that reports no interfaces, or give it an ipam for its own",
        )
    return False


def lists_interface(config: Fields, ifname: str) -> bool:
    """Whether `prevResult` has an interface of that name in a sandbox."""
    links = config.object("prevResult").objects("interfaces")
    return any(link.text("name") == ifname and link.text("sandbox") for link in links)


def chained(network: NetworkSpec, config: Fields) -> NetworkSpec:
    """The network of interfaces that another plugin makes. Only the options of its block `firewall` are used."""
    options = {key: network.options[key] for key in _LOWERED_FIREWALL_KEYS if key in network.options}
    if "firewall" in config:
        options.setdefault("ingresspolicy", "open")
    return network._replace(driver=CHAINED, options=options, ipam=IpamSpec(""))


def leaving(call: Call) -> EndpointSpec:
    """The endpoint of a DEL: its ids and namespace, not what was requested for it. Any owner's may be deleted."""
    return EndpointSpec(call.container_id, call.ifname, call.netns, owner="", environ=call.environ)


def ipam_of(document: Mapping[str, Json], config: Fields, call: Call, default: str = _DEFAULT_IPAM) -> IpamSpec:
    """The IPAM alone. InvalidConfig is about the IPAM and nothing else.

    DEL leaves `default` as it is and loads no driver: a network without addresses has no lease to find.
    """
    ipam = config.object("ipam")
    kind = ipam.parsed("type", validate.name)
    given = lowered(config.mapping("ipam"), "ipam")
    return IpamSpec(kind or default, given, document, call.cni_path)


def owner_of(config: Fields, environ: Mapping[str, str]) -> str:
    """Who the endpoints belong to, as `cni/NAME`: `owner`, else CNI_CNM_OWNER; "" if neither says."""
    configured, inherited = config.parsed("owner", validate.owner), environ.get("CNI_CNM_OWNER", "")
    if not configured and inherited:
        validate.require(validate.owner, inherited, "CNI_CNM_OWNER", InvalidEnvironment)
    return owned(configured or inherited)


def owned(name: str) -> str:
    """An owner's name with the prefix of this frontend: a configuration cannot claim another frontend's endpoints."""
    return name if not name or name.startswith("cni/") else f"cni/{name}"


def valid_of(config: Fields, network: str) -> Sequence[EndpointKey]:
    """GC's list of the attachments that still exist, from both keys."""
    keys = [
        EndpointKey(network, entry.text("containerID"), entry.text("ifname"))
        for name in VALID
        for entry in config.objects(name)
    ]
    if any(not (key.container_id and key.ifname) for key in keys):
        raise InvalidConfig(f"an entry of {VALID[0]} lacks containerID or ifname")
    return tuple(dict.fromkeys(keys))


def states_valid(document: Mapping[str, Json]) -> bool:
    """True if there is a list. libcni sends null for an empty one."""
    return any(key.lower() in VALID for key in document)


def driver_of(config: Fields) -> Driver[Any]:
    return drivers.get(config.parsed("driver", validate.name) or DEFAULT)


def profile_of(config: Fields, driver: Driver[Any]) -> str:
    stated = config.text("profile")
    if stated not in ("", CNM, REFERENCE):
        raise InvalidConfig(f"profile is {shown(stated)}, it must be '{CNM}' or '{REFERENCE}'")
    return stated or (REFERENCE if any(key in config for key in driver.configuration.reference_keys) else CNM)


def profile_sentence(document: Mapping[str, Json], config: Fields) -> str:
    """Which profile the configuration has, and the key that decided it; "" for a driver that has no profiles."""
    driver = driver_of(config)
    keys = driver.configuration.reference_keys
    if not keys:
        return ""
    if config.text("profile"):
        reason = "as profile says"
    else:
        decided = next((key for key, value in document.items() if value is not None and key.lower() in keys), "")
        reason = f"because of {decided}" if decided else f"as there is no key of the reference {driver.name} plugin"
    return f"the network is made in the profile {profile_of(config, driver)}, {reason}"


def _options(document: Mapping[str, Json], config: Fields, profile: str) -> dict[str, Json]:
    """The keys that are not this frontend's, for the driver to parse. CNM labels are in `labels`, as written."""
    options = {
        key.lower(): lowered(value, key)
        for key, value in document.items()
        if value is not None and not is_ours(key.lower())
    }
    labels = config.mapping("options")
    for label, value in labels.items():
        if isinstance(value, dict | list):
            raise InvalidConfig(f"options.{label} is {shown(value)}, it must be text, a number, true or false")
        lowered(value, f"options.{label}")
    return {**options, "profile": profile, **({"labels": dict(labels)} if labels else {})}


def is_ours(key: str) -> bool:
    """Whether a key, in lower case, is read by this frontend or meant for another program."""
    return key in OWN_KEYS or key in BLOCKS or key.startswith(RUNTIME_PREFIXES)


def _dns(given: Fields) -> Dns | None:
    """One given field, even an empty list, replaces all of the IPAM's DNS."""
    if not any(key in given for key in ("nameservers", "domain", "search", "options")):
        return None
    return Dns(given.texts("nameservers"), given.text("domain"), given.texts("search"), given.texts("options"))


def _labels(given: Fields, spelled: Mapping[str, Json]) -> dict[str, str]:
    return {key: given.text(key) for key, value in spelled.items() if value is not None}

"""Configuration and environment into specifications."""

from __future__ import annotations

import json
import random
from ipaddress import ip_address, ip_interface
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_cnm.cni import environ, request
from cni_cnm.cni.document import decode
from cni_cnm.errors import InvalidConfig, UnsupportedField
from cni_cnm.fields import Fields
from cni_cnm.model import Dns, EndpointKey, EndpointSpec, NetworkSpec, PortMapping
from tests.unit.cni.engine import ENV, ask, settings


def network(**conf: Any) -> NetworkSpec:
    document = settings(**conf)
    return request.network_of(document, Fields(document), environ.read(ENV))


def endpoint(cni_args: str = "", /, **conf: Any) -> EndpointSpec:
    return request.endpoint_of(Fields(settings(**conf)), environ.read({**ENV, "CNI_ARGS": cni_args}), "cni/test")


def test_the_least_that_works() -> None:
    """Name, type and version give a CNM network whose subnet comes from the pools."""
    made = network()
    assert (made.name, made.driver, made.options) == ("podnet", "bridge", {"profile": "cnm"})
    assert (made.ipam.type, made.ipam.config, made.dns, made.internal) == ("host-local", {}, None, False)


@pytest.mark.parametrize("key", ["bridge", "isGateway", "IPMASQ", "vlanTrunk", "macspoofchk", "portIsolation"])
def test_a_key_of_the_reference_means_its_profile(key: str) -> None:
    """Any key of the reference bridge, in any case: its profile, and no ipam means no addresses."""
    made = network(**{key: "x"})
    assert (made.options["profile"], made.ipam.type) == ("reference", "")


@pytest.mark.parametrize("key", ["mtu", "mac", "dns", "ipam"])
def test_shared_keys_do_not(key: str) -> None:
    """mtu, mac, dns and ipam belong to both profiles, and so does a reference key that is null."""
    value: Any = {"mtu": 1400, "mac": "02:00:00:00:00:01"}.get(key, {"type": ""} if key == "ipam" else {})
    assert network(**{key: value}).options["profile"] == "cnm"
    document = {**settings(), "bridge": None}
    assert request.network_of(document, Fields(document), environ.read(ENV)).options == {"profile": "cnm"}


def test_profile_outright() -> None:
    """`profile` decides whatever other keys are there."""
    assert network(profile="cnm", bridge="br0").options == {"profile": "cnm", "bridge": "br0"}
    assert network(profile="reference").options == {"profile": "reference"}


def test_driver_keys_are_handed_on() -> None:
    """All keys but the frontend's go to the driver, lower-cased at every level; CNM labels as spelled.

    Keys of the reference bridge mean that only for a bridge.
    """
    made = network(vlanTrunk=[{"minID": 1, "maxID": 2}], driver="mine", Foo={"Bar": 1}, options={"com.X": "y"})
    assert made.options == {
        "profile": "cnm",
        "vlantrunk": [{"minid": 1, "maxid": 2}],
        "foo": {"bar": 1},
        "labels": {"com.X": "y"},
    }


def test_ipam_is_lowered_and_verbatim() -> None:
    """Built-in IPAMs get lower-cased keys; a delegated executable the whole configuration as it came."""
    made = network(ipam={"type": "whereabouts", "Ranges": [[{"RangeStart": "10.0.0.5", "Gateway": None}]]}, other=1)
    assert made.ipam.config == {"type": "whereabouts", "ranges": [[{"rangestart": "10.0.0.5"}]]}
    assert made.ipam.conf["ipam"]["Ranges"] == [[{"RangeStart": "10.0.0.5", "Gateway": None}]]
    assert (made.ipam.conf["other"], made.ipam.cni_path) == (1, "/opt/cni/bin")


def test_dns_replaces_when_any_field_is_given() -> None:
    """dns of the configuration counts if any of its fields is there, be it an empty list."""
    assert network(dns={}).dns is None
    assert network(dns={"nameservers": None}).dns is None
    assert network(dns={"nameservers": []}).dns == Dns()
    assert network(dns={"domain": "a", "Search": ["b"]}).dns == Dns((), "a", ("b",), ())


def test_labels_and_internal() -> None:
    """Labels keep their spelling; internal is handed on."""
    made = network(labels={"App": "web"}, internal=True)
    assert (made.labels, made.internal) == ({"App": "web"}, True)


def test_unknown_keys_are_warned_about_once() -> None:
    """Keys that nothing reads are named on stderr; those of runtimes and other plugins are not."""
    quiet = {
        "capabilities": {"ips": True},
        "nerdctlID": "x",
        "cni.dev/x": 1,
        "prevResult": {},
        "statusExhausted": True,
    }
    assert ask(conf=quiet).reply.err == ""
    answer = ask(conf={**quiet, "Bogus": 1, "isGatway": True, "runtimeConfig": {"deviceIDs": "x", "cgroupPath": "/"}})
    assert answer.reply.err == "cni-cnm: ignored, because unknown: Bogus, isGatway, runtimeConfig.deviceIDs\n"
    assert answer.code == 0


def test_unknown_keys_of_blocks() -> None:
    """In the blocks named after plugins, too; a plugin's key that changes nothing here is named with the reason."""
    blocks = {
        "portmap": {"Snat": True, "masqueradeAll": True},
        "firewall": {"ingressPolicy": "open", "egressPolicy": "open"},
        "bandwidth": {"rate": 5},
        "tuning": {"MTU": 1400, "dataDir": "/run/x", "txqueue": 1},
    }
    err = ask(conf={**blocks, "bridge": "cni0"}).reply.err
    assert "unknown: portmap.masqueradeAll, firewall.egressPolicy, bandwidth.rate, tuning.txqueue\n" in err
    assert "tuning.dataDir is not used" in err


def test_mac_precedence() -> None:
    """Configuration, then CNI_ARGS, then args.cni, then runtimeConfig; the last one wins, in any spelling."""
    low: dict[str, Any] = {"mac": "02-00-00-00-00-0A"}
    assert endpoint(**low).mac == "02:00:00:00:00:0a"
    assert endpoint("MAC=0200.0000.000b", **low).mac == "02:00:00:00:00:0b"
    low["args"] = {"cni": {"mac": "02:00:00:00:00:0C"}}
    assert endpoint("MAC=02:00:00:00:00:0b", **low).mac == "02:00:00:00:00:0c"
    low["runtimeConfig"] = {"MAC": "02:00:00:00:00:0D"}
    assert endpoint("MAC=02:00:00:00:00:0b", **low).mac == "02:00:00:00:00:0d"


def test_address_precedence() -> None:
    """CNI_ARGS IP, then args.cni.ips, then runtimeConfig.ips; the last one given wins whole."""
    conf: dict[str, Any] = {}
    assert endpoint("IP=10.0.0.5/24, fd00::5;GATEWAY=10.0.0.1,fd00::1", **conf).addresses == (
        ip_interface("10.0.0.5/24"),
        ip_address("fd00::5"),
    )
    assert endpoint("GATEWAY=10.0.0.1,fd00::1").gateways == (ip_address("10.0.0.1"), ip_address("fd00::1"))
    conf["args"] = {"cni": {"ips": ["10.0.0.6"]}}
    assert endpoint("IP=10.0.0.5", **conf).addresses == (ip_address("10.0.0.6"),)
    conf["runtimeConfig"] = {"ips": []}
    assert endpoint("IP=10.0.0.5", **conf).addresses == (ip_address("10.0.0.6"),)
    conf["runtimeConfig"] = {"Ips": ["10.0.0.7/16"]}
    assert endpoint("IP=10.0.0.5", **conf).addresses == (ip_interface("10.0.0.7/16"),)


def test_runtime_config_as_containerd_sends_it() -> None:
    """go-cni's structs have no JSON tags: other case, unset ones empty, one list too few around ranges."""
    made = endpoint(
        runtimeConfig={
            "ipRanges": [{"Subnet": "10.1.0.0/16", "RangeStart": "10.1.0.9", "RangeEnd": "", "Gateway": ""}],
            "dns": {"Servers": ["1.1.1.1"], "Searches": ["a"], "Options": None},
            "portMappings": [{"HostPort": 8080, "ContainerPort": 80, "Protocol": "tcp", "HostIP": ""}],
            "bandwidth": {"IngressRate": 0, "IngressBurst": 0, "EgressRate": 0, "EgressBurst": 0},
            "io.kubernetes.cri.pod-annotations": {"a": "b"},
            "aliases": ["web"],
        }
    )
    assert made.ranges == ([{"subnet": "10.1.0.0/16", "rangestart": "10.1.0.9"}],)
    assert made.dns == Dns(("1.1.1.1",), "", ("a",), ())
    assert made.aliases == ("web",)
    assert made.ports == (PortMapping("tcp", 8080, 80),)


def test_ip_ranges_as_specified() -> None:
    """A list of range sets, each a list of ranges."""
    sets = [[{"subnet": "10.1.0.0/16"}, {"subnet": "10.2.0.0/16"}], [{"subnet": "fd00::/64"}]]
    assert endpoint(runtimeConfig={"ipRanges": sets}).ranges == tuple(sets)


def test_empty_runtime_dns_changes_nothing() -> None:
    """Runtimes send the capability with nothing in it."""
    assert endpoint(runtimeConfig={"dns": {"servers": [], "searches": None}}).dns is None


def test_endpoint_of_the_environment() -> None:
    """Ids, namespace, owner, request id and the environment itself."""
    call = environ.read({**ENV, "CNI_CNM_REQUEST": "r1"})
    made = request.endpoint_of(Fields(settings()), call, "cni/x")
    assert (made.container_id, made.ifname, made.netns, made.owner) == (
        "c1",
        "eth0",
        "/run/netns/c1",
        "cni/x",
    )
    assert (made.request_id, made.environ["CNI_PATH"]) == ("r1", "/opt/cni/bin")


@pytest.mark.parametrize(
    ("configured", "inherited", "expected"),
    [
        ("mine", "other", "cni/mine"),
        (None, "other", "cni/other"),
        (None, "", "cni/containerd"),
        ("cni/mine", "", "cni/mine"),
        ("docker", "", "cni/docker"),
    ],
)
def test_owner(configured: str | None, inherited: str, expected: str) -> None:
    """Configuration, environment, calling program; always behind this frontend's prefix."""
    answer = ask(conf={"owner": configured}, env={"CNI_CNM_OWNER": inherited})
    assert answer.engine.calls[0][2].owner == expected


def test_caller_is_not_looked_for_when_the_owner_is_stated() -> None:
    """Reading the process tree costs; it is the last resort."""

    def caller() -> str:
        raise AssertionError("looked for")

    assert ask(conf={"owner": "mine"}, owner=caller).code == 0
    assert ask("DEL", owner=caller).code == 0


def test_gc_list_under_both_keys() -> None:
    """The specification's key and libcni's alias, in any case, each attachment once."""
    document = {
        "cni.dev/Valid-Attachments": [{"containerID": "a", "ifname": "eth0"}],
        "cni.dev/attachments": [
            {"ContainerID": "a", "IfName": "eth0"},
            {"containerID": "b", "ifname": "eth1"},
        ],
    }
    assert request.valid_of(Fields(document), "n") == (
        EndpointKey("n", "a", "eth0"),
        EndpointKey("n", "b", "eth1"),
    )


FULL: dict[str, Any] = {
    "cniVersion": "1.0.0",
    "name": "podnet",
    "bridge": "cni0",
    "vlanTrunk": [{"minID": 2, "maxID": 4}],
    "internal": False,
    "driver": "bridge",
    "owner": "me",
    "dns": {"nameservers": ["1.1.1.1"], "domain": "d", "search": ["s"], "options": ["o"]},
    "ipam": {
        "type": "host-local",
        "ranges": [[{"subnet": "10.0.0.0/8", "rangeStart": "10.0.0.9"}]],
        "dataDir": "/x",
    },
    "args": {"cni": {"mac": "02:00:00:00:00:01", "ips": ["10.0.0.9"]}},
    "runtimeConfig": {
        "ips": ["10.0.0.8"],
        "ipRanges": [[{"subnet": "10.0.0.0/8"}]],
        "dns": {"servers": ["1.1.1.1"]},
        "aliases": ["Web"],
    },
}


def recased(value: Any, chance: random.Random) -> Any:
    if isinstance(value, dict):
        cases = (str.upper, str.lower, str.title, str.swapcase)
        return {chance.choice(cases)(key): recased(item, chance) for key, item in value.items()}
    return [recased(item, chance) for item in value] if isinstance(value, list) else value


def understood(document: dict[str, Any]) -> tuple[NetworkSpec, EndpointSpec, str]:
    config, call = Fields(document), environ.read(ENV)
    made = request.network_of(document, config, call)
    same = made._replace(ipam=made.ipam._replace(conf={}))
    return same, request.endpoint_of(config, call, "cni/x"), request.owner_of(config, {})


@given(st.randoms(use_true_random=False))
def test_case_never_matters(chance: random.Random) -> None:
    """However keys are spelled, at every level the same is understood."""
    assert understood(recased(FULL, chance)) == understood(FULL)


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(),
        lambda x: st.lists(x) | st.dictionaries(st.text(), x),
    )
)
def test_parsing_raises_only_our_errors(value: Any) -> None:
    """Any value under any key that the frontend reads is understood or refused with one of our errors."""
    for key in (*FULL, "labels", "options", "profile", "portmap", "mac", "cni.dev/attachments"):
        document = decode(json.dumps({**FULL, key: value}).encode())
        try:
            understood(document)
            request.valid_of(Fields(document), "n")
        except (InvalidConfig, UnsupportedField):
            continue

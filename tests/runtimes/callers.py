"""The calls of runtimes, as a table: which lists they have, what they pass, and which verbs follow each other.

Each fact is read from the source that is named with it: module, version and file. Words of `steps`:

    bare                    each plugin, without CNI_COMMAND; it prints its version
    versions                VERSION of each plugin
    namespace               the container's namespace is made; a second time: again, at the same path, without a DEL
    namespace ends          it is removed
    add, check, delete      the verb for each network
    delete, no namespace    with CNI_NETNS empty
    killed                  ADD of the first plugin, whose process is killed in the middle
    changed                 the runtime reads its configuration again, which has another MTU now
    broken                  the container loses its interfaces
    port taken, port free   by another container of the same network, with a process
    add refused, check refused    the verb fails
    status, collect         STATUS; GC without a container that is valid
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

MAPPINGS = {"containerPort": 80, "hostPort": 8080, "protocol": "tcp"}
GO_MAPPINGS = [
    {"HostPort": 8080, "ContainerPort": 80, "Protocol": protocol, "HostIP": ""} for protocol in ("tcp", "udp")
]
"""go-cni's structure has no JSON names: github.com/containerd/go-cni@v1.1.13/types.go."""
LOOPBACK = {"cniVersion": "0.3.1", "name": "cni-loopback", "plugins": [{"type": "loopback"}]}
"""github.com/containerd/go-cni@v1.1.13/opts.go, WithLoNetwork."""


class Caller(NamedTuple):
    source: str
    theirs: tuple[dict[str, Any], ...]
    """Lists that the runtime has itself. The interface of each is eth0, eth1 …, of `cni-loopback` it is lo."""
    accepts: Callable[[list[Any], str, str], bool]
    """Whether the runtime accepts the results: given them, the namespace's path, and the container's id."""
    steps: tuple[str, ...]
    container: str
    args: str = ""
    capabilities: dict[str, Any] = {}  # noqa: RUF012 never changed
    version: str = "1.0.0"
    """Of a list of ours."""
    ours: int = 1
    """How many lists of ours."""
    behind: tuple[dict[str, Any], ...] = ()
    """Plugins of others behind ours, in both kinds of list."""
    netns: str = "/run/netns/pod"
    together: bool = False
    """ADD of all networks side by side."""
    cached_list: bool = False
    """CHECK and DEL with the list that ADD had, not with today's."""
    environment: dict[str, str] = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}  # noqa: RUF012 never changed


def _addresses(result: Any, name: str, sandbox: str) -> list[str]:
    return [
        ip["address"]
        for ip in result["ips"]
        if (link := result["interfaces"][ip["interface"]])["name"] == name and link.get("sandbox", "") == sandbox
    ]


def _has_eth0(results: list[Any], netns: str, container: str) -> bool:
    return any(_addresses(result, "eth0", netns) for result in results)


def _has_one_veth(results: list[Any], netns: str, container: str) -> bool:
    """Else BuildKit does not count a build's traffic."""
    veths = {link["name"] for result in results for link in result["interfaces"] if link["name"].startswith("veth")}
    return len(veths) == 1 and _has_eth0(results, netns, container)


def _first_in_sandbox(results: list[Any], netns: str, container: str) -> bool:
    """Nomad takes the first interface, by name, that is in a sandbox and has an address."""
    (result,) = results
    named = sorted(link["name"] for link in result["interfaces"] if link.get("sandbox"))
    first: str = next(name for name in named if _addresses(result, name, netns))
    return first == "eth0"


def _has_tap(results: list[Any], netns: str, container: str) -> bool:
    """One tap device in the namespace, and one interface of the same name with the machine's id and one address."""
    (result,) = results
    names = [link["name"] for link in result["interfaces"] if link.get("sandbox") == container]
    taps = [link for link in result["interfaces"] if link.get("sandbox") == netns and link["name"] in names]
    return len(names) == len(taps) == 1 and len(_addresses(result, names[0], container)) == 1


def _lists(version: str, **plugins: Any) -> tuple[dict[str, Any], ...]:
    return tuple({"cniVersion": version, "name": name, "plugins": list(of)} for name, of in plugins.items())


def _host_local(subnet: str, **keys: Any) -> dict[str, Any]:
    return {"type": "host-local", "ranges": [[{"subnet": subnet}]], "routes": [{"dst": "0.0.0.0/0"}], **keys}


def _nerdctl(bridge: str, subnet: str) -> tuple[dict[str, Any], ...]:
    """pkg/netutil/netutil_unix.go, generateCNIPlugins; pkg/netutil/cni_plugin_unix.go."""
    return (
        {"type": "bridge", "bridge": bridge, "isGateway": True, "ipMasq": True, "hairpinMode": True,
         "ipam": _host_local(subnet)},
        {"type": "portmap", "capabilities": {"portMappings": True}},
        {"type": "firewall", "ingressPolicy": "same-bridge"},
        {"type": "tuning"},
    )  # fmt: skip


def _apptainer(**interface: Any) -> tuple[dict[str, Any], ...]:
    """etc/network/00_bridge.conflist and 10_ptp.conflist."""
    return (
        {**interface, "ipMasq": True},
        {"type": "firewall"},
        {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True},
    )


POD = "K8S_POD_UID=17;IgnoreUnknown=1;K8S_POD_NAMESPACE=shop;K8S_POD_INFRA_CONTAINER_ID=4f1a;K8S_POD_NAME=web"
"""In any order: go-cni has them in a map."""
TAP = {"type": "tc-redirect-tap"}

CALLERS = {
    "containerd": Caller(
        "github.com/containerd/containerd/v2@v2.3.5 internal/cri/server: sandbox_run.go (setupPodNetwork,"
        " cniNamespaceOpts), sandbox_stop.go (teardownPodNetwork), status.go;"
        " github.com/containerd/go-cni@v1.1.13 cni.go (attachNetworks)",
        (LOOPBACK, *_lists("1.1.0", podnet=(
            {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": True, "promiscMode": True,
             "ipam": _host_local("10.88.0.0/16")},
            {"type": "portmap", "capabilities": {"portMappings": True}},
        ))),
        _has_eth0,
        ("status", "namespace", "killed", "delete", "add", "status", "changed", "delete", "delete", "namespace ends",
         "delete, no namespace", "delete, no namespace"),
        "4f1a" * 16, POD,
        {"portMappings": GO_MAPPINGS, "cgroupPath": "/kubepods/pod17", "dns": {"Servers": ["10.0.0.10"]}},
        version="1.1.0", together=True,
    ),
    "cri-o": Caller(
        "github.com/cri-o/ocicni@v0.4.3 pkg/ocicni/ocicni.go (loadNetworks, buildCNIRuntimeConf, checkNetwork,"
        " loadNetworkFromCache, GC); github.com/cri-o/cri-o@v1.34.0 server/sandbox_network.go (networkStart: ADD,"
        " then CHECK)",
        _lists("1.1.0", crio=(
            {"type": "bridge", "bridge": "cni0", "isGateway": True, "ipMasq": True, "hairpinMode": True,
             "ipam": _host_local("10.85.0.0/16")},
        )),
        _has_eth0,
        ("versions", "namespace", "add", "check", "changed", "versions", "check", "status", "delete", "namespace",
         "add", "check", "namespace ends", "collect", "delete, no namespace"),
        "51c0" * 16, POD, {"cgroupPath": "/kubepods/pod17"}, version="1.1.0", cached_list=True,
    ),
    "nerdctl": Caller(
        "github.com/containerd/nerdctl/v2@v2.2.2 pkg/ocihook/ocihook.go (applyNetworkSettings, onPostStop),"
        " pkg/netutil/cni_plugin.go (the version of firewall)",
        _lists("1.0.0", bridge=_nerdctl("nerdctl0", "10.4.0.0/24"), red=_nerdctl("br-3f2a", "10.4.1.0/24")),
        _has_eth0,
        ("bare", "namespace", "delete, no namespace", "add", "namespace ends", "delete, no namespace",
         "namespace", "delete, no namespace", "killed", "delete", "delete, no namespace"),
        "default-" + "77aa" * 16, "IgnoreUnknown=1;NERDCTL_CNI_DHCP_HOSTNAME=web", {"portMappings": GO_MAPPINGS},
        ours=2, together=True,
    ),
    "nomad": Caller(
        "github.com/hashicorp/nomad@v1.11.0 client: allocrunner/networking_cni.go (Setup: ADD up to three times without"
        " DEL, CHECK after a restart; Teardown), allocrunner/network_hook.go (a failed CHECK: another namespace,"
        " without DEL), allocrunner/cni/bridge.go (the list), fingerprint/plugins_cni.go (bare calls)",
        _lists("0.4.0", nomad=(
            {"type": "loopback"},
            {"type": "bridge", "bridge": "nomad", "ipMasq": True, "isGateway": True, "forceAddress": True,
             "hairpinMode": False, "ipam": _host_local("172.26.64.0/20", dataDir="/var/run/cni")},
            {"type": "firewall", "backend": "iptables", "iptablesAdminChainName": "NOMAD-ADMIN"},
            {"type": "portmap", "capabilities": {"portMappings": True}, "snat": True},
        )),
        _first_in_sandbox,
        ("bare", "namespace", "port taken", "add refused", "add refused", "delete", "port free", "add", "check",
         "broken", "check refused", "namespace", "add", "check", "delete", "namespace ends", "delete"),
        "6b235529-8111-4bbe-520b-d639b1d2a94e",
        "NOMAD_REGION=global;NOMAD_NAMESPACE=default;NOMAD_JOB_ID=shop;NOMAD_GROUP_NAME=web;IgnoreUnknown=true;"
        "NOMAD_ALLOC_ID=6b235529-8111-4bbe-520b-d639b1d2a94e",
        {"portMappings": GO_MAPPINGS}, netns="/var/run/netns/6b235529-8111-4bbe-520b-d639b1d2a94e",
    ),
    "buildkit": Caller(
        "github.com/moby/buildkit@v0.26.2 util/network/cniprovider: cni.go (newNS, release, cleanOldNamespaces),"
        " bridge.go (NewBridge), createns_linux.go",
        _lists("1.0.0", buildkit=(
            {"type": "loopback"},
            {"type": "bridge", "bridge": "buildkit0", "isDefaultGateway": True, "ipMasq": True,
             "ipam": {"type": "host-local", "ranges": [[{"subnet": "10.10.0.0/16"}]]}},
            {"type": "firewall", "backend": "", "ingressPolicy": "same-bridge"},
        )),
        _has_one_veth,
        ("namespace", "add", "delete", "namespace", "killed", "delete", "delete", "namespace ends"),
        "sjq2xn3cvk07jw0c0j4m3yrhq", "K8S_POD_NAME=host;IgnoreUnknown=1",
    ),
    "apptainer": Caller(
        "github.com/apptainer/apptainer@v1.4.0 pkg/network/network_linux.go (SetArgs, command: DEL in the order of"
        " ADD), internal/pkg/runtime/engine/apptainer/container_linux.go (prepareNetworkSetup), etc/network",
        _lists(
            "1.0.0",
            bridge=_apptainer(type="bridge", bridge="sbr0", isGateway=True, ipam=_host_local("10.22.0.0/16")),
            ptp=_apptainer(type="ptp", ipam=_host_local("10.23.0.0/16")),
        ),
        _has_eth0,
        ("namespace", "add", "delete", "namespace ends"),
        "4711", "IgnoreUnknown=1", {"portMappings": [MAPPINGS]}, ours=2,
        environment={"PATH": "/bin:/sbin:/usr/bin:/usr/sbin"},
    ),
    "firecracker": Caller(
        "github.com/firecracker-microvm/firecracker-go-sdk@v1.0.0 network.go (invokeCNI), cni/vmconf/vmconf.go;"
        " github.com/awslabs/tc-redirect-tap@34bf829 cmd/tc-redirect-tap/main.go (its result)",
        _lists("0.4.0", fcnet=(
            {"type": "ptp", "ipMasq": True, "ipam": {"type": "host-local", "subnet": "192.168.127.0/24"}},
            {"type": "firewall"},
        )),
        _has_tap,
        ("namespace", "delete", "add", "delete", "namespace ends", "namespace", "add", "namespace ends", "delete"),
        "vm-1", behind=(TAP,),
    ),
}  # fmt: skip

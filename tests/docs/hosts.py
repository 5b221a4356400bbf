"""The hosts that commands of the documentation are run on.

pods      (default) two networks with three endpoints, the uplink eth0, a log, the program and the reference plugins
empty     nothing but the program
plugin    the Docker plugin `my-plugin`, and a pod on its network
drained   the two networks, without endpoints
served    a service with a log that is JSON, and the container c1 on the network net
ruleset   the ruleset that docs/firewall.md shows
reference three containers of the reference plugins, of which one is not as these have made it
names     a network that answers names, with a container and a pod, and a service
docker    a dockerd that has an image called nginx
shared    the last two, with one service for both
"""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

import pytest

from cni_cnm.model import EndpointKey
from cni_cnm.reference import cache
from cni_cnm.reference.cache import Cached
from tests.docs.pages import blocks
from tests.program import LAUNCHER, ROOT
from tests.side import REFERENCE, require_reference
from tests.system import dockerd
from tests.system.daemon import Daemon
from tests.system.dockerd import Dockerd
from tests.system.node import Done, Node
from tests.system.recorder import Recorder
from tests.system.relay import compile_relay
from tests.waiting import until

BIN = "/opt/cni/bin"
LOG = "/var/log/cni-cnm.log"
FRONT, DATABASE = "6f1d0a7c2b9e41", "0b7733aa991012"
PODNET: dict[str, Any] = {"cniVersion": "1.1.0", "name": "podnet", "type": "cni-cnm"}
REFNET: dict[str, Any] = {
    "cniVersion": "1.1.0", "name": "refnet", "type": "cni-cnm", "bridge": "cni0", "isGateway": True,
    "ipam": {"type": "host-local", "subnet": "10.22.0.0/29"},
}  # fmt: skip


class Host(NamedTuple):
    node: Node
    words: dict[str, str]
    """What the documentation's words in capitals stand for here."""

    def shell(self, script: str, timeout: float = 60) -> Done:
        """Run a script by sh, with the program on PATH. Its errors are in its output, where they came.

        The output goes through a file: a pipe would stay open as long as a command in the background runs.
        """
        for word, value in self.words.items():
            script = re.sub(rf"(?<![\w-]){word}(?![\w-])", value, script)
        path = f"{BIN}:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
        self.node.write("/run/script", script)
        done = self.node.run("sh", "-c", "exec sh /run/script >/run/output 2>&1", env={"PATH": path}, timeout=timeout)
        return done._replace(out=self.node.path("/run/output").read_text(encoding="utf-8"))

    def cni(
        self,
        verb: str,
        conf: dict[str, Any],
        container: str,
        ifname: str = "eth0",
        program: str = f"{BIN}/cni-cnm",
        **environ: str,
    ) -> Done:
        """A call as a runtime makes it."""
        environment = {
            "CNI_COMMAND": verb, "CNI_CONTAINERID": container, "CNI_NETNS": f"/run/netns/{container[:4]}",
            "CNI_IFNAME": ifname, "CNI_PATH": BIN, "CNI_CNM_OWNER": "cni/containerd", **environ,
        }  # fmt: skip
        return self.node.run(program, stdin=json.dumps(conf), env=environment)


@contextmanager
def host(name: str) -> Iterator[Host]:
    """One of the hosts, made anew and removed in the end."""
    with ExitStack() as ends:
        node = Node()
        ends.callback(node.close)
        node.run("mkdir", "-p", BIN).ok()
        launcher = node.path(f"{BIN}/cni-cnm")
        launcher.write_text(LAUNCHER.format(python=sys.executable, root=str(ROOT)), encoding="utf-8")
        launcher.chmod(0o755)
        made = Host(node, {})
        {
            "pods": _pods,
            "empty": _empty,
            "plugin": _plugin,
            "drained": _drained,
            "docker": _docker,
            "served": _served,
            "ruleset": _ruleset,
            "names": _names,
            "shared": _shared,
            "reference": _reference,
        }[name](made, ends)
        yield made


def _empty(host: Host, ends: ExitStack) -> None:
    pass


def _uplink(node: Node) -> None:
    """eth0, which leads to another namespace, with the default route."""
    node.add_netns("outside")
    node.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth0", "netns", "outside").ok()
    node.run("ip", "address", "add", "192.0.2.1/24", "dev", "eth0").ok()
    node.run("ip", "link", "set", "eth0", "up").ok()
    node.run("ip", "link", "set", "eth0", "up", netns="/run/netns/outside").ok()
    node.run("ip", "route", "add", "default", "via", "192.0.2.9").ok()


def _pods(host: Host, ends: ExitStack) -> None:
    node = host.node
    _uplink(node)
    node.write("/etc/cni-cnm/config.toml", 'log = "/var/log/cni-cnm.log"\n')
    node.run("mount", "-t", "tmpfs", "log", "/var/log").ok()
    for container in (FRONT, DATABASE, "cccc"):
        node.add_netns(container[:4])
    host.cni("ADD", REFNET, DATABASE).ok()
    ports = [{"hostPort": 8080, "containerPort": 80}]
    published = {**PODNET, "runtimeConfig": {"portMappings": ports}}
    host.cni("ADD", published, FRONT, CNI_ARGS="K8S_POD_NAMESPACE=web;K8S_POD_NAME=front-0").ok()
    host.cni("ADD", REFNET, FRONT, ifname="net1").ok()
    assert host.cni("ADD", {**REFNET, "bridge": "cni9"}, "cccc").code == 1
    host.words.update(CONTAINER=FRONT, NAMESPACE=FRONT[:4], NAME="podnet", NETWORK="podnet", PARENT="eth0")


def _drained(host: Host, ends: ExitStack) -> None:
    _pods(host, ends)
    for conf, container, ifname in ((REFNET, DATABASE, "eth0"), (PODNET, FRONT, "eth0"), (REFNET, FRONT, "net1")):
        host.cni("DEL", conf, container, ifname=ifname).ok()


def _plugin(host: Host, ends: ExitStack) -> None:
    recorder = Recorder(host.node, "my-plugin")
    ends.callback(recorder.stop)
    recorder.script(keep=True)
    host.node.add_netns(FRONT[:4])
    conf = {**PODNET, "name": "pluginnet", "driver": "my-plugin", "ipam": {"type": "my-plugin"}}
    host.cni("ADD", conf, FRONT).ok()
    host.words.update(CONTAINER=FRONT)


def _served(host: Host, ends: ExitStack) -> None:
    if shutil.which("cc") is None:
        pytest.skip("no C compiler")
    node = host.node
    node.write("/etc/cni-cnm/config.toml", f'log = "{LOG}"\nlog_format = "json"\n')
    node.run("mount", "-t", "tmpfs", "log", "/var/log").ok()
    service = Daemon(node, f"{BIN}/cni-cnm", "serve")
    ends.callback(service.stop)
    service.wait(node.path("/run/cni-cnm/metrics.sock").exists)
    node.add_netns("c1")
    relay = f"{BIN}/relay"
    compile_relay(node.path(relay))
    ipam = {"type": "host-local", "subnet": "10.61.0.0/24"}
    net = {**REFNET, "name": "net", "ipam": ipam}
    host.cni("ADD", net, "c1", program=relay, CNI_ARGS="K8S_POD_NAMESPACE=shop;K8S_POD_NAME=cart-0").ok()
    until(lambda: node.run("grep", "ADD", LOG).code == 0, "the call is in the log")


def _ruleset(host: Host, ends: ExitStack) -> None:
    host.node.run("nft", "-f", "-", stdin="".join(block.text for block in blocks("nft"))).ok()


def _reference(host: Host, ends: ExitStack) -> None:
    require_reference()
    node = host.node
    for name in ("bridge", "host-local", "portmap", "firewall"):
        shutil.copy(REFERENCE / name, node.path(f"{BIN}/{name}"))
    ipam = {"type": "host-local", "ranges": [[{"subnet": "10.22.0.0/24"}]]}
    plugins: list[dict[str, Any]] = [
        {"type": "bridge", "bridge": "cni0", "isDefaultGateway": True, "ipMasq": True, "ipam": ipam},
        {"type": "portmap", "capabilities": {"portMappings": True}},
        {"type": "firewall"},
    ]
    listed = json.dumps({"cniVersion": "1.0.0", "name": "net", "plugins": plugins}, indent=2)
    node.write("/etc/cni/net.d/10-net.conflist", listed)
    ports: list[dict[str, Any]] = [{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}]
    for container, mapped in ((FRONT, ports), (DATABASE, []), ("cccc90b1f2d377", [])):
        node.add_netns(container[:4])
        result: dict[str, Any] = {}
        for plugin in plugins:
            conf = {**plugin, "cniVersion": "1.0.0", "name": "net", **({"prevResult": result} if result else {})}
            if plugin["type"] == "portmap":
                conf["runtimeConfig"] = {"portMappings": mapped}
            result = json.loads(host.cni("ADD", conf, container, program=f"{BIN}/{plugin['type']}").ok().out)
        key, netns = EndpointKey("net", container, "eth0"), f"/run/netns/{container[:4]}"
        cached = Cached(key, listed.encode(), netns, (), {"portMappings": mapped}, result)
        node.write(cache.path(key), cache.render(cached).decode())
    node.run("ip", "address", "del", "10.22.0.4/24", "dev", "eth0", netns="/run/netns/cccc").ok()


def _names(host: Host, ends: ExitStack, *options: str) -> None:
    shop = {**PODNET, "name": "shop", "dnsEnabled": True, "ipam": {"subnet": "10.7.0.0/24"}}
    service = Daemon(host.node, f"{BIN}/cni-cnm", "serve", *options)
    service.wait(host.node.path("/run/cni-cnm/service.sock").exists)
    ends.callback(service.stop)
    for name in ("front", "bbbb"):
        host.node.add_netns(name)
    netns = {"CNI_NETNS": "/run/netns/front"}
    host.cni("ADD", {**shop, "runtimeConfig": {"aliases": ["www"]}}, "front", **netns).ok()
    host.cni("ADD", shop, "b" * 64, CNI_ARGS="K8S_POD_NAMESPACE=team-a;K8S_POD_NAME=stock-0").ok()
    until(lambda: "10.7.0.1:53" in host.node.run("ss", "-Hlun").out, "the name server")


def _docker(host: Host, ends: ExitStack) -> None:
    if why := dockerd.missing():
        pytest.skip(why)
    daemon = ends.enter_context(Dockerd(host.node))
    daemon("tag", dockerd.IMAGE, "nginx")


def _shared(host: Host, ends: ExitStack) -> None:
    _names(host, ends, "--docker")
    _docker(host, ends)

"""A healthy host in a network namespace of its own: networks of three kinds, and containers on them.

One is made for all tests of a module: each fault is provoked, found, and repaired by what is printed. So it
is healthy again for the next one. Records are in a folder of the test; files of the host, such as /etc/cni/net.d, are
those of the run's own mount namespace (scripts/test).
"""

from __future__ import annotations

import os
import shlex
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from cni_cnm.cnm.records import EndpointRecord, endpoint_records
from cni_cnm.doctor.diagnose import CHECKS, Diagnosis, diagnose
from cni_cnm.doctor.finding import Finding
from cni_cnm.doctor.picture import Picture
from cni_cnm.model import EndpointSpec, IpamSpec, NetworkSpec, PortMapping
from cni_cnm.wiring import open_controller

WEB = NetworkSpec(
    "web",
    "bridge",
    {"profile": "reference", "type": "cni-cnm", "bridge": "br-web", "isgateway": True, "isdefaultgateway": True,
     "ipmasq": True},
    IpamSpec(
        "host-local", {"type": "host-local", "ranges": [[{"subnet": "10.61.0.0/24"}], [{"subnet": "fd00:61::/64"}]]}
    ),
)  # fmt: skip
BACK = NetworkSpec(
    "back",
    "bridge",
    {"profile": "reference", "type": "cni-cnm", "bridge": "br-back", "isgateway": True},
    IpamSpec("host-local", {"type": "host-local", "ranges": [[{"subnet": "10.63.0.0/24"}]]}),
)
PAIRS = NetworkSpec("pairs", "ptp", {}, IpamSpec("host-local", {"type": "host-local", "subnet": "10.62.0.0/24"}))


class World:
    def __init__(self, folder: Path, make_netns: Callable[[str], str]) -> None:
        self.folder = folder
        self.config = folder / "config.toml"
        self._make_netns = make_netns
        (folder / "run").mkdir()
        self.config.write_text(
            f'run_dir = "{folder}/run/cni-cnm"\nstate_dir = "{folder}/state"\n'
            f'leases_dir = "{folder}/leases"\nlog = "none"\n'
        )
        self.plugins = folder / "plugins"
        self.plugins.mkdir()
        (self.plugins / "cni-cnm").touch()
        os.environ["CNI_CNM_CONFIG"], os.environ["CNI_PATH"] = str(self.config), str(self.plugins)
        self.netns = {name: make_netns(name) for name in ("c1", "c2", "c3", "far")}
        self.ip("link add up0 type veth peer name far0")
        self.ip("addr add 192.0.2.1/24 dev up0")
        self.ip("-6 addr add 2001:db8::1/64 dev up0 nodad")
        for link in ("up0", "far0"):
            self.ip(f"link set {link} up")
        self.ip("route add default via 192.0.2.9")
        self.controller = open_controller(str(self.config))
        self.attach(WEB, "c1", ports=(PortMapping("tcp", 8080, 80),))
        self.attach(WEB, "c2")
        self.attach(BACK, "c1", ifname="net1")
        self.attach(PAIRS, "c3")

    def close(self) -> None:
        self.controller.close()
        del os.environ["CNI_CNM_CONFIG"], os.environ["CNI_PATH"]

    def attach(self, network: NetworkSpec, container: str, *, ifname: str = "eth0", **more: object) -> EndpointRecord:
        netns = self.netns.get(container) or self.netns.setdefault(container, self._make_netns(container))
        spec = EndpointSpec(container, ifname, netns, "cni/test")._replace(**more)  # type: ignore[arg-type]
        self.controller.attach(network, spec)
        return self.endpoint(container, ifname)

    def endpoint(self, container: str, ifname: str = "eth0") -> EndpointRecord:
        records = endpoint_records(self.controller.host.store)
        return next(one for one in records if (one.container_id, one.ifname) == (container, ifname))

    # ------------------------------------------------------------------------

    def run(self, *argv: str) -> str:
        done = subprocess.run(argv, capture_output=True, text=True)
        assert done.returncode == 0, f"{shlex.join(argv)}: {done.stderr}"
        return done.stdout

    def ip(self, command: str) -> None:
        self.run("ip", *command.split())

    def inside(self, container: str, command: str) -> None:
        self.run("nsenter", f"--net={self.netns[container]}", "ip", *command.split())

    def sysctl(self, key: str, value: str) -> None:
        Path(f"/proc/sys/{key}").write_text(value)

    def link(self, container: str, ifname: str = "eth0") -> str:
        return self.endpoint(container, ifname).host_ifname

    def look(self, *checks: str, only: set[str] | None = None) -> Diagnosis:
        with Picture(self.controller.host, only=only) as picture:
            return diagnose(picture, checks or CHECKS)

    def findings(self, *checks: str) -> list[Finding]:
        return [finding for _, finding in self.look(*checks).findings]

    def repair(self, check: str, what: str, *, left: Sequence[str] = ()) -> Finding:
        """The check finds it; its commands repair it. Nothing is found once those of all other findings are followed.

        `left`: beginnings of findings that a test leaves for later.
        """
        found = [finding for name, finding in self.look().findings if name == check and what in finding.what]
        assert found, f"{check} does not find {what!r} among {[one.what for one in self.findings()]}"
        assert found[0].why.endswith(".")
        self.follow(found[0].commands)
        assert found[0].what not in [one.what for one in self.findings()]
        for _ in range(9):
            if further := self.findings():
                self.follow(further[0].commands)
        assert [one.what for one in self.findings() if not one.what.startswith(tuple(left))] == []
        return found[0]

    def shown(self, check: str, what: str) -> Finding:
        """The check finds it. It is not ours to remove: the command shows it, and the finding stays."""
        found = [finding for finding in self.findings(check) if what in finding.what]
        assert found, f"{check} does not find {what!r}"
        self.follow(found[0].commands)
        assert found[0] in self.findings(check)
        return found[0]

    def follow(self, commands: Sequence[str]) -> None:
        """What an operator does: each line in a shell. `cni-cnm` is the one of the tests' own environment."""
        for line in commands:
            done = subprocess.run(["sh", "-c", line], capture_output=True, text=True)
            assert done.returncode == 0, f"{line}: {done.stderr}"

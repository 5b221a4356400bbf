"""Docker's containers on overlay networks, beside pods of the same host and of another one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.overlay.lab import WEB
from tests.system.dockerd import EVERY_RELEASE, Dockerd, missing
from tests.waiting import until

if TYPE_CHECKING:
    from tests.overlay.lab import Lab
    from tests.system.dockerd import Release

SUBNETS = ("--ipv6", "--subnet", "10.32.0.0/16", "--subnet", "fd32::/48")
SHARED = ("--ipam-opt", "cni-cnm.network=web", "-o", "cni-cnm.network=web")
OURS = ("--driver", "cni-cnm", "--ipam-driver", "cni-cnm", "--ipam-opt", "cni-cnm.driver=overlay", *SHARED)


@pytest.mark.parametrize("release", EVERY_RELEASE)
def test_a_container_of_docker(lab: Lab, release: Release) -> None:
    """Its own block is on the link, the rest of the subnet behind the gateway; pods of both hosts and it reach each
    other by both IP versions. Without our IPAM driver the network is refused, with what to add."""
    if reason := missing(release):
        pytest.skip(reason)
    one, far = lab.host("node1", serve=False).serve("--docker"), lab.host("far1", far=True)
    far.create(WEB)
    away = far.pod("web")
    with Dockerd(one.node, release=release) as docker:
        said = docker.refused(
            "network", "create", "--driver", "cni-cnm", "-o", "cni-cnm.driver=overlay", "-o", "cni-cnm.network=web",
            *SUBNETS[1:3], "web",
        )  # fmt: skip
        assert "gives the same addresses on every host" in said
        assert "--ipam-driver cni-cnm" in said
        docker("network", "create", *OURS, *SUBNETS, "web")
        docker.start("box", "--net=web")
        here = one.pod("web")
        for host in (one, far):
            host.wait_ready("web")
        address, address6 = (docker.address("box", "web", family=family) for family in (4, 6))
        block = f"{address.rsplit('.', 1)[0]}.0/24"
        routes = docker.execute("box", "ip", "route").ok().out
        assert f"{block} dev eth0 scope link" in routes
        assert f"10.32.0.0/16 via {block.replace('0/24', '1')} dev eth0" in routes
        routes6 = docker.execute("box", "ip", "-6", "route").ok().out
        assert "fd32::/48 via " in routes6
        for target in (*here.addresses, *away.addresses):
            if ":" not in target:
                until(lambda target=target: docker.ping("box", target), f"the container reaches {target}", 20)  # type: ignore[misc]
        for pod in (here, away):
            for target in (address, address6):
                until(lambda pod=pod, target=target: pod.pings(target), f"{pod.name} reaches {target}", 20)  # type: ignore[misc]
        docker.remove("box")
        docker("network", "rm", "web")
    one.cnm("network", "inspect", "web").ok()

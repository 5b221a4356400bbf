"""A real cluster without IPv4: nodes, pods and Services have IPv6 addresses alone."""

from __future__ import annotations

import pytest

from tests.kubernetes.real.lab import PORT, WHO, new_lab
from tests.waiting import until


@pytest.mark.parametrize("direct", ["auto", "never"], ids=["routes", "vxlan"])
def test_pods_and_services(direct: str) -> None:
    with new_lab(only_ipv6=True) as lab:
        lab.start()
        lab.serve(settings=f'direct = "{direct}"')
        lab.wait_ready()
        for node in lab.nodes.values():
            node.proxy("nftables")
        lab.make_pod("one", "node1", wait=False)
        lab.make_pod("two", "node2", wait=False)
        lab.wait_running("one", "two")
        (address,) = lab.make_service("web", {"app": "two"})["clusterIPs"]
        (own,), (other,) = lab.addresses("one"), lab.addresses("two")
        assert ":" in own
        caller = lab.caller("one")
        assert caller.ask(other, PORT) == own
        until(lambda: caller.ask(address, 80) == own, "the Service answers", 30, lab.log)
        assert lab.nodes["node1"].ask(f"http://[{address}]{WHO}")
        route = lab.nodes["node1"].node.ip("-6", "route", "get", other)[0]
        assert route["dev"] == ("eth0" if direct == "auto" else "cnm-vx4096")

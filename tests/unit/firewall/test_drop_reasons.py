"""Every rule of ours that drops counts, under a name that people are told."""

from __future__ import annotations

import re
from ipaddress import ip_interface, ip_network

from cni_cnm.cluster import accepted_hosts
from cni_cnm.firewall import Policy, isolation, names, overlay, portmap, reflection, spoof
from cni_cnm.firewall.drop_reasons import REASONS
from cni_cnm.firewall.portmap_options import parse_mappings

ADDRESS = ip_interface("10.88.0.5/16")
WEB = Policy(bridge="br-web", outside="cnm-vx4096", cluster=(ip_network("10.32.0.0/16"),))
DECLARATIONS = (
    isolation.add_network("1", "n", 7, isolation.SAME_BRIDGE).declare,
    isolation.add_endpoint("1", "n", "veth1", "02:00:00:00:00:01").declare,
    names.add_network("1", "n", "br-web", [ADDRESS]).declare,
    overlay.add_network("1", "web", WEB, [ADDRESS]).declare,
    portmap.publish("1", "n", [ADDRESS], parse_mappings([{"hostPort": 80, "containerPort": 80}])).declare,
    spoof.add("1", "n", "veth1", "02:00:00:00:00:01").declare,
    reflection.DECLARE,
    accepted_hosts._DECLARATION,
)


def test_each_dropping_rule_counts_under_a_known_name() -> None:
    """No rule drops without a counter of its table, and no name is without a meaning or without a rule."""
    used = set()
    for declare in DECLARATIONS:
        declared = set(re.findall(r"^add counter (\S+ \S+) (\S+)$", declare, re.MULTILINE))
        for line in declare.splitlines():
            if line.endswith(" drop"):
                found = re.fullmatch(r"add rule (\S+ \S+) .* counter name (\S+) drop", line)
                assert found is not None, line
                assert found.groups() in declared, line
                used.add(found[2])
    assert used == set(REASONS)

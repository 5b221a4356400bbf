"""The record of an adoption, and what it keeps of how the plugins of that time worked."""

from __future__ import annotations

import pytest

from cni_cnm.adopt.adoption import TAKEN, Adoption
from cni_cnm.model import EndpointKey, PortMapping
from cni_cnm.reference.attachment import Attachment
from cni_cnm.reference.cache import Cached
from cni_cnm.reference.configuration import IPTABLES, NFTABLES, Configuration, Portmap
from cni_cnm.reference.forms import as_older_portmap
from cni_cnm.reference.host_rules import HostRules

STATE = Adoption(
    "net", TAKEN, False, "/etc/cni/net.d/10-net.conflist", b"{}", b"[]", "/cache", {"id": b"x"}, ("", "nftables"), True
)


def test_it_is_read_as_it_was_written() -> None:
    assert Adoption.from_json(STATE.to_json()) == STATE


def test_a_record_of_an_earlier_state() -> None:
    raw = STATE.to_json()
    del raw["older_portmap"]
    assert Adoption.from_json(raw) == STATE._replace(older_portmap=False)


@pytest.mark.parametrize("form", [IPTABLES, NFTABLES])
def test_rules_of_an_older_portmap(form: str) -> None:
    portmap = Portmap((PortMapping("tcp", 8080, 80),), masq_all=True)
    cached = Cached(EndpointKey("net", "p1", "eth0"), b"{}")
    found = as_older_portmap(Attachment(cached, Configuration(portmap=portmap), ports=form), HostRules({}))
    assert found.configuration.portmap is not None
    assert found.configuration.portmap.masq_all is (form == NFTABLES)
    assert found.older_host_ip is found.older_jumps is (form == NFTABLES)
    newer = HostRules({("ip cni_hostport", "hostports_all"): ()})
    assert not as_older_portmap(found, newer).older_jumps

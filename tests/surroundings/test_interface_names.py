"""CNI_IFNAME that the kernel takes for a pattern, or keeps for itself."""

from __future__ import annotations

import pytest

from tests.side import Side
from tests.surroundings.configs import network


@pytest.mark.parametrize("name", ["eth%d", "%", "all", "default"])
def test_a_name_that_no_interface_keeps_is_refused(side: Side, name: str) -> None:
    """Code 4, and nothing is touched; DEL, which a runtime sends behind it, succeeds."""
    side.container("c1")
    refused = side.add(network(), ifname=name)
    assert (refused.code, refused.json["code"]) == (1, 4)
    assert name in refused.json["msg"]
    assert side.node.links("/run/netns/c1") == side.node.links() == {"lo"}
    made = side.node.files("/run/cni-cnm/endpoints", "/var/lib/cni-cnm/networks", "/var/lib/cni/networks")
    assert not made
    side.delete(network(), ifname=name).ok()

"""Many elements of one set are packed as each of them is alone."""

from __future__ import annotations

import pytest

from cni_cnm.kernel.contract.element import Element
from cni_cnm.kernel.nftables.nft_changes import _packed, _packed_group
from cni_cnm.kernel.nftables.nft_elements import _TYPES, SetTypes

PUBLISHED = {
    "IPv4": ("6 . {}", "10.0.0.2 . {}", (12, 13), (7, 13)),
    "IPv6": ("6 . {}", "fd00::2 . {}", (12, 13), (8, 13)),
    "an address of the host": ("10.1.1.1 . 6 . {}", "10.0.0.2 . {}", (7, 12, 13), (7, 13)),
}


@pytest.fixture(params=PUBLISHED)
def published(request: pytest.FixtureRequest) -> tuple[list[Element], SetTypes]:
    key, value, key_types, value_types = PUBLISHED[request.param]
    types = SetTypes(tuple(_TYPES[kind] for kind in key_types), tuple(_TYPES[kind] for kind in value_types))
    return [Element("inet t", "m", key.format(7 * n), value.format(n), "who") for n in range(1, 40)], types


@pytest.mark.parametrize("whole", [True, False])
def test_the_bytes_are_the_same(published: tuple[list[Element], SetTypes], whole: bool) -> None:
    """Also where a comment, an address or a range in between is another one."""
    elements, types = published
    elements[3] = elements[3]._replace(comment="other")
    elements[5] = elements[5]._replace(key=elements[5].key + "-50")
    elements[7] = elements[7]._replace(value=elements[7].value.replace("2 .", "3 ."))
    assert _packed_group(elements, types, whole=whole) == [_packed(one, types, whole=whole) for one in elements]


@pytest.mark.parametrize("port", ["65536", "-1", "x", ""])
def test_a_port_that_is_none(published: tuple[list[Element], SetTypes], port: str) -> None:
    elements, types = published
    key, value = (text.rpartition(" . ")[0] for text in (elements[9].key, elements[9].value))
    for wrong in (elements[9]._replace(key=f"{key} . {port}"), elements[9]._replace(value=f"{value} . {port}")):
        with pytest.raises(LookupError):
            _packed_group([*elements, wrong], types, whole=True)

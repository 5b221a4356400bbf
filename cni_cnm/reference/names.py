"""Names and comments that the reference plugins derive from network, container and interface (pkg/utils/utils.go)."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.model import EndpointKey

_CHAIN_MAX, _IFB_MAX = 28, 15
"""Characters of a chain's name, as utils.FormatChainName cuts it, and of a link's."""
_COMMENT_MAX, _NFT_COMMENT_MAX = 255, 128


def masquerade_chain(key: EndpointKey) -> str:
    """iptables, table nat: bridge with ipMasq. The interface is not part of the name."""
    return _hashed(_CHAIN_MAX, "CNI-", key)


def ports_chain(key: EndpointKey) -> str:
    """iptables, table nat: portmap."""
    return _hashed(_CHAIN_MAX, "CNI-DN-", key)


def old_ports_chain(key: EndpointKey) -> str:
    """iptables, table nat: portmap before 0.8 had a chain of its own for source addresses."""
    return _hashed(_CHAIN_MAX, "CNI-SN-", key)


def ifb(key: EndpointKey) -> str:
    """bandwidth: the link that limits what the container sends."""
    return _hashed(_IFB_MAX, "bwp", key)


def masquerade_comment(key: EndpointKey) -> str:
    return f'name: "{key.network}" id: "{key.container_id}"'


def ports_comment(key: EndpointKey) -> str:
    comment = f'dnat name: "{key.network}" id: "{key.container_id}"'
    return comment if len(comment) <= _COMMENT_MAX else f"{comment[:253]}..."


def nft_masquerade_comment(key: EndpointKey) -> str:
    """nftables, table cni_plugins_masquerade. DEL looks for the two hashes, which stand first."""
    hashes = f"{_sha512(key.network)[:16]}-{_sha512(f'{key.ifname}:{key.container_id}')[:16]}"
    return f"{hashes}, net: {key.network}, if: {key.ifname}, id: {key.container_id}"[:_NFT_COMMENT_MAX]


def nft_ports_comment(key: EndpointKey) -> str:
    """nftables, tables cni_hostport: neither the network nor the interface."""
    return key.container_id


def spoof_chain(key: EndpointKey) -> str:
    """nftables, table bridge nat: macspoofchk."""
    return f"cni-br-iface-{key.container_id}-{key.ifname}"


def spoof_comment(key: EndpointKey) -> str:
    return f"macspoofchk-{key.container_id}-{key.ifname}"


def _hashed(length: int, prefix: str, key: EndpointKey) -> str:
    return f"{prefix}{_sha512(f'{key.network}{key.container_id}')}"[:length]


def _sha512(text: str) -> str:
    from hashlib import sha512  # noqa: TID251 - not on a pod's way

    return sha512(text.encode(errors="surrogateescape")).hexdigest()

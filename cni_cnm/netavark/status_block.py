"""The result of setup: `StatusBlock` of netavark's src/network/types.rs, which `podman inspect` shows."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.model import Attachment, Json


def status_block(attachment: Attachment) -> dict[str, Json]:
    interfaces: dict[str, Json] = {}
    if attachment.container_index is not None:
        link = attachment.interfaces[attachment.container_index]
        interfaces[link.name] = {
            "mac_address": link.mac,
            "subnets": [
                {"ipnet": str(address.interface), "gateway": str(address.gateway) if address.gateway else None}
                for address in attachment.addresses
            ],
        }
    return {
        "dns_search_domains": list(attachment.dns.search),
        "dns_server_ips": list(attachment.dns.nameservers),
        "interfaces": interfaces,
    }

"""Finding networks and sandboxes by their names, and listing them."""

from __future__ import annotations

from cni_cnm import spelling, validate
from cni_cnm.cnm.objects.network import Network
from cni_cnm.cnm.objects.sandbox import Sandbox
from cni_cnm.cnm.records import load_network, network_records, sandbox_records
from cni_cnm.errors import NoSuchNetwork, NoSuchSandbox

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from cni_cnm.cnm.host import Host


def networks(host: Host) -> Iterator[Network]:
    """By name."""
    return (Network(host, record) for record in network_records(host.store))


def find_network(host: Host, name_or_id: str | Network) -> Network:
    """By name, by id, or by an id prefix that only one network has. A network is itself."""
    if isinstance(name_or_id, Network):
        return name_or_id
    validate.require(str, name_or_id, "a network's name")
    record = load_network(host.store, name_or_id) if _names_a_file(name_or_id) else None
    if record:
        return Network(host, record)
    found = [network for network in networks(host) if name_or_id and network.id.startswith(name_or_id)]
    if len(found) > 1:
        raise NoSuchNetwork(
            f"{name_or_id[:80]!r} is the beginning of {len(found)} network ids: {', '.join(n.name for n in found)}"
        )
    if not found:
        near = spelling.meant(name_or_id[:80], [network.name for network in networks(host)])
        hint = f"did you mean {near}?" if near else "`cni-cnm network ls` lists them"
        raise NoSuchNetwork(f"there is no network {name_or_id[:80]!r}", hint=hint)
    return found[0]


def sandboxes(host: Host) -> Iterator[Sandbox]:
    return (Sandbox(host, record.container_id, record.netns) for record in sandbox_records(host.store, host.epoch))


def find_sandbox(host: Host, container_id: str) -> Sandbox:
    validate.require(str, container_id, "a container's id")
    record = Sandbox(host, container_id, "").record if container_id.isprintable() else None
    if record is None:
        raise NoSuchSandbox(f"the container {container_id[:80]!r} has no sandbox")
    return Sandbox(host, container_id, record.netns)


def _names_a_file(text: str) -> bool:
    try:
        validate.network_name(text)
    except ValueError:
        return False
    return True

"""Making networks and sandboxes for a program or the command line."""

from __future__ import annotations

from cni_cnm import validate
from cni_cnm.cnm.network import network_description
from cni_cnm.cnm.network.create_network import create_network
from cni_cnm.cnm.network.delete_network import remove_network
from cni_cnm.cnm.objects.network import Network
from cni_cnm.cnm.objects.sandbox import Sandbox
from cni_cnm.cnm.records import load_network
from cni_cnm.cnm.sandbox.sandbox_endpoints import register_sandbox
from cni_cnm.drivers import drivers
from cni_cnm.errors import Forbidden, InvalidConfig
from cni_cnm.model import IpamSpec, NetworkSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from cni_cnm.cnm.host import Host
    from cni_cnm.model import Json


def new_network(
    host: Host,
    name: str,
    *,
    driver: str,
    options: Mapping[str, Json],
    ipam_type: str | None,
    ipam_config: Mapping[str, Json],
    internal: bool,
    labels: Mapping[str, str],
) -> Network:
    """See `Controller.new_network`. A network that a killed process left half made is removed first."""
    validate.require(validate.network_name, name, "the network name")
    if ipam_type is None:
        ipam_type = "host-local" if drivers.get(driver).configuration.addresses else ""
    if drivers.get(driver).uses_existing_interface:
        raise InvalidConfig(
            f"a network of the driver {driver} cannot be made: other plugins make its interfaces",
            hint="it is made by a CNI configuration that follows another plugin in a chain",
        )
    spec = NetworkSpec(name, driver, options, IpamSpec(ipam_type, ipam_config), internal, labels=labels)
    parsed = drivers.get(driver).options(spec)
    with host.store.lock(f"network/{name}"):
        record = load_network(host.store, name)
        if record and not record.pending:
            raise network_description.name_taken(name)
        if record:
            remove_network(host, record)
        return Network(host, create_network(host, spec, parsed))


def new_sandbox(host: Host, container_id: str, netns: str) -> Sandbox:
    """See `Controller.new_sandbox`."""
    if not container_id or "\0" in container_id:
        raise InvalidConfig(f"{container_id!r} is no container id")
    host.namespaces.open(netns).close()
    if not register_sandbox(host, container_id, netns):
        raise Forbidden(f"the container {container_id} has a sandbox already")
    return Sandbox(host, container_id, netns)

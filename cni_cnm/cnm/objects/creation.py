"""Making networks and sandboxes for a program or the command line."""

from __future__ import annotations

from cni_cnm import validate
from cni_cnm.cnm.network import configured_network, network_description
from cni_cnm.cnm.network.create_network import create_network
from cni_cnm.cnm.network.delete_network import remove_network
from cni_cnm.cnm.objects import arguments
from cni_cnm.cnm.objects.network import Network
from cni_cnm.cnm.objects.sandbox import Sandbox
from cni_cnm.cnm.records import load_network
from cni_cnm.cnm.sandbox.sandbox_endpoints import register_sandbox
from cni_cnm.drivers import drivers
from cni_cnm.errors import Forbidden, InvalidConfig
from cni_cnm.model import IpamSpec, NetworkSpec

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.cnm.host import Host


def new_network(
    host: Host,
    name: object,
    *,
    driver: object,
    options: object,
    ipam_type: object,
    ipam_config: object,
    internal: object,
    labels: object,
    allow_overlap: object,
    dns: object,
    dns_servers: object,
) -> Network:
    """See `Controller.new_network`. A network that a killed process left half made is removed first."""
    name = validate.require(validate.network_name, name, "a network's name")
    driver = validate.require(validate.name, driver, "driver")
    if ipam_type is None:
        ipam_type = "host-local" if drivers.get(driver).configuration.addresses else ""
    elif ipam_type != "":
        validate.require(validate.name, ipam_type, "ipam_type")
    if drivers.get(driver).uses_existing_interface:
        raise InvalidConfig(
            f"a network of the driver {driver} cannot be made: other plugins make its interfaces",
            hint="it is made by a CNI configuration that follows another plugin in a chain",
        )
    spec = NetworkSpec(
        name,
        driver,
        arguments.driver_options(driver, options),
        IpamSpec(str(ipam_type), arguments.ipam_config(ipam_config)),
        arguments.flag(internal, "internal"),
        labels=arguments.labels(labels),
        allow_overlap=arguments.flag(allow_overlap, "allow_overlap"),
        names=arguments.names(name, dns, dns_servers),
    )
    network = configured_network.read(spec)
    with host.store.lock(f"network/{name}"):
        record = load_network(host.store, name)
        if record and not record.pending:
            raise network_description.name_taken(name)
        if record:
            remove_network(host, record)
        return Network(host, create_network(host, network).record)


def new_sandbox(host: Host, container_id: object, netns: object) -> Sandbox:
    """See `Controller.new_sandbox`."""
    identity = arguments.require_printable(container_id, "a container's id")
    path = arguments.path(netns, "netns")
    host.namespaces.open(path).close()
    if not register_sandbox(host, identity, path):
        raise Forbidden(f"the container {identity} has a sandbox already")
    return Sandbox(host, identity, path)

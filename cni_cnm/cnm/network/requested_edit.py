"""Changing a network because an operator or a program requests it, and not because of its configuration at an ADD."""

from __future__ import annotations

from cni_cnm.cnm.network import configured_network, network_description
from cni_cnm.cnm.network.delete_network import endpoints_of
from cni_cnm.cnm.network.edit_network import edit_network
from cni_cnm.cnm.records import load_network
from cni_cnm.drivers import OVERLAY, drivers
from cni_cnm.errors import Forbidden, InvalidConfig, NoSuchNetwork

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.cnm.host import Host
    from cni_cnm.cnm.records import NetworkRecord
    from cni_cnm.model import NetworkSpec


def edit(host: Host, spec: NetworkSpec) -> tuple[NetworkRecord, tuple[str, ...]]:
    """Change the network of that name to the specification.

    Returns the record, and what overlaps the new subnets although it is allowed.
    """
    with host.store.lock(f"network/{spec.name}"):
        old = load_network(host.store, spec.name)
        if old is None or old.pending:
            raise NoSuchNetwork(f"there is no network {spec.name!r}", hint="`cni-cnm network ls` lists them")
        refuse(old)
        network = configured_network.read(spec)
        new = network_description.describe_again(network, old)
        if new.driver == OVERLAY or network_description.is_of_plugin(new):
            raise InvalidConfig(f"the driver of the network {old.name} cannot become {new.driver}")
        endpoints = list(endpoints_of(host, old))
        merged = network_description.update(old, new, in_use=bool(endpoints))._replace(labels=spec.labels)
        if merged == old:
            return old, ()
        warnings = edit_network(host, old, merged, spec, endpoints)
        record = load_network(host.store, spec.name)
        return record or merged, warnings


def refuse(record: NetworkRecord) -> None:
    """Forbidden for a network that others have a part in: they would not know of the change."""
    if record.docker_networks or record.owner == "docker":
        shown = next((one[:12] for one in record.docker_networks), record.name)
        raise Forbidden(
            f"Docker has made the network {record.name}, and cannot be told of a change",
            hint=f"docker network rm {shown}, then `docker network create` it as it is to be",
        )
    if record.driver == OVERLAY:
        raise Forbidden(
            f"the overlay network {record.name} is the same on all hosts, so it is not edited on one of them",
            hint=f"remove it with `cni-cnm network rm --cluster {record.name}`, and make it again",
        )
    if drivers.get(record.driver).uses_existing_interface:
        raise Forbidden(
            f"the interfaces of the network {record.name} are another plugin's", hint="edit the file that configures it"
        )
    if network_description.is_of_plugin(record):
        raise Forbidden(
            f"the plugin {record.driver} was told of the network {record.name}, and cannot be told of a change",
            hint=f"remove it with `cni-cnm network rm {record.name}`, and make it again",
        )

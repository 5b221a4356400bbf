"""What a network is asked to be, as a record, and how it compares with the record that exists.

Pure: records and specifications in, records out. Nothing is read from the store or the kernel.
"""

from __future__ import annotations

from time import time

from cni_cnm import ipam
from cni_cnm.cnm.record_json import named_subnets
from cni_cnm.cnm.records import NetworkRecord
from cni_cnm.drivers import POLICY_OF_CHAIN, drivers
from cni_cnm.errors import Conflict, InvalidConfig
from cni_cnm.model import IpamSpec, NetworkSpec, digest

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni_cnm.cnm.network.configured_network import ConfiguredNetwork
    from cni_cnm.drivers import Options
    from cni_cnm.model import IPNetwork, Json


def describe(network: ConfiguredNetwork, ipam_config: Mapping[str, Json], *, earlier: bool = False) -> NetworkRecord:
    """The record of a network as requested. `earlier`: version 0.1.0 has made it."""
    spec = network.spec
    return NetworkRecord(
        id=digest(spec.name),
        name=spec.name,
        driver=spec.driver,
        options=network.driver.settled(network.options, earlier=earlier),
        ipam_type=spec.ipam.type,
        ipam=ipam_config,
        internal=spec.internal,
        labels=spec.labels,
        created=time(),
        docker_networks=spec.docker_networks,
        owner=spec.owner,
        names=spec.names,
    )


def describe_again(network: ConfiguredNetwork, record: NetworkRecord) -> NetworkRecord:
    """The same for a network that exists: a subnet that was chosen for it stays."""
    chosen = network.addressing.with_recorded_subnets(record)
    network = network._replace(options=_adopted(network, record))
    return describe(network, dict(chosen.config), earlier=not record.published_only)


def spec_of(record: NetworkRecord) -> NetworkSpec:
    """The specification that a record was made from."""
    return NetworkSpec(
        record.name,
        record.driver,
        record.options.to_json(),
        IpamSpec(record.ipam_type, record.ipam),
        record.internal,
        names=record.names,
    )


def is_of_plugin(record: NetworkRecord) -> bool:
    """True if a Docker plugin was told of the network: what it was told cannot be changed, only deleted."""
    return record.role.interface == "moved" or bool(ipam.allocated(record.ipam))


def claimed_subnets(record: NetworkRecord) -> Sequence[IPNetwork]:
    """The subnets that no other network may have: of an overlay network those of all hosts."""
    return drivers.get(record.driver).all_subnets(record.options) or subnets_of(record)


def subnets_of(record: NetworkRecord) -> list[IPNetwork]:
    """The subnets that a network's record names. What cannot be read is left out."""
    return named_subnets(record.ipam)


def update(old: NetworkRecord, new: NetworkRecord, *, in_use: bool) -> NetworkRecord:
    """The record after its configuration was edited. InvalidConfig for a change that live endpoints do not allow."""
    told = in_use and (is_of_plugin(old) or is_of_plugin(new))
    was, now = drivers.get(old.driver).fixed(old.options), drivers.get(new.driver).fixed(new.options)
    whole = (("options", old.options.to_json(), new.options.to_json()), ("ipam", _told(old), _told(new)))
    for what, before, after in (
        ("driver", old.driver, new.driver),
        *(whole if told else ()),
        *((key, was.get(key, now.get(key)), now.get(key)) for key in {**was, **now}),
        ("internal", old.internal, new.internal),
        *(
            [("subnets", _shown(old), _shown(new)), ("ipam", old.ipam_type, new.ipam_type)]
            if old.docker_networks
            else ()
        ),
    ):
        if before != after and (in_use or old.docker_networks):
            raise InvalidConfig(
                f"the network {old.name} was made with {what} {before!r}, the configuration now says {after!r}",
                hint="remove the network's containers first, or give the edited configuration another name, bridge and "
                "subnet",
            )
    if new.policy.bridge != old.policy.bridge:
        drivers.get(new.driver).refuse_new(new.options)
    owns = old.owns_data_path if new.driver == old.driver else drivers.get(new.driver).shares_links
    return new._replace(
        created=old.created,
        labels=new.labels or old.labels,
        owns_data_path=owns,
        docker_networks=old.docker_networks,
        owner=old.owner,
        published_only=old.published_only,
    )


def is_current(record: NetworkRecord, network: ConfiguredNetwork) -> bool:
    """True if the network was made completely, from the same configuration."""
    ipam_config = network.addressing.with_recorded_subnets(record).config
    options = network.driver.settled(_adopted(network, record), earlier=not record.published_only)
    spec = network.spec
    requested = (spec.name, spec.driver, options, spec.ipam.type, ipam_config, spec.internal, spec.names)
    return not record.pending and _configured(record) == requested


def _adopted(network: ConfiguredNetwork, record: NetworkRecord) -> Options:
    """The configured options, with what the recorded network got when it was made."""
    if record.driver != network.spec.driver:
        return network.options
    adopted: Options = network.driver.adopted(network.options, record.options)
    if network.spec.options.get(POLICY_OF_CHAIN):
        adopted = network.driver.with_policy_of(adopted, record.options)
    return adopted


def name_taken(name: str) -> Conflict:
    return Conflict(f"there is a network {name} already", hint="network names are unique on a host")


def _told(record: NetworkRecord) -> Json:
    """The keys of an ipam object that its plugin was told."""
    return {key: value for key, value in record.ipam.items() if key not in ("routes", "dns")}


def _shown(record: NetworkRecord) -> str:
    return ", ".join(str(subnet) for subnet in subnets_of(record)) or "none"


def _configured(record: NetworkRecord) -> tuple[object, ...]:
    """Of the record what follows from the configuration."""
    return record.name, record.driver, record.options, record.ipam_type, record.ipam, record.internal, record.names

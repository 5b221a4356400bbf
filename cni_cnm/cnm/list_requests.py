"""What the plugins of a list request that this program stands in for (cni/names/). It only delegates to requests/.

`cni-cnm` itself is one plugin for all of it, and needs none of these.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from cni_cnm.cnm.host import Host
    from cni_cnm.model import Address, Attachment, EndpointKey, EndpointSpec, IpamSpec, Lease, NetworkSpec, Part


class ListRequests:
    """Requests about one host. `Controller.lists` makes it."""

    def __init__(self, host: Host) -> None:
        self.host = host

    # parts of an endpoint, for plugins of one list ---------------------------

    def driver_of(self, key: EndpointKey) -> str:
        """The driver of an endpoint on record; "" if there is none."""
        from cni_cnm.cnm.requests import extend

        return extend.driver_of(self.host, key)

    def parts_of(self, key: EndpointKey) -> Sequence[str]:
        """The plugins that have added a part to an endpoint on record."""
        from cni_cnm.cnm.requests import extend

        return extend.parts_of(self.host, key)

    def extend(self, network: NetworkSpec, endpoint: EndpointSpec, part: Part) -> Attachment:
        """Add what one plugin of a list adds to the endpoint that another one has made. All of it or nothing.

        Args:
            network: the network of an interface that is not on record. Such an interface gets a record.
            endpoint: the endpoint, its container and its namespace; with the result of the plugins before.
            part: what is added. What the same plugin has added before is replaced.

        Returns:
            Attachment: the container's interface as it is then, and links that were added.

        Raises:
            InvalidConfig: the interface cannot have it.
            PortTaken: another endpoint has published one of the ports.
            CnmError: any other failure; the endpoint is as before.
        """
        from cni_cnm.cnm.requests import extend

        return extend.extend(self.host, network, endpoint, part)

    def withdraw(self, key: EndpointKey, plugin: str) -> bool:
        """Take a plugin's part from an endpoint. No error if it has none.

        Args:
            key: the endpoint.
            plugin: the plugin's name.

        Returns:
            bool: False if no record says that this program has made the part or the interface.

        Raises:
            CnmError: a step failed; the others were tried, and the record stays for the next call.
        """
        from cni_cnm.cnm.requests import extend

        return extend.withdraw(self.host, key, plugin)

    def check_part(self, key: EndpointKey, endpoint: EndpointSpec, part: Part) -> Sequence[str]:
        """Compare one plugin's part with the kernel. Writes nothing.

        Args:
            key: the endpoint.
            endpoint: the endpoint, its container and its namespace.
            part: what was added.

        Returns:
            Sequence[str]: warnings.

        Raises:
            CheckFailed: the first difference that was found.
        """
        from cni_cnm.cnm.requests import check_part

        return check_part.check(self.host, key, endpoint, part)

    def collect_parts(self, network: str, owner: str, valid: Sequence[EndpointKey], plugin: str) -> None:
        """Withdraw a plugin's part from the endpoints of a network that their owner does not list.

        Args:
            network: the network's name.
            owner: whose endpoints are meant; those of others stay.
            valid: the owner's endpoints that stay.
            plugin: the plugin's name.

        Raises:
            Several: more than one part could not be withdrawn.
        """
        from cni_cnm.cnm.requests import extend

        extend.collect(self.host, network, owner, valid, plugin)

    # addresses without an endpoint -------------------------------------------

    def lease(self, network: str, ipam: IpamSpec, endpoint: EndpointSpec) -> Lease:
        """Lease addresses for an interface that another program makes. All or none.

        Args:
            network: the network's name.
            ipam: the IPAM, `host-local` or `static`.
            endpoint: whom they are for, and which ones are requested.

        Raises:
            InvalidConfig: a value is wrong.
            AddressesExhausted: no address is free.
        """
        from cni_cnm.cnm.requests import lease

        return lease.lease(self.host, network, ipam, endpoint)

    def check_lease(self, network: str, ipam: IpamSpec, endpoint: EndpointSpec, addresses: Sequence[Address]) -> None:
        """Say whether addresses are leased to an endpoint.

        Args:
            network: the network's name.
            ipam: the IPAM.
            endpoint: whose they are.
            addresses: what `lease` has given, perhaps with addresses of other sources.

        Raises:
            CheckFailed: an address is not leased to it.
        """
        from cni_cnm.cnm.requests import lease

        lease.check(self.host, network, ipam, endpoint, addresses)

    def release(self, key: EndpointKey, ipam: IpamSpec, environ: Mapping[str, str]) -> None:
        """Release what `lease` has given. No error if there is nothing.

        Args:
            key: whose it is.
            ipam: the IPAM.
            environ: CNI's environment.
        """
        from cni_cnm.cnm.requests import lease

        lease.release(self.host, key, ipam, environ)

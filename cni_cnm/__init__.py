"""Networks, endpoints and sandboxes of this host, by the Container Network Model.

    from cni_cnm import open_controller

    with open_controller() as controller:
        network = controller.new_network("mynet", ipam_config={"subnet": "172.30.0.0/16"})
        red = network.create_endpoint("red", ports=["8080:80/tcp"])
        red.join(controller.new_sandbox("red", "/run/netns/red"))

open_controller                                  the entry
Controller, Network, Endpoint, Sandbox           the objects; docs/library.md tells their story
Address, Attachment, Dns, Interface, Route       what a container got
Bandwidth, PortMapping, Tuning                   what an endpoint may be given
NetworkSpec, EndpointSpec, EndpointKey, IpamSpec whole requests, for frontends
AddressPool, Settings                            where things are kept
IPAddress, IPInterface, IPNetwork                of either family, as in the standard library's ipaddress
CnmError                                         the base of all errors; cni_cnm.errors draws their tree

Importing the package loads none of this, because every pod's ADD pays for imports. They are loaded at the first use.
"""

__version__ = "0.2.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.public import *  # noqa: F403
    from cni_cnm.public import __all__ as __all__
else:  # a type checker would take every name for one that is there

    def __getattr__(name: str) -> object:
        if not name[:1].isupper() and name not in ("open_controller", "__all__"):  # a module, as a rule
            raise AttributeError(f"module 'cni_cnm' has no attribute {name!r}")
        from cni_cnm import public

        if name != "__all__" and name not in public.__all__:
            raise AttributeError(f"module 'cni_cnm' has no attribute {name!r}")
        return getattr(public, name)


def __dir__() -> list[str]:
    from cni_cnm import public

    return [*public.__all__, "__doc__", "__file__", "__name__", "__path__", "__version__"]

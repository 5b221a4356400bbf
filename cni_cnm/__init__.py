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

Importing the package loads none of this, because every pod's ADD pays for imports. A name is loaded at its first use.
"""

__version__ = "0.2.0"

__all__ = [
    "open_controller",
    "Controller",
    "Network",
    "Endpoint",
    "Sandbox",
    "Address",
    "Attachment",
    "Dns",
    "Interface",
    "Route",
    "Bandwidth",
    "PortMapping",
    "Tuning",
    "EndpointKey",
    "EndpointSpec",
    "IpamSpec",
    "NetworkSpec",
    "AddressPool",
    "Settings",
    "IPAddress",
    "IPInterface",
    "IPNetwork",
    "CnmError",
    "ActiveContainer",
    "ActiveEndpoints",
    "AddressesExhausted",
    "CheckFailed",
    "Conflict",
    "DecodeFailed",
    "DriverFailed",
    "Forbidden",
    "IncompatibleVersion",
    "InvalidConfig",
    "InvalidEnvironment",
    "InvalidNamespace",
    "IoFailed",
    "KernelError",
    "KernelFeatureMissing",
    "NamespaceGone",
    "NoSuchDriver",
    "NoSuchEndpoint",
    "NoSuchNetwork",
    "NoSuchSandbox",
    "NotFound",
    "NotReady",
    "PluginAnswerLost",
    "PluginFailed",
    "PluginRefused",
    "PluginUnreachable",
    "PortTaken",
    "Several",
    "TryAgain",
    "Unfinished",
    "UnknownContainer",
    "UnsupportedField",
    "__version__",
]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.cnm.controller import Controller
    from cni_cnm.cnm.objects.endpoint import Endpoint
    from cni_cnm.cnm.objects.network import Network
    from cni_cnm.cnm.objects.sandbox import Sandbox
    from cni_cnm.errors import (
        ActiveContainer,
        ActiveEndpoints,
        AddressesExhausted,
        CheckFailed,
        CnmError,
        Conflict,
        DecodeFailed,
        DriverFailed,
        Forbidden,
        IncompatibleVersion,
        InvalidConfig,
        InvalidEnvironment,
        InvalidNamespace,
        IoFailed,
        KernelError,
        KernelFeatureMissing,
        NamespaceGone,
        NoSuchDriver,
        NoSuchEndpoint,
        NoSuchNetwork,
        NoSuchSandbox,
        NotFound,
        NotReady,
        PluginAnswerLost,
        PluginFailed,
        PluginRefused,
        PluginUnreachable,
        PortTaken,
        Several,
        TryAgain,
        Unfinished,
        UnknownContainer,
        UnsupportedField,
    )
    from cni_cnm.model import (
        Address,
        Attachment,
        Bandwidth,
        Dns,
        EndpointKey,
        EndpointSpec,
        Interface,
        IPAddress,
        IpamSpec,
        IPInterface,
        IPNetwork,
        NetworkSpec,
        PortMapping,
        Route,
        Tuning,
    )
    from cni_cnm.settings import AddressPool, Settings
    from cni_cnm.wiring import open_controller
else:  # a type checker would take every name for one that is there
    _MODULES = {
        "open_controller": "wiring",
        "Controller": "cnm.controller",
        "Network": "cnm.objects.network",
        "Endpoint": "cnm.objects.endpoint",
        "Sandbox": "cnm.objects.sandbox",
        "AddressPool": "settings",
        "Settings": "settings",
    }
    """Where a name is defined. Those that are not here are values of `model`, or errors."""

    def __getattr__(name: str) -> object:
        if name not in __all__:
            raise AttributeError(f"module 'cni_cnm' has no attribute {name!r}")
        from importlib import import_module

        homes = [_MODULES[name]] if name in _MODULES else ["model", "errors"]
        modules = [import_module(f"cni_cnm.{home}") for home in homes]
        found = globals()[name] = next(getattr(module, name) for module in modules if hasattr(module, name))
        return found


def __dir__() -> list[str]:
    return [*__all__, "__doc__", "__file__", "__name__", "__path__"]

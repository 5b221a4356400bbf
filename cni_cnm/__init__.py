"""cni-cnm: pod networking by the Container Network Model.

`from cni_cnm import Controller` gives the library's entry; everything else is found from there.
Importing the package itself loads nothing, because every pod's ADD pays for imports.
"""

__version__ = "0.2.0"

__all__ = ["Controller", "__version__", "open_controller"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.cnm.controller import Controller
    from cni_cnm.wiring import open_controller


def __getattr__(name: str) -> object:
    if name == "Controller":
        from cni_cnm.cnm.controller import Controller

        return Controller
    if name == "open_controller":
        from cni_cnm.wiring import open_controller

        return open_controller
    raise AttributeError(f"module 'cni_cnm' has no attribute {name!r}")

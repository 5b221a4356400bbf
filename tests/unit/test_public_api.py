"""What `import cni_cnm` offers: the names, that they cost nothing until used, their documentation and their types."""

from __future__ import annotations

import inspect
import pydoc
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, assert_type

import pytest

import cni_cnm
from cni_cnm import errors
from cni_cnm.errors import CnmError
from tests.docs import api_page

OBJECTS = {"Controller", "Network", "Endpoint", "Sandbox"}
VALUES = {
    "Address", "Attachment", "Dns", "Interface", "Route", "Bandwidth", "PortMapping", "Tuning", "NetworkSpec",
    "EndpointSpec", "EndpointKey", "IpamSpec", "AddressPool", "Settings", "IPAddress", "IPInterface", "IPNetwork",
}  # fmt: skip
ERRORS = {name for name, found in vars(errors).items() if isinstance(found, type) and issubclass(found, CnmError)}
MEMBERS = {
    "Controller": {
        "namespaces", "close", "take_notes", "new_network", "networks", "walk_networks", "network", "allow", "revoke",
        "new_sandbox", "sandboxes", "sandbox", "attach", "detach", "check", "collect", "status", "families",
        "lists",
    },
    "Network": {
        "id", "name", "driver", "internal", "labels", "subnets", "spec", "endpoints", "walk_endpoints", "endpoint",
        "create_endpoint", "delete", "blocks", "edit",
    },
    "Endpoint": {
        "id", "name", "network", "owner", "mac", "addresses", "ports", "joined", "container_id", "ifname", "attachment",
        "join", "leave", "delete", "info",
    },
    "Sandbox": {"container_id", "key", "id", "endpoints", "gateways", "delete"},
}  # fmt: skip
EVIDENT = (
    "Controller", "Network", "Endpoint", "Sandbox", "Iterator[Network]", "Iterator[Endpoint]", "Iterator[Sandbox]",
    "Sequence[Endpoint]", "Mapping[int, str]",
)  # fmt: skip
"""Results that the first sentence says."""


def methods() -> Iterator[tuple[str, Any]]:
    yield "open_controller", cni_cnm.open_controller
    for name in OBJECTS:
        for member, found in api_page.members(getattr(cni_cnm, name)):
            if inspect.isfunction(found):
                yield f"{name}.{member}", found


METHODS = [pytest.param(found, id=name) for name, found in methods()]


def test_the_names() -> None:
    """Every error of the tree, and what is listed here. A name that goes breaks programs: that is a decision."""
    assert set(cni_cnm.__all__) == {"open_controller"} | OBJECTS | VALUES | ERRORS
    assert len(cni_cnm.__all__) == len(set(cni_cnm.__all__))
    assert set(cni_cnm.__all__) <= set(dir(cni_cnm))


@pytest.mark.parametrize("name", sorted(OBJECTS))
def test_the_members(name: str) -> None:
    """Steps that need a lock held are none of them: each can be called at any time, from any thread."""
    assert {member for member, _ in api_page.members(getattr(cni_cnm, name))} == MEMBERS[name]


@pytest.mark.parametrize("name", cni_cnm.__all__)
def test_a_name_is_what_its_module_defines(name: str) -> None:
    found = getattr(cni_cnm, name)
    if name not in ("IPAddress", "IPInterface", "IPNetwork"):
        assert found.__name__ == name
        assert found.__doc__


def test_other_names_are_none() -> None:
    with pytest.raises(AttributeError, match="has no attribute 'nothing'"):
        cni_cnm.nothing  # type: ignore[attr-defined]  # noqa: B018


def test_importing_loads_nothing() -> None:
    """No module of the package but itself, and none of the standard library that the interpreter has not loaded."""
    script = "import sys; before = {*sys.modules}; import cni_cnm; print(*{*sys.modules} - before)"
    done = subprocess.run([sys.executable, "-Sc", script], cwd=Path(cni_cnm.__file__).parent.parent, **RUN)
    assert done.stdout.split() == ["cni_cnm"]


RUN: dict[str, Any] = {"check": True, "capture_output": True, "text": True}


def test_help_shows_the_objects() -> None:
    text = pydoc.plain(pydoc.render_doc(cni_cnm))
    for words in ("class Controller", "class Endpoint", "open_controller(", "class PortTaken"):
        assert words in text


@pytest.mark.parametrize("method", METHODS)
def test_a_method_says_what_it_takes_gives_and_raises(method: Any) -> None:
    """Each argument is described, in its order; and so are a result that is no plain object, and the errors."""
    text = inspect.getdoc(method) or ""
    parameters = [name for name in inspect.signature(method).parameters if name != "self"]
    described = [line.split(":")[0].strip() for line in _section(text, "Args:")]
    if method.__name__ not in ("walk_networks", "walk_endpoints", "sandbox"):
        assert described == parameters
    returns = inspect.signature(method).return_annotation
    assert bool(_section(text, "Returns:")) is (returns not in (*EVIDENT, "None")), returns
    for line in _section(text, "Raises:"):
        name = line.split(":")[0].strip()
        assert name in ERRORS, f"{name} is no error of the tree"


def _section(text: str, title: str) -> list[str]:
    """The first lines of a section's items."""
    _, _, rest = text.partition(f"\n{title}\n")
    lines = rest.split("\n\n")[0].splitlines()
    return [line for line in lines if line.startswith("    ") and not line.startswith("     ")]


@pytest.mark.parametrize("name", sorted(OBJECTS))
def test_a_repr_names_the_object(name: str) -> None:
    """As `<Network mynet bridge 10.1.0.0/16>`: not the default one, which names an address."""
    assert getattr(cni_cnm, name).__repr__ is not object.__repr__


if TYPE_CHECKING:

    def typing(controller: cni_cnm.Controller) -> None:
        """Never run: mypy checks it, and a program that uses the package gets the same types."""
        with cni_cnm.open_controller("/etc/cni-cnm/config.toml") as opened:
            assert_type(opened, cni_cnm.Controller)
        network = controller.new_network("n", ipam_config={"subnet": "10.1.0.0/16"}, options={"mtu": 1400})
        assert_type(network, cni_cnm.Network)
        assert_type(controller.networks(), Iterator[cni_cnm.Network])
        assert_type(network.subnets, Sequence[cni_cnm.IPNetwork])
        endpoint = network.create_endpoint(
            "e", addresses=["10.1.2.3"], ports=["8080:80", cni_cnm.PortMapping("udp", 53, 53)],
            bandwidth={"ingressRate": 1000, "ingressBurst": 1000}, tuning=cni_cnm.Tuning(mtu=1400),
        )  # fmt: skip
        assert_type(endpoint, cni_cnm.Endpoint)
        sandbox = controller.new_sandbox("red", Path("/run/netns/red"))
        assert_type(sandbox, cni_cnm.Sandbox)
        assert_type(endpoint.join(sandbox, ifname="eth0"), cni_cnm.Attachment)
        assert_type(endpoint.addresses, tuple[cni_cnm.Address, ...])
        assert_type(sandbox.endpoints(), Sequence[cni_cnm.Endpoint])
        assert_type(sandbox.gateways(), Mapping[int, str])
        assert_type(endpoint.leave(), None)
        assert_type(network.delete(force=True), Sequence[str])
        controller.allow(network, "other")
        network.create_endpoint("e", ports=8080)  # type: ignore[arg-type]
        endpoint.join("red")  # type: ignore[arg-type]

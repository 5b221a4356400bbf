"""host-device networks through the whole engine, on a kernel in memory: a device comes to a container, and back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from cni_cnm.drivers.host_device_options import HostDeviceOptions, parse
from cni_cnm.errors import CheckFailed, Conflict, InvalidConfig, KernelError
from cni_cnm.kernel import Hardware, Link
from cni_cnm.kernel.sysfs import hardware
from cni_cnm.model import Bandwidth, IpamSpec, NetworkSpec, PortMapping, Tuning
from tests.unit.drivers.world import World

SUBNET = {"subnet": "192.0.2.0/24"}
MAC = "02:00:00:00:00:77"
PCI = "0000:00:19.0"


@pytest.fixture
def world(tmp_path: Path) -> World:
    """eth1 is the device: a virtual one, in place of a network card."""
    return World(tmp_path)


def net(ipam: str = "host-local", **options: Any) -> NetworkSpec:
    config = SUBNET if ipam else {}
    options = options or {"device": "eth1"}
    return NetworkSpec("lan", "host-device", {"profile": "reference", **options}, IpamSpec(ipam, config))


def give_alias(world: World, alias: str) -> Link:
    world.host.set_link(world.link("eth1").ifindex, alias=alias)
    return world.link("eth1")


def test_a_container_s_life(world: World) -> None:
    """ADD, CHECK, DEL: the device has name and address in the container; on the host it is as before, and down."""
    before = give_alias(world, "by the administrator")
    made = world.attach(net())
    link = world.link("eth0", world.containers["a"])
    assert world.host.link("eth1") is None
    assert (link.mac, link.up, link.alias) == (before.mac, True, "eth1")
    assert [interface.name for interface in made.interfaces] == ["eth0"]
    assert (made.container_index, made.interfaces[0].sandbox) == (0, "/netns/a")
    assert [str(address.interface) for address in made.addresses] == ["192.0.2.2/24"]
    assert made.routes == ()
    world.check(net())
    world.detach(net())
    assert world.containers["a"].link("eth0") is None
    assert world.link("eth1")._replace(ifindex=before.ifindex, up=True) == before
    assert not world.leases("lan")
    world.detach(net())


def test_without_addresses(world: World) -> None:
    """IPAM is optional: the device is up, and that is all."""
    made = world.attach(net(""))
    assert world.link("eth0", world.containers["a"]).up
    assert made.addresses == ()
    world.check(net(""))
    world.detach(net(""))
    assert world.host.link("eth1") is not None


@pytest.mark.parametrize(
    ("options", "device_id"),
    [
        ({"hwaddr": ""}, ""),
        ({"kernelpath": "/sys/devices/pci0000:00/0000:00:19.0"}, ""),
        ({"pcibusid": PCI}, ""),
        ({"pcibusid": "0000:00:01.0"}, PCI),
        ({"enableipv6": False}, PCI),
        ({"enableipv6": False}, "mlx5_core.sf.4"),
    ],
    ids=["MAC", "place in sysfs", "PCI", "device id before PCI", "device id", "auxiliary device"],
)
def test_ways_to_name_the_device(world: World, options: dict[str, Any], device_id: str) -> None:
    card = Hardware(("missing", "eth1"), "e1000")
    for folder in (f"devices/pci0000:00/{PCI}", f"bus/pci/devices/{PCI}", "bus/auxiliary/devices/mlx5_core.sf.4"):
        world.host.space.hardware[folder] = card
    if "hwaddr" in options:
        options = {"hwaddr": world.link("eth1").mac.upper()}
    made = world.attach(net(**options), device_id=device_id)
    assert made.interfaces[0].name == "eth0"
    assert world.host.link("eth1") is None
    world.detach(net(**options))
    assert world.host.link("eth1") is not None


def test_a_device_that_a_program_uses(world: World) -> None:
    """Bound to vfio-pci it has no link: the container gets an address for that program, and no interface."""
    world.host.space.hardware[f"bus/pci/devices/{PCI}"] = Hardware((), "vfio-pci")
    made = world.attach(net(pcibusid=PCI))
    assert made.interfaces == ()
    assert [str(address.interface) for address in made.addresses] == ["192.0.2.2/24"]
    world.check(net(pcibusid=PCI))
    world.detach(net(pcibusid=PCI))
    assert not world.leases("lan")


@pytest.mark.parametrize(
    ("network", "sentence"),
    [
        (net(device="eth7"), "the host has no link eth7"),
        (net(hwaddr=MAC), f"the host has no link with the MAC {MAC}"),
        (net(pcibusid=PCI), f"no network device at {PCI}"),
        (net(device="lo"), "lo cannot be moved"),
        (net(enableipv6=False), 'specify either "device"'),
        (net(kernelpath="/etc"), "begins with /sys/devices/"),
        (net(kernelpath="/sys/devices/../../etc"), "without '..'"),
        (net(pcibusid="../0000"), "a PCI address"),
        (net(device="a/b"), "an interface name"),
        (net()._replace(internal=True), "cannot be internal"),
        (net(device="eth1", ingresspolicy="isolated"), "do not pass the host's packet filter"),
        (net(device="eth1", labels={"a": "b"}), "options are given beside keys"),
    ],
)
def test_refusals_touch_nothing(world: World, network: NetworkSpec, sentence: str) -> None:
    before = world.host.links()
    with pytest.raises(InvalidConfig, match=sentence):
        world.attach(network)
    assert world.host.links() == before
    assert not world.leases("lan")


def test_what_a_device_cannot_have(world: World) -> None:
    """No published ports and no limits: its packets do not pass the host."""
    for more in ({"ports": (PortMapping("tcp", 80, 80),)}, {"bandwidth": Bandwidth(8000, 8000)}):
        with pytest.raises(InvalidConfig):
            world.attach(net(), **more)
    assert world.host.link("eth1") is not None


def test_a_device_that_a_container_has(world: World) -> None:
    """The second container is refused, and the first one keeps it."""
    world.attach(net())
    with pytest.raises(InvalidConfig, match="another container may have it"):
        world.attach(net(), "b")
    world.check(net())
    assert world.leases("lan") == {"192.0.2.2"}


def test_mac_and_tuning_are_for_the_container(world: World) -> None:
    """What was changed for the container is changed back when the device returns."""
    before = world.link("eth1")
    world.attach(net(), mac=MAC, tuning=Tuning((("net/ipv4/conf/eth0/arp_ignore", "1"),), mtu=1400, promisc=True))
    link = world.link("eth0", world.containers["a"])
    assert (link.mac, link.mtu, link.promisc) == (MAC, 1400, True)
    world.check(net())
    world.detach(net())
    assert world.link("eth1")._replace(ifindex=before.ifindex, up=True) == before


def test_another_link_has_its_name_by_now(world: World) -> None:
    """The device is back under a name that is free, and is not deleted."""
    mac = world.link("eth1").mac
    world.attach(net())
    world.host.add_ifb("eth1")
    world.detach(net())
    assert world.link("eth1").kind == "ifb"
    back = [link for link in world.host.links() if link.mac == mac]
    assert [(link.name.startswith("dev"), link.alias) for link in back] == [(True, "")]


def test_the_namespace_is_gone(world: World) -> None:
    """The kernel has moved a physical device to the host, under its name in the container: DEL gives it its own."""
    before = world.link("eth1")
    world.attach(net(), mac=MAC)
    container = world.containers["a"]
    container.move_link(world.link("eth0", container).ifindex, world.host, name="dev7")
    world.namespaces.remove("/netns/a")
    world.detach(net())
    assert world.link("eth1")._replace(ifindex=before.ifindex, up=True) == before
    assert not world.leases("lan")


def test_the_namespace_is_gone_with_a_virtual_device(world: World) -> None:
    """The kernel deletes it. DEL releases the address."""
    world.attach(net())
    world.namespaces.remove("/netns/a")
    world.detach(net())
    assert not world.leases("lan")
    assert not list(world.controller.network("lan").endpoints())


def test_a_failure_gives_it_back(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sysctl that cannot be written, after the device is in the container."""
    before = give_alias(world, "mine")
    with pytest.raises(KernelError):
        world.attach(net(), tuning=Tuning((("net/ipv4/no_such_key", "1"),)))
    assert world.link("eth1")._replace(ifindex=before.ifindex, up=True) == before
    assert not world.leases("lan")


@pytest.mark.parametrize("step", ["set_link", "move_link", "add_address"])
def test_a_kill_at_any_step(world: World, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    """What a killed ADD has left is put right by DEL: no undo has run."""
    before = world.link("eth1")
    stack = type(world.host)
    real = getattr(stack, step)

    class Killed(BaseException):
        pass

    def killed(self: Any, *args: Any, **named: Any) -> Any:
        real(self, *args, **named)
        raise Killed

    monkeypatch.setattr(stack, step, killed)
    monkeypatch.setattr("cni_cnm.cnm.rollback.Rollback.__exit__", lambda self, *_: None)
    with pytest.raises(Killed):
        world.attach(net())
    monkeypatch.undo()
    world.detach(net())
    assert world.link("eth1")._replace(ifindex=before.ifindex, up=True) == before
    assert not world.leases("lan")
    world.attach(net())
    world.check(net())


def test_check_names_what_is_missing(world: World) -> None:
    world.attach(net())
    container = world.containers["a"]
    container.delete_link(world.link("eth0", container).ifindex)
    with pytest.raises(CheckFailed, match="eth0 is missing"):
        world.check(net())


def test_the_name_in_the_container_is_taken(world: World) -> None:
    container = world.containers["a"]
    container.add_ifb("eth0")
    with pytest.raises(Conflict):
        world.attach(net())
    assert world.link("eth1").alias == ""


def test_the_record_s_form() -> None:
    made = parse(net(device="eth1", hwaddr=MAC, kernelpath="/sys/devices/x/", pcibusid=PCI))
    assert made == HostDeviceOptions("eth1", MAC, "/sys/devices/x", PCI)
    assert HostDeviceOptions.from_json({**made.to_json(), "later": 1}) == made


def test_devices_in_sysfs(tmp_path: Path) -> None:
    """A network card, a virtio card with its links one folder deeper, one that a program uses, and none."""
    for folder in ("card/net/eth5", "virtio/virtio2/net/eth6", "bound", "drivers/vfio-pci", "drivers/e1000"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "bound/driver").symlink_to("../drivers/vfio-pci")
    (tmp_path / "card/driver").symlink_to("../drivers/e1000")
    assert hardware("card", root=str(tmp_path)) == Hardware(("eth5",), "e1000")
    assert hardware("virtio", root=str(tmp_path)) == Hardware(("eth6",), "")
    assert hardware("bound", root=str(tmp_path)) == Hardware((), "vfio-pci")
    assert hardware("nothing", root=str(tmp_path)) is None

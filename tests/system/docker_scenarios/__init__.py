"""Scenarios of Docker's own tests of its bridge driver, in our words: each runs on its bridge and on our network.

    @scenario("TestBridgeICC")              the tests that it stands for, of moby's integration/networking and
    def neighbours(side: Side) -> Seen:     integration/network
        ...                                 what is seen, as values that are equal where both drivers behave equally

A module for each subject. `side` is the machine with one of the two drivers.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from tests.system.docker_scenarios.side import Side

Seen: TypeAlias = dict[str, Any]
Ways: TypeAlias = dict[str, tuple[Any, ...]]
"""What is seen to a function that returns a bool, and its arguments."""
SUBJECTS = ("reach", "ports", "addresses", "interfaces", "names")


class Scenario(NamedTuple):
    run: Callable[[Side], Seen]
    tests: tuple[str, ...]
    """The names of Docker's tests."""
    smoke: bool
    """It is part of every run."""


NOT_OF_A_NETWORK = {
    "TestDefaultBridgeIPv6": "docker0",
    "TestDefaultBridgeAddresses": "docker0",
    "TestNoIP6Tables": "an option of dockerd about its own rules",
    "TestReadOnlySlashProc": "a fault that is built into dockerd",
    "TestLegacyLinksEnvVars": "docker0",
    "TestDNSNamesForNonSwarmScopedNetworks": "a swarm",
    "TestAcceptFwMark": "an option of dockerd about its own rules",
    "TestAllowDirectRemoteAccessOnExposedPort": "an option of dockerd about its own rules",
    "TestSkipRawRules": "dockerd's own rules",
    "TestWatchtowerCreate": "the driver macvlan",
    "TestResolvConfLocalhostIPv6": "docker0",
    "TestNslookupWindows": "Windows",
    "TestInfoFirewallBackend": "docker info",
    "TestCreateWithIPv6WithoutEnableIPv6Flag": "an option of dockerd about the driver bridge",
    "TestDefaultIPvOptOverride": "an option of dockerd about the driver bridge",
    "TestFilterForwardPolicy": "dockerd's own rules; tests/system/test_docker_forward.py",
    "TestFirewalldReloadNoZombies": "dockerd's own rules; tests/system/test_firewalld.py",
    "TestLegacyLink": "docker0",
    "TestRemoveLegacyLink": "docker0",
    "TestNoSuchExternalBridge": "docker0",
    "TestFirewallBackendSwitch": "dockerd's own rules; tests/system/test_docker_29.py",
    "TestPortBindingBackfillingForOlderContainers": "files of dockerd",
    "TestNetworkInitErrorDocker0": "docker0",
    "TestNetworkInitErrorUserDefined": "a fault that is built into dockerd",
}
"""Docker's other tests of these folders, and what they are about."""
_scenarios: dict[str, Scenario] = {}


def scenario(*tests: str, smoke: bool = False) -> Callable[[Callable[[Side], Seen]], Callable[[Side], Seen]]:
    def add(function: Callable[[Side], Seen]) -> Callable[[Side], Seen]:
        _scenarios[function.__name__] = Scenario(function, tests, smoke)
        return function

    return add


def scenarios() -> Mapping[str, Scenario]:
    """By the function's name."""
    for subject in SUBJECTS:
        import_module(f"{__name__}.{subject}")
    return _scenarios

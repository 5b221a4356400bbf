"""firewalld: a network's bridge goes into a zone that lets it through. At run time only, as its reload forgets it.

firewalld drops in a table of its own, where no rule of another program counts: what is not in a zone of its own is
in the default one, which forwards nothing. Its command takes 0.3 s; it is run once per network, and only on a host
that has it.
"""

from __future__ import annotations

import os
from errno import EIO, ETIMEDOUT

from cni_cnm.child_output import OutputTooLong
from cni_cnm.errors import InvalidConfig, KernelError
from cni_cnm.kernel import iptables
from cni_cnm.kernel.iptables import PATH, TIMEOUT_S

TYPE_CHECKING = False
if TYPE_CHECKING:
    from subprocess import CompletedProcess

TRUSTED = "trusted"
ZONE_NAME_MAX = 17
_NOT_RUNNING, _DBUS_ERROR, _UNKNOWN_INTERFACE = 252, 36, 125
"""Exit codes of firewall-cmd. It speaks D-Bus: with no bus to speak on, no firewalld can run."""
_NO_BUS = "Failed to connect to socket"


def parse_zone(name: object) -> str:
    """`firewalldZone` of the reference `firewall` plugin; absent: trusted."""
    if name is None or name == "":
        return TRUSTED
    plain = isinstance(name, str) and len(name) <= ZONE_NAME_MAX and name.replace("_", "a").replace("-", "a").isalnum()
    if not isinstance(name, str) or not plain or name[0] == "-":
        raise InvalidConfig(f"firewalldZone {name!r} is not the name of a zone")
    return name


def trust(link: str, zone: str = TRUSTED) -> bool:
    """Put the link into the zone, out of any other. False where firewalld is not installed or does not run."""
    return _zone(zone, f"--change-interface={link}")


def trusts(link: str, zone: str = TRUSTED) -> bool | None:
    """Whether the link is in the zone; None where no firewalld runs."""
    done = _run(zone, f"--query-interface={link}")
    if done is None:
        return None
    return done.returncode == 0


def forget(link: str, zone: str = TRUSTED) -> bool:
    """Take the link out of the zone; one that is in none is done."""
    return _zone(zone, f"--remove-interface={link}", _UNKNOWN_INTERFACE)


def _zone(zone: str, change: str, fine: int = 0) -> bool:
    done = _run(zone, change)
    if done is None:
        return False
    if done.returncode not in (0, fine):
        said = (done.stderr.strip() or done.stdout.strip()).removeprefix("Error: ")
        raise KernelError(f"firewalld refused {change} in the zone {zone}: {said}", EIO)
    return True


def _run(zone: str, *arguments: str) -> CompletedProcess[str] | None:
    """None where no firewalld runs."""
    if not any(os.access(f"{folder}/firewall-cmd", os.X_OK) for folder in PATH["PATH"].split(":")):
        return None
    from subprocess import CompletedProcess, TimeoutExpired

    command = ["firewall-cmd", f"--zone={zone}", *arguments]
    try:
        done = CompletedProcess(command, *iptables.execute(command))
    except OutputTooLong as error:
        raise KernelError(f"firewall-cmd printed {error}", EIO) from error
    except TimeoutExpired as error:
        raise KernelError(f"firewalld did not answer within {TIMEOUT_S} s", ETIMEDOUT) from error
    absent = done.returncode == _NOT_RUNNING or (done.returncode == _DBUS_ERROR and _NO_BUS in done.stderr)
    return None if absent else done

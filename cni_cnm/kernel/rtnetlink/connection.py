"""The rtnetlink connection of one namespace: its descriptor, the socket opened in it, and names for error messages."""

from __future__ import annotations

import os
from errno import ENOENT

from cni_cnm.bases import TypeVar
from cni_cnm.errors import KernelError, KernelFeatureMissing
from cni_cnm.kernel.netlink.header import RTM_GETLINK
from cni_cnm.kernel.netlink.netlink_socket import Later, NetlinkSocket
from cni_cnm.kernel.rtnetlink import links
from cni_cnm.kernel.setns import entered

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from cni_cnm.kernel.contract.link import Link
    from cni_cnm.kernel.sysctl import Folders

T = TypeVar("T")


class Connection:
    """Owns the descriptor `fd`. `path` is how the namespace was named, "" for the host's."""

    folders: Folders = {}  # noqa: RUF012 - never changed
    """Open folders of its sysctls."""

    def __init__(self, fd: int, path: str) -> None:
        self.fd = fd
        self.place = f" in {path}" if path else ""
        """The end of a sentence about this namespace."""
        self.names: dict[int, str] = {}
        """Names of links by index, as they were when last read. Error messages use them."""
        self._socket: NetlinkSocket | None = None

    @property
    def socket(self) -> NetlinkSocket:
        """Opened when first used."""
        if self._socket is None:
            self._socket = self.open_socket()
        return self._socket

    def open_socket(self) -> NetlinkSocket:
        return entered(self.fd, NetlinkSocket)

    def inside(self, action: Callable[[], T]) -> T:
        """Call `action` in the namespace, after what is queued: a queued request may create the link it is about."""
        self.flush()
        return entered(self.fd, action)

    def flush(self) -> None:
        """Send what is queued, if anything is."""
        if self._socket is not None:
            self._socket.flush()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def write(self, body: bytes, kind: int, sentence: str | Later, *, flags: int = 0, feature: str = "") -> None:
        """Send, or queue inside a batch. `sentence` names the action: "adding the address 10.0.0.2/24 to eth0"."""
        said = Later(lambda: f"{sentence}{self.place}") if self.place else sentence
        self.socket.write(body, kind, said, flags=flags, feature=feature)

    def control(self, body: bytes, kind: int, sentence: str, *, flags: int = 0, feature: str = "") -> None:
        """Send at once, after what is queued.

        The kernel answers ENOENT for a kind of discipline or filter that it lacks. Sent alone, the request can be told
        from others that answer ENOENT.
        """
        self.socket.flush()
        try:
            self.write(body, kind, sentence, flags=flags, feature=feature)
            self.socket.flush()
        except KernelError as error:
            if not feature or error.errno != ENOENT:
                raise
            raise KernelFeatureMissing(f"{sentence} failed: this kernel has no {feature}", details=error.msg) from error

    def link_at(self, index: int) -> Link | None:
        if index <= 0:
            return None
        sentence = f"looking for {self.name(index)}{self.place}"
        return self.read(self.socket.ask(links.query(index), RTM_GETLINK, sentence))

    def read(self, found: tuple[bytes, int] | None) -> Link | None:
        """The link of an answer; its name is remembered."""
        if found is None:
            return None
        link = links.read(*found)
        self.names[link.ifindex] = link.name
        return link

    def name(self, index: int) -> str:
        return self.names.get(index) or f"link {index}"

"""DNS of an ipam object, of a CNI result, or of a file in the format of resolv.conf(5)."""

from __future__ import annotations

from cni_cnm import text_file
from cni_cnm.errors import InvalidConfig
from cni_cnm.model import Dns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from cni_cnm.fields import Fields


def read(fields: Fields) -> Dns:
    """`dns`: {nameservers, domain, search, options}. InvalidConfig names the key that is wrong."""
    dns = fields.object("dns")
    return Dns(dns.texts("nameservers"), dns.text("domain"), dns.texts("search"), dns.texts("options"))


def read_file(path: str) -> Dns:
    """As host-local reads it: several `search` lines are added up. InvalidConfig if the file cannot be read."""
    found: dict[str, list[str]] = {"nameserver": [], "domain": [], "search": [], "options": []}
    try:
        content = text_file.read(path).decode(errors="replace")
    except OSError as error:
        raise InvalidConfig(f"ipam.resolvConf {path} cannot be read: {error.strerror}") from error
    for line in content.split("\n"):
        words = line.split()
        if len(words) < 2 or words[0][0] in "#;" or words[0] not in found:
            continue
        found[words[0]] += words[1:2] if words[0] in ("nameserver", "domain") else words[1:]
    return Dns(
        tuple(found["nameserver"]),
        "".join(found["domain"][-1:]),
        tuple(found["search"]),
        tuple(found["options"]),
    )

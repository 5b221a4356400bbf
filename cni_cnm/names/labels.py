"""Which names an endpoint has, from what runtimes call it.

A name is one or more labels of letters, digits, '-' and '_'. Every name is answered below the network's domain. Without
the domain single labels are answered, and NAME.NAMESPACE of a pod, if NAME has no dot and others have no names in
NAMESPACE: `web.dev` may be a host of the Internet.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from cni_cnm.model import Pod

LABEL_MAX = 63
NAME_MAX = 253
"""Characters (RFC 1035, section 2.3.4)."""
_ID_DIGITS = 64
_SHORT_ID = 12
_PUNCTUATION = {ord("-"): None, ord("_"): None}
_BARRED = frozenset(("localhost", "localdomain"))
"""Names of the host itself (RFC 6761)."""
_OF_SITES = frozenset(("corp", "home", "internal", "lan", "local", "onion"))
"""Domains that sites and clouds have names in, although the root of the Internet has none of them."""


def is_label(text: str) -> bool:
    """Whether it is a label that may be answered, in lower case."""
    letters = text.translate(_PUNCTUATION)
    return (
        0 < len(text) <= LABEL_MAX
        and text.isascii()
        and letters.isalnum()
        and text == text.lower()
        and text[0] != "-" != text[-1]
        and text not in _BARRED
    )


def is_name(text: str) -> bool:
    """Whether it is a name of such labels, with a dot between each two."""
    return len(text) <= NAME_MAX and all(map(is_label, text.split(".")))


def domain_of(network: str, configured: str = "") -> str:
    """The domain of a network: the configured one, else NETWORK.internal. "" if the configured one is no name.

    `internal` is reserved for private use: no public name ends in it. A network's name may have characters that a label
    cannot have: each becomes a '-'.
    """
    if configured:
        domain = configured.lower().rstrip(".")
        return domain if is_name(domain) else ""
    label = "".join(one if one.isalnum() or one in ".-" else "-" for one in network.lower())
    return ".".join(part[:LABEL_MAX].strip("-") or "network" for part in label.split(".")) + ".internal"


def of_endpoint(container_id: str, pod: Pod, aliases: Iterable[str], domain: str) -> tuple[tuple[str, ...], list[str]]:
    """The names of an endpoint, without the domain, the one that a PTR answers first; and what no name can be made of.

    The id of a container counts where it is a label. Of 64 hex digits the first 12 do, as Docker and podman have it.
    """
    own, short = container_id.lower(), ""
    if len(own) == _ID_DIGITS and all(digit in "0123456789abcdef" for digit in own):
        own, short = "", own[:_SHORT_ID]
    qualified = f"{pod.name}.{pod.namespace}" if pod.name and pod.namespace else ""
    found: dict[str, None] = {}
    wrong = []
    for text in (pod.name, own if is_label(own) else "", *aliases, qualified, short):
        name = text.lower().removesuffix(".").removesuffix(f".{domain}")
        if text and text.isascii() and is_name(name) and len(name) + len(domain) < NAME_MAX:
            found[name] = None
        elif text:
            wrong.append(text)
    return tuple(found), wrong


def answered(names: Iterable[str], pod: Pod, domain: str) -> list[str]:
    """All that is answered for these names, in the order of a hosts file."""
    of_pod = f"{pod.name}.{pod.namespace}".lower()
    found = []
    for name in names:
        found.append(f"{name}.{domain}")
        if "." not in name or (name == of_pod and _is_free(name)):
            found.append(name)
    return found


def may_answer(name: str, domain: str) -> bool:
    """Whether a name that another host has written may be answered as it is."""
    if not is_name(name):
        return False
    return "." not in name or name.endswith(f".{domain}") or _is_free(name)


def _is_free(name: str) -> bool:
    """Whether it is NAME.NAMESPACE, and no name of the Internet, of a site, or of another network.

    A pod's name may have dots: as `metadata.google` of the namespace `internal` it would take a name of its cloud.
    """
    from cni_cnm.names.top_level_domains import TOP_LEVEL_DOMAINS

    last = name.partition(".")[2]
    return "." not in last and last not in TOP_LEVEL_DOMAINS and last not in _OF_SITES

"""Examples that `--help` shows below the options, by noun and verb."""

from __future__ import annotations

from argparse import HelpFormatter

EXAMPLES: dict[str, tuple[tuple[str, str], ...]] = {
    "": (
        ("Which networks are here?", "network ls"),
        ("Which containers are on a network?", "endpoint ls --network NETWORK"),
        ("Which container has this address?", "endpoint ls --filter address=10.1.2.3"),
        ("What is wrong on this host?", "doctor"),
        ("Why does a packet not arrive?", "explain CONTAINER --to 10.1.2.3:80"),
        ("Is there an address left?", "ipam ls"),
        ("Try a network.", "run NETWORK -- ip address"),
    ),
    "network": (
        ("Make a network of this host.", "network create shop --subnet 10.7.0.0/24"),
        ("Let two networks reach each other.", "network allow shop stock"),
        ("Which networks are open to each other?", "network ls --format 'table {{.Name}}\\t{{.Allowed}}'"),
    ),
    "network ls": (
        ("The names alone, for a script.", "network ls --quiet --no-trunc"),
        ("Names and subnets of bridges.", "network ls --filter driver=bridge --format '{{.Name}} {{.Subnets}}'"),
    ),
    "network prune": (("What would be removed?", "network prune --dry-run"),),
    "explain": (
        ("Does a pod reach another one, and does the answer come back?", "explain shop/front-0 --to shop/stock-0:5432"),
        ("Who answers on a published port, for a client outside?", "explain 8080"),
        ("Does the host reach a port of a pod, as a probe of kubelet does?", "explain shop/front-0 --from host:8080"),
        ("Which rules does a real packet meet?", "explain shop/front-0 --to 10.1.2.3:80 --live --send"),
    ),
    "drops": (("Reasons and packets, for a script.", "drops --format '{{.Reason}} {{.Packets}}'"),),
    "endpoint": (
        ("Which endpoints does a pod have?", "endpoint ls --filter pod=shop/front-0"),
        ("All that is recorded of who publishes port 8080.", "endpoint inspect 8080"),
        ("Remove what a runtime has left of a container.", "endpoint rm CONTAINER"),
    ),
    "endpoint ls": (
        ("Endpoints that are not ready.", "endpoint ls --filter state=pending --filter state=created"),
        ("Pods and their addresses.", "endpoint ls --format 'table {{.Pod}}\\t{{.Addresses}}'"),
    ),
    "endpoint inspect": (
        ("By pod.", "endpoint inspect shop/front-0"),
        ("By address.", "endpoint inspect 10.1.2.3"),
        ("By the name of its link on the host.", "endpoint inspect veth1a2b3c4d"),
    ),
    "sandbox": (
        ("Whose namespace is gone?", "sandbox ls --filter state=gone"),
        ("Addresses, gateway and ports of a pod.", "sandbox inspect shop/front-0"),
    ),
    "ipam": (
        ("How full are the subnets?", "ipam ls"),
        ("Who holds 10.1.2.3?", "ipam show NETWORK --filter address=10.1.2.3"),
        ("Which leases does no endpoint have?", "ipam show NETWORK --filter 'holder=another program'"),
    ),
    "port": (
        ("Who has port 8080?", "port ls --filter port=8080"),
        ("Which ports are not in the packet filter?", "port ls --filter state=missing"),
    ),
    "node": (("Which hosts show no life?", "node ls --filter state=silent"),),
}
"""A question or a purpose, and the command without the program's name."""


class Formatter(HelpFormatter):
    """Wraps a text that is one line, and leaves examples as they are."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return text if "\n" in text else super()._fill_text(text, width, indent)


def epilog(path: str, text: str | None) -> str | None:
    """The examples of a noun or verb, and what its parser has below the options already."""
    found = EXAMPLES.get(path)
    if found is None:
        return text
    lines = [line for purpose, command in found for line in (f"  {purpose}", f"      cni-cnm {command}")]
    return "\n".join(["examples:", *lines, *(["", text] if text else [])])

"""Parts are run one after the other, and one that fails does not stop the others."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from cni_cnm.cnm.host import Host
from cni_cnm.cnm.reconcile import reconcile as module
from cni_cnm.cnm.reconcile.changed import EVERYTHING, Changed, changed_by
from cni_cnm.cnm.reconcile.difference import Difference, Outcome
from cni_cnm.errors import KernelError
from cni_cnm.kernel.contract.changes import NOTHING, LinkChange
from tests.memory_kernel.host import memory_host
from tests.memory_kernel.namespaces import MemoryNamespaces


class Scripted:
    """A part that finds `found`. `repair` answers with what is given for the key, or raises it."""

    def __init__(self, found: dict[str, str | KernelError], broken: KernelError | None = None) -> None:
        self.found = found
        self.broken = broken

    def compare(self, host: Host, changed: Changed) -> Iterator[Difference]:
        for key in self.found:
            yield Difference(f"the thing {key}", "it is down" if key != "unknown" else "", key)
        if self.broken is not None:
            raise self.broken

    def repair(self, host: Host, difference: Difference) -> str:
        answer = self.found[difference.key]
        if isinstance(answer, KernelError):
            raise answer
        return answer


def test_every_part_has_its_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was right by the time of the repair is not said."""
    refused = KernelError("the kernel refuses", 1)
    parts = (Scripted({"a": "put right", "b": refused, "c": "", "unknown": ""}, refused), Scripted({"d": "made again"}))
    monkeypatch.setattr(module, "PARTS", parts)
    host = memory_host(tmp_path)
    assert list(module.reconcile(host)) == [
        Outcome("the thing a: it is down; put right", "repaired"),
        Outcome("the thing b: it is down; this was not repaired: the kernel refuses", "failed"),
        Outcome("what differs from the records is not known: the kernel refuses", "failed"),
        Outcome("the thing d: it is down; made again", "repaired"),
    ]
    monkeypatch.setattr(module, "PARTS", (Scripted({"a": "", "unknown": ""}),))
    assert [one.key for one in module.compare(host)] == ["a"]


def test_what_the_kernel_reports() -> None:
    """Links by name. An address on a pod's link says nothing, and a link that is gone needs nothing."""
    stack = MemoryNamespaces().host()
    stack.add_bridge("br9", mac="")
    stack.add_veth("veth1", peer="peer", peer_stack=stack)
    bridge, veth = (link.ifindex for name in ("br9", "veth1") if (link := stack.link(name)) is not None)

    def of(**change: object) -> Changed:
        return changed_by(NOTHING, LinkChange(**change), stack)  # type: ignore[arg-type]

    assert of() == of(addressed=frozenset([99]), stripped=frozenset([98])) == Changed()
    assert of(addressed=frozenset([veth])) == Changed()
    assert of(stripped=frozenset([veth])) == Changed(links=frozenset(["veth1"]))
    assert of(addressed=frozenset([bridge])) == Changed(links=frozenset(["br9"]), bridges=True)
    assert of(default_route=True) == Changed(bridges=True)
    gone = frozenset(["br8"])
    assert of(links=gone, deleted=gone) == Changed(links=gone, deleted=gone, bridges=True)
    assert of(overflow=True) == EVERYTHING

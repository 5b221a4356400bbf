"""Messages of traffic control: token buckets, and the redirection of arriving packets. Opens no socket.

pyroute2's own classes load all disciplines, filters and actions, with dataclasses and inspect (25 ms of a pod). They
lack rates from 34 Gbit/s on (TCA_TBF_RATE64).
"""

from __future__ import annotations

from _socket import htons
from typing import Any

from cni_cnm.kernel.netlink import encoding
from cni_cnm.kernel.netlink.messages import Message, nla, nlmsg
from cni_cnm.kernel.token_bucket import U32, Bucket

RTM_NEWQDISC, RTM_DELQDISC, RTM_GETQDISC = 36, 37, 38
RTM_NEWTFILTER, RTM_GETTFILTER = 44, 46
REPLACE = 0x500
"""NLM_F_CREATE | NLM_F_REPLACE."""
CREATE = 0x400

ROOT, INGRESS = 0xFFFFFFFF, 0xFFFFFFF1
"""Parents: TC_H_ROOT and TC_H_INGRESS."""
_RATE_HANDLE, _INGRESS_HANDLE = 0x00010000, 0xFFFF0000
"""1: and ffff:, as the reference plugin has them."""
_U32_FIRST = 0x80000800
"""The first filter in u32's first table. With a fixed handle a second filter is refused, not added."""
_ETH_P_ALL, _PRIORITY = 3, 1
_TERMINAL = 1
_STOLEN, _EGRESS_REDIRECT = 4, 1
FILTERS = ("u32", "matchall")
"""u32 as in the reference plugin, matchall where the kernel has no u32."""


class Traffic(nlmsg):  # type: ignore[misc,unused-ignore] # pyroute2 is untyped
    """struct tcmsg, with the attributes of disciplines and filters that are used here."""

    prefix = "TCA_"
    fields = (("family", "B"), ("pad1", "B"), ("pad2", "H"), ("index", "i"), ("handle", "I"), ("parent", "I"),
              ("info", "I"))  # fmt: skip
    nla_map = ((1, "TCA_KIND", "asciiz"), (2, "TCA_OPTIONS", "options_"))

    @staticmethod
    def options_(holder: Any, *_: Any, **__: Any) -> Any:
        """The class of the options, by kind; pyroute2 calls this."""
        return _OPTIONS.get(holder.get_attr("TCA_KIND"), holder.hex)


class _Tbf(nla):  # type: ignore[misc,unused-ignore]
    nla_map = ((1, "TCA_TBF_PARMS", "parameters"), (4, "TCA_TBF_RATE64", "uint64"))

    class parameters(nla):  # type: ignore[misc,unused-ignore] # noqa: N801
        """struct tc_tbf_qopt: two struct tc_ratespec (only the rates of them are used), then the bucket."""

        fields = (("rate_spec", "Q"), ("rate", "I"), ("peak_spec", "Q"), ("peak", "I"), ("limit", "I"),
                  ("buffer", "I"), ("mtu", "I"))  # fmt: skip


class _Actions(nla):  # type: ignore[misc,unused-ignore]
    nla_map = ((1, "TCA_ACT_PRIO_1", "action"),)

    class action(nla):  # type: ignore[misc,unused-ignore] # noqa: N801
        nla_map = ((1, "TCA_ACT_KIND", "asciiz"), (2, "TCA_ACT_OPTIONS", "mirred"))

        class mirred(nla):  # type: ignore[misc,unused-ignore] # noqa: N801
            nla_map = ((2, "TCA_MIRRED_PARMS", "parameters"),)

            class parameters(nla):  # type: ignore[misc,unused-ignore] # noqa: N801
                """struct tc_mirred."""

                fields = (("index", "I"), ("capab", "I"), ("action", "i"), ("refcnt", "i"), ("bindcnt", "i"),
                          ("eaction", "i"), ("ifindex", "I"))  # fmt: skip


class _U32(nla):  # type: ignore[misc,unused-ignore]
    nla_map = ((5, "TCA_U32_SEL", "selector"), (7, "TCA_U32_ACT", "actions"))
    actions = _Actions

    class selector(nla):  # type: ignore[misc,unused-ignore] # noqa: N801
        """struct tc_u32_sel with the one key that matches everything."""

        fields = (("flags", "B"), ("offshift", "B"), ("nkeys", "B"), ("pad", "B"), ("offsets", "Q"), ("hmask", "I"),
                  ("key_mask", "I"), ("key_value", "I"), ("key_offset", "i"), ("key_offmask", "i"))  # fmt: skip


class _Matchall(nla):  # type: ignore[misc,unused-ignore]
    nla_map = ((2, "TCA_MATCHALL_ACT", "actions"),)
    actions = _Actions


_OPTIONS = {"tbf": _Tbf, "u32": _U32, "matchall": _Matchall}
_ACTIONS = {"u32": "TCA_U32_ACT", "matchall": "TCA_MATCHALL_ACT"}


def message(index: int, *, parent: int = 0, handle: int = 0, info: int = 0, kind: str = "", options: Any = ()) -> bytes:
    result = Traffic()
    result.update(index=index, parent=parent, handle=handle, info=info)
    attributes: list[tuple[str, Any]] = [("TCA_KIND", kind)] if kind else []
    if options:
        attributes.append(("TCA_OPTIONS", {"attrs": list(options)}))
    result["attrs"] = attributes
    return encoding.body(result)


read = encoding.reader(Traffic)


def place(index: int, parent: int) -> bytes:
    """ROOT or INGRESS of a link, to delete what is there.

    It has no handle and no kind: with one the kernel says EINVAL, not ENOENT, where there is nothing.
    """
    return message(index, parent=parent)


def root(index: int, wanted: Bucket) -> bytes:
    parameters = {"rate": min(wanted.rate, U32), "limit": wanted.limit, "buffer": wanted.ticks}
    options: list[tuple[str, Any]] = [("TCA_TBF_PARMS", parameters)]
    if wanted.rate >= U32:
        options.append(("TCA_TBF_RATE64", wanted.rate))
    return message(index, parent=ROOT, handle=_RATE_HANDLE, kind="tbf", options=options)


def bucket(found: Message, index: int) -> Bucket | None:
    """The bucket, if it is the root discipline of that link."""
    if found["index"] != index or found["parent"] != ROOT or found.get_attr("TCA_KIND") != "tbf":
        return None
    options = found.get_attr("TCA_OPTIONS")
    parameters = options.get_attr("TCA_TBF_PARMS")
    rate = options.get_attr("TCA_TBF_RATE64") or parameters["rate"]
    return Bucket(rate, parameters["buffer"], parameters["limit"])


def ingress(index: int) -> bytes:
    return message(index, parent=INGRESS, handle=_INGRESS_HANDLE, kind="ingress")


def redirect(index: int, to: int, kind: str) -> bytes:
    """The filter that sends all that arrives at `index` out of `to`; `kind` is one of FILTERS."""
    mirred = {"attrs": [("TCA_MIRRED_PARMS", {"action": _STOLEN, "eaction": _EGRESS_REDIRECT, "ifindex": to})]}
    action = {"attrs": [("TCA_ACT_KIND", "mirred"), ("TCA_ACT_OPTIONS", mirred)]}
    options: list[tuple[str, Any]] = [("TCA_U32_SEL", {"flags": _TERMINAL, "nkeys": 1})] if kind == "u32" else []
    options.append((_ACTIONS[kind], {"attrs": [("TCA_ACT_PRIO_1", action)]}))
    handle = _U32_FIRST if kind == "u32" else 1
    info = _PRIORITY << 16 | htons(_ETH_P_ALL)
    return message(index, parent=_INGRESS_HANDLE, handle=handle, info=info, kind=kind, options=options)


def filters(index: int) -> bytes:
    """The request that lists the filters of arriving packets."""
    return message(index, parent=_INGRESS_HANDLE)


def target(found: Message) -> int:
    """Index of the link that a filter redirects to; 0 if it does not redirect, or that link is gone."""
    kind = found.get_attr("TCA_KIND")
    if kind not in _ACTIONS or found["info"] != _PRIORITY << 16 | htons(_ETH_P_ALL):
        return 0
    options = found.get_attr("TCA_OPTIONS")
    actions = options.get_attr(_ACTIONS[kind]) if options is not None else None
    action = actions.get_attr("TCA_ACT_PRIO_1") if actions is not None else None
    if action is None or action.get_attr("TCA_ACT_KIND") != "mirred":
        return 0
    parameters = action.get_attr("TCA_ACT_OPTIONS").get_attr("TCA_MIRRED_PARMS")
    return int(parameters["ifindex"]) if parameters["eaction"] == _EGRESS_REDIRECT else 0

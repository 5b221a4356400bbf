from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from cni_cnm.model import Pod, ip_address
from cni_cnm.names import hosts_files, labels

DOMAIN = "net.internal"
_LEGAL = re.compile(r"[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]*[a-z0-9_])?)*")
NASTY = st.text(st.sampled_from("aZ09-_. ,\n\t\0#/=éß\u2028\u212a"), max_size=80) | st.text(max_size=300)


@given(NASTY, NASTY, NASTY, st.lists(NASTY, max_size=5))
def test_whatever_is_given_a_file_has_legal_names_alone(
    container: str, pod: str, space: str, aliases: list[str]
) -> None:
    named = Pod(pod, space)
    found, wrong = labels.of_endpoint(container, named, aliases, DOMAIN)
    content = hosts_files.text([ip_address("10.1.2.3")], labels.answered(found, named, DOMAIN))
    assert content.count("\n") == (1 if found else 0)
    for word in content.split()[1:]:
        assert _LEGAL.fullmatch(word)
        assert len(word) <= 253
        assert all(len(label) <= 63 for label in word.split("."))
    known = {*found}
    for given_name in (one for one in (pod, *aliases) if one):
        bare = given_name.lower().removesuffix(".").removesuffix(f".{DOMAIN}")
        assert (given_name.isascii() and bare in known) is not (given_name in wrong)


@given(NASTY)
def test_a_network_of_any_name_has_a_legal_domain(network: str) -> None:
    domain = labels.domain_of(network)
    if network.isascii():
        assert _LEGAL.fullmatch(domain)
        assert domain.endswith(".internal")


def test_pods_have_their_name_and_namespace() -> None:
    pod = Pod("Web-0", "shop-1")
    found, wrong = labels.of_endpoint("f" * 64, pod, ["www", "api.v2"], DOMAIN)
    assert found == ("web-0", "www", "api.v2", "web-0.shop-1", "f" * 12)
    assert not wrong
    assert labels.answered(found, pod, DOMAIN) == [
        "web-0.net.internal", "web-0", "www.net.internal", "www", "api.v2.net.internal", "web-0.shop-1.net.internal",
        "web-0.shop-1", "f" * 12 + ".net.internal", "f" * 12,
    ]  # fmt: skip


def test_a_name_of_the_internet_is_answered_below_the_domain_alone() -> None:
    for name, space in (("example", "com"), ("web", "dev"), ("db", "zip")):
        pod = Pod(name, space)
        found, _ = labels.of_endpoint("c1", pod, ["www.example.org"], DOMAIN)
        answered = labels.answered(found, pod, DOMAIN)
        assert f"{name}.{space}.{DOMAIN}" in answered
        assert f"{name}.{space}" not in answered
        assert "www.example.org" not in answered


def test_a_pod_takes_no_name_of_its_site_or_cloud() -> None:
    """The names of pods are their users' choice, and may have dots."""
    for name, space in (
        ("metadata.google", "internal"), ("kubernetes.default.svc.cluster", "local"), ("db.other", "internal"),
        ("mail", "local"), ("db", "corp"), ("www.example", "shop"),
    ):  # fmt: skip
        pod = Pod(name, space)
        found, _ = labels.of_endpoint("c1", pod, [], DOMAIN)
        answered = labels.answered(found, pod, DOMAIN)
        assert f"{name}.{space}.{DOMAIN}" in answered
        assert [one for one in answered if not one.endswith(f".{DOMAIN}")] == [
            one for one in (name, "c1") if "." not in one
        ]
        assert not labels.may_answer(f"{name}.{space}", DOMAIN)
    assert labels.may_answer("web-0.shop-1", DOMAIN)


def test_names_that_are_left_out() -> None:
    found, wrong = labels.of_endpoint(
        "a b", Pod(), ["localhost", "-a", "a-", "a..b", "a" * 64, "x\ny", "x,y", "ünï", "good"], DOMAIN
    )
    assert found == ("good",)
    assert wrong == ["localhost", "-a", "a-", "a..b", "a" * 64, "x\ny", "x,y", "ünï"]


def test_an_alias_in_the_domain_is_one_of_it() -> None:
    assert labels.of_endpoint("c1", Pod(), ["www.Net.Internal."], DOMAIN)[0] == ("c1", "www")


def test_domains() -> None:
    assert labels.domain_of("podnet") == "podnet.internal"
    assert labels.domain_of("Pod_Net.2") == "pod-net.2.internal"
    assert labels.domain_of("podnet", "Pods.Example.org.") == "pods.example.org"
    assert labels.domain_of("podnet", "a b") == ""

"""libcni's cache: a file as libcni writes it, and files that are none."""

from __future__ import annotations

import json
from base64 import b64encode
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cni_cnm.errors import DamagedRecord
from cni_cnm.model import EndpointKey
from cni_cnm.reference import cache
from cni_cnm.reference.cache import Cached

CONFIG = b'{"cniVersion":"1.0.0","name":"net","plugins":[{"type":"bridge"}]}'
FILE = (
    b'{"kind":"cniCacheV1","containerId":"c1","config":"' + b64encode(CONFIG) + b'","ifName":"eth0",'
    b'"networkName":"net","netns":"/run/netns/c1","cniArgs":[["IgnoreUnknown","1"]],'
    b'"capabilityArgs":{"portMappings":[{"containerPort":80,"hostPort":8080,"protocol":"tcp"}]},'
    b'"result":{"cniVersion":"1.0.0","ips":[{"address":"10.0.0.2/24"}]}}'
)
"""Keys in the order of libcni's struct."""
CACHED = Cached(
    EndpointKey("net", "c1", "eth0"),
    CONFIG,
    "/run/netns/c1",
    (("IgnoreUnknown", "1"),),
    {"portMappings": [{"containerPort": 80, "hostPort": 8080, "protocol": "tcp"}]},
    {"cniVersion": "1.0.0", "ips": [{"address": "10.0.0.2/24"}]},
)
TEXTS = st.text(st.characters(codec="ascii", exclude_characters="\0"), min_size=1, max_size=20)


def test_a_file_of_libcni() -> None:
    assert cache.parse(FILE) == CACHED
    assert cache.render(CACHED) == FILE


KEYS = st.builds(EndpointKey, TEXTS, TEXTS, TEXTS)


@given(st.builds(Cached, KEYS, st.binary(), TEXTS, result=st.dictionaries(TEXTS, TEXTS)))
def test_what_is_written_is_read(cached: Cached) -> None:
    assert cache.parse(cache.render(cached)) == cached


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"kind": "cniCacheV2"}, "its kind is 'cniCacheV2'"),
        ({"config": "%"}, "not in base64"),
        ({"ifName": ""}, "no network, container or interface"),
        ({"cniArgs": [["A"]]}, "cniArgs"),
        ({"result": []}, "result"),
    ],
)
def test_what_libcni_would_not_read(change: dict[str, object], reason: str) -> None:
    with pytest.raises(DamagedRecord, match=reason):
        cache.parse(json.dumps({**json.loads(FILE), **change}).encode())


def test_a_folder(tmp_path: Path) -> None:
    """Files that are not understood are named, and hide none of the others."""
    assert cache.read_all(str(tmp_path / "none")) == ([], [])
    cache.write(CACHED, str(tmp_path))
    (tmp_path / "old").write_text("{}")
    (tmp_path / "link").symlink_to("/dev/null")
    found, wrong = cache.read_all(str(tmp_path))
    assert found == [CACHED]
    assert [line.split()[0] for line in wrong] == [f"{tmp_path}/link", f"{tmp_path}/old"]

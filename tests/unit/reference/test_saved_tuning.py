"""The file of the plugin tuning, as it was seen to write it."""

from __future__ import annotations

from pathlib import Path

import pytest

from cni_cnm.errors import DamagedRecord
from cni_cnm.model import EndpointKey
from cni_cnm.reference import saved_tuning
from cni_cnm.reference.saved_tuning import SavedTuning

FILE = b'{\n "mac": "0e:9e:cb:c8:99:d3",\n "mtu": 1500\n}'
SAVED = SavedTuning("0e:9e:cb:c8:99:d3", mtu=1500)


def test_a_file_of_the_plugin(tmp_path: Path) -> None:
    place = saved_tuning.path(EndpointKey("net", "c1", "eth0"), str(tmp_path))
    assert place == f"{tmp_path}/c1_eth0.json"
    assert saved_tuning.read(place) is None
    saved_tuning.write(place, SAVED)
    assert Path(place).read_bytes() == FILE
    assert saved_tuning.read(place) == SAVED
    for _ in range(2):
        saved_tuning.remove(place)
        assert saved_tuning.read(place) is None


@pytest.mark.parametrize(
    "saved", [SavedTuning(), SavedTuning(promisc=False, allmulti=True, txqlen=0), SavedTuning("02:00:00:00:00:01")]
)
def test_what_is_rendered_is_parsed(saved: SavedTuning) -> None:
    """False and a queue of 0 are kept: they are what the link had."""
    assert saved_tuning.parse(saved_tuning.render(saved)) == saved


@pytest.mark.parametrize("content", ["", "[]", '{"mtu": "big"}'])
def test_a_file_of_another_form(tmp_path: Path, content: str) -> None:
    (tmp_path / "f").write_text(content)
    with pytest.raises(DamagedRecord, match=f"{tmp_path}/f is not understood"):
        saved_tuning.read(f"{tmp_path}/f")

"""Lines of keys, in texts that JSON allows."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from cni_cnm.conflists.lines import Lines

TEXT = """{
  "name" : "a \\" b",
  "plugins": [
    {"type": "cni-cnm", "ipam":
      {"ranges": [[{"subnet": "10.0.0.0/8"}],
                  [{"subnet": "fd00::/64",
                    "gateway": 1.5e3}]]}},
    null, [], {}
  ],
  "Options": {"com.docker.network.driver.mtu": "1400"}
}"""


def test_lines_of_keys_and_members() -> None:
    lines = Lines(TEXT)
    expected = {
        "name": 2,
        "plugins": 3,
        "plugins[0]": 4,
        "plugins[0].TYPE": 4,
        "plugins[0].ipam.ranges": 5,
        "plugins[0].ipam.ranges[0][0].subnet": 5,
        "plugins[0].ipam.ranges[1][0].gateway": 7,
        "plugins[1]": 8,
        "plugins[3]": 8,
        "options": 10,
        "options.com.docker.network.driver.mtu": 10,
    }
    assert {path: lines.of(path) for path in expected} == expected
    assert lines.of("plugins[4]", 0) == 0


def test_the_line_of_a_sentence() -> None:
    """With the whole path of a key, with its last part, and without any key."""
    lines = Lines(TEXT)
    assert lines.named("ipam.ranges[1][0].gateway is 1.5, it must be an address", "plugins[0]") == 7
    assert lines.named("com.docker.network.driver.mtu is 5, it must be 0", "") == 10
    assert lines.named("the subnet is special", "plugins[0]") == 5
    assert lines.named("nothing of it is here", "plugins[0]") == 4


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=12,
)


@given(VALUES, st.sampled_from([None, 0, 2, "\t"]))
def test_any_text_of_json(value: object, indent: int | str | None) -> None:
    """The scanner ends where the text does: the line behind it is found."""
    text = json.dumps({"a": value, "last": 1}, indent=indent, ensure_ascii=False)
    expected = text[: text.rindex('"last"')].count("\n") + 1
    if not isinstance(value, dict) or "last" not in value:
        assert Lines(text).of("last") == expected

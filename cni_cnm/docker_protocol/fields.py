"""Typed reading of a JSON object off the wire: strict about types, tolerant about everything else.

null is as absent, an empty text too; unknown fields are ignored; a field is also found in other capitals, as Go's
decoder finds it. What is wrong gives one sentence with the call and the field: `InvalidConfig` in a request (the caller
is wrong), `DriverFailed` in a response (the plugin is).
"""

from __future__ import annotations

from ipaddress import IPv6Address, ip_address, ip_interface, ip_network

from cni_cnm.errors import DriverFailed, InvalidConfig

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from cni_cnm.errors import CnmError
    from cni_cnm.model import IPAddress, IPInterface, IPNetwork, Json


def request(call: str, raw: Json) -> Fields:
    """The fields of a request's body; InvalidConfig if it is no object."""
    return Fields(raw, call, "the request", InvalidConfig)


def response(call: str, raw: Json) -> Fields:
    """The fields of a response's body; DriverFailed if it is no object."""
    return Fields(raw, call, "the answer", DriverFailed)


class Fields:
    def __init__(self, raw: Json, call: str, where: str, error: type[CnmError]) -> None:
        self._call, self._where, self._error = call, where, error
        if raw is not None and not isinstance(raw, dict):
            raise error(f"{call}: {where} is {shown(raw)}, it must be an object")
        self.raw: Mapping[str, Json] = raw or {}
        self._folded = {key.lower(): value for key, value in self.raw.items()}

    def wrong(self, name: str, raw: Json, must: str) -> CnmError:
        """The error to raise about a field."""
        return self._error(f"{self._call}: {name} of {self._where} is {shown(raw)}, it must be {must}")

    def value(self, name: str) -> Json:
        found = self.raw.get(name)
        return self._folded.get(name.lower()) if found is None else found

    def text(self, name: str) -> str:
        raw = self.value(name)
        if raw is None:
            return ""
        if not isinstance(raw, str) or not _encodable(raw):
            raise self.wrong(name, raw, "a text")
        return raw

    def required(self, name: str) -> str:
        """A text that must be there and not empty."""
        found = self.text(name)
        if not found:
            raise self._error(f"{self._call}: {name} is missing in {self._where}")
        return found

    def boolean(self, name: str) -> bool:
        raw = self.value(name)
        if raw is None:
            return False
        if not isinstance(raw, bool):
            raise self.wrong(name, raw, "true or false")
        return raw

    def number(self, name: str, low: int = 0, high: int = 65535) -> int:
        raw = self.value(name)
        if raw is None:
            return 0
        if isinstance(raw, bool) or not isinstance(raw, int) or not low <= raw <= high:
            raise self.wrong(name, raw, f"a whole number from {low} to {high}")
        return raw

    def address(self, name: str) -> IPAddress | None:
        """A plain address; an IPv4 one written as `::ffff:a.b.c.d` is that IPv4 address, as in Go."""
        text = self.text(name)
        if not text:
            return None
        try:
            found = ip_address(text)
        except ValueError:
            raise self.wrong(name, text, "an IP address") from None
        if isinstance(found, IPv6Address) and found.scope_id:
            raise self.wrong(name, text, "an IP address without zone")
        return (isinstance(found, IPv6Address) and found.ipv4_mapped) or found

    def mac(self, name: str) -> str:
        """Six octets as lower-case pairs with colons, "" if absent."""
        text = self.text(name)
        digits = text.lower().translate(str.maketrans("", "", ":-."))
        if not text:
            return ""
        if len(text) not in (14, 17) or len(digits) != 12 or any(d not in "0123456789abcdef" for d in digits):
            raise self.wrong(name, text, "a MAC address, as 02:42:0a:01:02:03")
        return ":".join(digits[at : at + 2] for at in range(0, 12, 2))

    def interface(self, name: str) -> IPInterface | None:
        """An address with its prefix length, `10.1.2.3/24`."""
        text = self.text(name)
        if not text:
            return None
        try:
            return ip_interface(_cidr(text))
        except ValueError:
            raise self.wrong(name, text, "an address with a prefix length, as 10.1.2.3/24") from None

    def network(self, name: str) -> IPNetwork | None:
        """A network in CIDR notation; host bits are dropped, as Docker drops them."""
        text = self.text(name)
        if not text:
            return None
        try:
            return ip_network(_cidr(text), strict=False)
        except ValueError:
            raise self.wrong(name, text, "a network in CIDR notation") from None

    def mapping(self, name: str) -> Mapping[str, Json]:
        """An object, verbatim."""
        raw = self.value(name)
        if raw is None:
            return {}
        if not isinstance(raw, dict) or not all(_encodable(key) for key in raw):
            raise self.wrong(name, raw, "an object")
        return raw

    def texts(self, name: str) -> Mapping[str, str]:
        """An object whose values are all texts."""
        raw = self.mapping(name)
        for key, value in raw.items():
            if not isinstance(value, str) or not _encodable(value):
                raise self.wrong(f"{name}[{key!r}]", value, "a text")
        return raw

    def list(self, name: str) -> list[Json]:
        raw = self.value(name)
        if raw is None:
            return []
        if not isinstance(raw, list):
            raise self.wrong(name, raw, "a list")
        return raw

    def inner(self, name: str) -> Fields | None:
        """The fields of an object inside this one; None if there is none."""
        raw = self.value(name)
        return None if raw is None else self._within(raw, name)

    def inners(self, name: str) -> Iterator[Fields]:
        """The fields of each object of a list."""
        for number, raw in enumerate(self.list(name)):
            yield self._within(raw, f"{name}[{number}]")

    def _within(self, raw: Json, name: str) -> Fields:
        return Fields(raw, self._call, f"{name} of {self._where}", self._error)


def shown(raw: Json) -> str:
    """A wrong value for a message: short, and safe to print."""
    text = ascii(raw)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _cidr(text: str) -> str:
    """ValueError unless a prefix length is given: Python takes none, or a netmask, and IPv6 zones."""
    prefix = text.partition("/")[2]
    if not (prefix.isascii() and prefix.isdigit()) or "%" in text:
        raise ValueError(text)
    return text


def _encodable(text: str) -> bool:
    """False for half a surrogate pair, which JSON can carry and no file or socket takes."""
    return not any("\ud800" <= character <= "\udfff" for character in text)

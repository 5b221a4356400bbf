"""etcd's semantics as a model: revisions, transactions, leases, compaction, history. One process, no time of its own.

It takes requests and gives answers as etcd's JSON gateway spells them: 64-bit numbers are strings, zero and false are
left out. tests/cluster/test_model.py compares it with a real etcd.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from typing import Any, NamedTuple

Json = Any


class Refused(Exception):
    """An error of etcd. `code` is gRPC's."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code


class Pair(NamedTuple):
    key: bytes
    value: bytes
    create: int
    mod: int
    version: int
    lease: int

    def json(self, *, keys_only: bool = False) -> Json:
        return _clean(
            {
                "key": b64encode(self.key).decode(),
                "create_revision": str(self.create),
                "mod_revision": str(self.mod),
                "version": str(self.version),
                "value": "" if keys_only else b64encode(self.value).decode(),
                "lease": str(self.lease),
            }
        )


class Event(NamedTuple):
    revision: int
    deleted: bool
    pair: Pair

    def json(self) -> Json:
        return {"type": "DELETE", "kv": self.pair.json()} if self.deleted else {"kv": self.pair.json()}


class EtcdModel:
    """One store. All methods are to be called under the caller's lock."""

    def __init__(self, cluster_id: int = 77) -> None:
        self.cluster_id = cluster_id
        self.revision = 1
        self.compacted = 0
        self.pairs: dict[bytes, Pair] = {}
        self.history: list[Event] = []
        self.leases: dict[int, int] = {}
        """TTL in seconds by lease."""
        self.full = False
        """The database has reached its quota."""
        self._next_lease = 1000

    # for tests --------------------------------------------------------------------
    def backup(self) -> EtcdModel:
        return deepcopy(self)

    def restore(self, backup: EtcdModel) -> None:
        self.__dict__.update(deepcopy(backup).__dict__)

    def expire(self, lease: int) -> None:
        """The lease's time is over, or it is revoked."""
        del self.leases[lease]
        gone = sorted(key for key, pair in self.pairs.items() if pair.lease == lease)
        if gone:
            self.revision += 1
            for key in gone:
                self._remove(key, self.revision)

    # requests ------------------------------------------------------------------------
    def answer(self, call: str, request: Json) -> Json:
        """Refused as etcd refuses."""
        calls: Mapping[str, Callable[[Json], Json]] = {
            "kv/range": lambda each: self._range(each, self._at(each)),
            "kv/put": lambda each: self._transaction({"success": [{"request_put": each}]}, "put"),
            "kv/deleterange": lambda each: self._transaction({"success": [{"request_delete_range": each}]}, "delete"),
            "kv/txn": self._transaction,
            "kv/compaction": self._compact,
            "lease/grant": self._grant,
            "lease/keepalive": self._keep_alive,
            "lease/revoke": self._revoke,
        }
        if call not in calls:
            raise Refused(12, "Not Found")
        found = calls[call](request)
        if call == "lease/keepalive":
            return {"result": {"header": self.header(), **found}}
        return {"header": self.header(), **found}

    def header(self) -> Json:
        return {"cluster_id": str(self.cluster_id), "member_id": "1", "revision": str(self.revision), "raft_term": "2"}

    def events(self, request: Json, start: int) -> Sequence[Event]:
        """Those of a watch's range from a revision on."""
        low, high = _range_of(request)
        return [each for each in self.history if each.revision >= start and _inside(each.pair.key, low, high)]

    def _compact(self, request: Json) -> Json:
        revision = int(request.get("revision", 0))
        if revision > self.revision:
            raise Refused(11, "etcdserver: mvcc: required revision is a future revision")
        if revision <= self.compacted:
            raise Refused(11, "etcdserver: mvcc: required revision has been compacted")
        self.compacted = revision
        return {}

    def _at(self, request: Json) -> Mapping[bytes, Pair]:
        """The pairs as of the revision that a reading asks for."""
        revision = int(request.get("revision", 0))
        if revision <= 0:
            return self.pairs
        if revision > self.revision:
            raise Refused(11, "etcdserver: mvcc: required revision is a future revision")
        if revision < self.compacted:
            raise Refused(11, "etcdserver: mvcc: required revision has been compacted")
        pairs: dict[bytes, Pair] = {}
        for event in self.history:
            if event.revision <= revision:
                pairs.pop(event.pair.key, None)
                if not event.deleted:
                    pairs[event.pair.key] = event.pair
        return pairs

    @staticmethod
    def _range(request: Json, pairs: Mapping[bytes, Pair]) -> Json:
        low, high = _range_of(request)
        there = sorted((pair for key, pair in pairs.items() if _inside(key, low, high)), key=lambda pair: pair.key)
        found = [pair for pair in there if pair.mod >= int(request.get("min_mod_revision", 0))]
        limit = int(request.get("limit", 0)) or len(found)
        kvs = [pair.json(keys_only=bool(request.get("keys_only"))) for pair in found[:limit]]
        return _clean({"kvs": kvs, "count": str(len(there)), "more": len(found) > limit})

    def _transaction(self, request: Json, kind: str = "") -> Json:
        for branch in ("success", "failure"):
            _refuse_duplicates(request.get(branch, ()))
        succeeded = all(map(self._holds, request.get("compare", ())))
        operations = request.get("success" if succeeded else "failure", ())
        self._check(operations)
        before, done = len(self.history), []
        for operation in operations:
            ((name, asked),) = operation.items()
            found = self._operation(name, asked, self.revision + 1)
            now = self.revision + (len(self.history) > before)
            done.append({name.replace("request", "response"): {"header": {"revision": str(now)}, **found}})
        self.revision += len(self.history) > before
        if kind:
            return {key: value for key, value in next(iter(done[0].values())).items() if key != "header"}
        return _clean({"succeeded": succeeded, "responses": done})

    def _operation(self, name: str, asked: Json, revision: int) -> Json:
        if name == "request_range":
            return self._range(asked, self.pairs)
        if name == "request_put":
            self._put(asked, revision)
            return {}
        low, high = _range_of(asked)
        gone = sorted(key for key in self.pairs if _inside(key, low, high))
        for key in gone:
            self._remove(key, revision)
        return _clean({"deleted": str(len(gone))})

    def _check(self, operations: Sequence[Json]) -> None:
        """What etcd refuses before it does anything."""
        puts = [operation["request_put"] for operation in operations if "request_put" in operation]
        if len(operations) > 128:
            raise Refused(3, "etcdserver: too many operations in txn request")
        if self.full and puts:
            raise Refused(8, "etcdserver: mvcc: database space exceeded")
        for put in puts:
            if int(put.get("lease", 0)) and int(put["lease"]) not in self.leases:
                raise Refused(5, "etcdserver: requested lease not found")

    def _holds(self, condition: Json) -> bool:
        low, high = _range_of(condition)
        pairs = [pair for key, pair in self.pairs.items() if _inside(key, low, high)]
        target = condition.get("target", "VERSION")
        if target == "VALUE":
            wanted = b64decode(condition.get("value", ""))
            return bool(pairs) and all(pair.value == wanted for pair in pairs)
        field = {"CREATE": "create", "MOD": "mod", "VERSION": "version"}[target]
        wanted_number = int(condition.get(f"{target.lower()}_revision", condition.get("version", 0)))
        assert condition.get("result", "EQUAL") == "EQUAL"
        return all(getattr(pair, field) == wanted_number for pair in pairs) if pairs else wanted_number == 0

    def _put(self, request: Json, revision: int) -> None:
        key = b64decode(request["key"])
        old = self.pairs.get(key)
        create, version = (old.create, old.version + 1) if old else (revision, 1)
        value = b64decode(request.get("value", ""))
        pair = Pair(key, value, create, revision, version, int(request.get("lease", 0)))
        self.pairs[key] = pair
        self.history.append(Event(revision, False, pair))

    def _remove(self, key: bytes, revision: int) -> None:
        del self.pairs[key]
        self.history.append(Event(revision, True, Pair(key, b"", 0, revision, 0, 0)))

    def _grant(self, request: Json) -> Json:
        lease = int(request.get("ID", 0)) or self._next_lease
        self._next_lease += 1
        self.leases[lease] = int(request["TTL"])
        return {"ID": str(lease), "TTL": str(self.leases[lease])}

    def _keep_alive(self, request: Json) -> Json:
        lease = int(request["ID"])
        return _clean({"ID": str(lease), "TTL": str(self.leases.get(lease, 0))})

    def _revoke(self, request: Json) -> Json:
        if int(request["ID"]) not in self.leases:
            raise Refused(5, "etcdserver: requested lease not found")
        self.expire(int(request["ID"]))
        return {}


def _clean(raw: Mapping[str, Json]) -> Json:
    """Without zeros, as protobuf's JSON."""
    return {key: value for key, value in raw.items() if value not in ("0", "", False, [], None)}


def _range_of(request: Json) -> tuple[bytes, bytes]:
    return b64decode(request["key"]), b64decode(request.get("range_end", ""))


def _inside(key: bytes, low: bytes, high: bytes) -> bool:
    return low <= key < high if high else key == low


def _refuse_duplicates(operations: Sequence[Json]) -> None:
    """A key is written once in a transaction, and none that is deleted in it."""
    puts = [b64decode(each["request_put"]["key"]) for each in operations if "request_put" in each]
    gone = [_range_of(each["request_delete_range"]) for each in operations if "request_delete_range" in each]
    if len(set(puts)) != len(puts) or any(_inside(key, low, high) for key in puts for low, high in gone):
        raise Refused(3, "etcdserver: duplicate key given in txn request")

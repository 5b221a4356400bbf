"""The real `Nft`: adds and deletes elements, each time in one transaction of the kernel.

The usual commit is a few netlink messages and reads nothing but the types of the sets. An element is replaced by add,
delete, add of the same key: the first add makes the delete safe, the last one sets the new comment. Only if the kernel
answers that something exists or is absent are the elements read, and a script is made from what is there. A script is
also what declares tables, sets, chains and rules.
"""

from __future__ import annotations

import errno

from cni_cnm.bases import TypeVar
from cni_cnm.errors import KernelError, KernelFeatureMissing
from cni_cnm.kernel.contract.element import Element, ElementTaken, has_text, plain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from cni_cnm.kernel.conntrack import Conntrack
    from cni_cnm.kernel.contract.element import Counter, Handle, Rule, Transaction
    from cni_cnm.kernel.contract.filter_rules import BaseChain, Edit, FilterRule, FilterTable
    from cni_cnm.kernel.contract.nft import Stream
    from cni_cnm.kernel.nftables.libnftables import Runner
    from cni_cnm.kernel.nftables.nfnetlink import Questions
    from cni_cnm.kernel.nftables.nft_removals import NftRemovals
    from cni_cnm.model import IPAddress


T = TypeVar("T")


class KernelNft:
    """Safe to use from many threads. `netns`: descriptor of the namespace to work in; None: the calling thread's.

    The caller closes the descriptor, after the last use of this object.
    """

    def __init__(self, netns: int | None = None) -> None:
        self._netns = netns
        self._runner: Runner | None = None
        self._questions: Questions | None = None
        self._conntrack: Conntrack | None = None

    def require(self) -> None:
        self._run(())  # without a command libnftables reads nothing; `list tables` would read all elements of all sets
        if not self._asked(lambda questions: questions.generation()):
            raise KernelFeatureMissing("this kernel has no nf_tables", hint="enable CONFIG_NF_TABLES")

    def commit(self, transaction: Transaction, *, declare: bool = False) -> None:
        put, claim, remove, release = transaction.put, transaction.claim, transaction.remove, transaction.release
        if not (put or claim or remove or release or declare):
            return
        if declare and (rest := _without_text(transaction)):
            self._commit_apart(transaction, rest)
            return
        try:
            if declare:
                self._run_all(transaction)
                return
            if self._change(transaction):
                return
        except KernelError as error:
            if error.errno not in (errno.ENOENT, errno.EEXIST, errno.EINVAL):  # EINVAL: of a set with other types
                raise
        if rest := _without_text(transaction):
            self._commit_apart(transaction, rest)
            return
        # Twice with the declaration: another program may change the elements between find and commit.
        for script in (transaction.declare if declare else "", transaction.declare, transaction.declare):
            there = {one.place: one for one in self.find((*put, *claim, *remove, *release)) if one}
            ours = (e for e in release if e.place in there and there[e.place].owner == e.owner)
            gone = (*remove, *ours)
            removed = {element.place for element in gone}
            held = [there[e.place] for e in claim if e.place in there and e.place not in removed]
            owners = {element.owner for element in claim}
            if taken := [element for element in held if element.owner not in owners]:
                raise ElementTaken(taken)
            old = {e.place: e for e in (*gone, *put, *claim) if e.place in there}
            failed = self._attempt([script, *_lines("delete", old.values()), *_lines("create", (*claim, *put))])
            if failed is None:
                return
        assert failed is not None
        raise failed

    def _commit_apart(self, transaction: Transaction, rest: Transaction) -> None:
        """The elements of `rest` by netlink, after the declaration and all others: no script can have them."""
        put = tuple(element for element in transaction.put if element not in rest.put)
        remove = tuple(element for element in transaction.remove if element not in rest.remove)
        self.commit(transaction._replace(put=put, remove=remove), declare=True)
        there = {one.place for one in self.find(rest.remove) if one}
        rest = rest._replace(remove=tuple(one for one in rest.remove if one.place in there))
        if not self._change(rest):
            raise KernelError(f"nftables has no set for {(*rest.put, *rest.remove)[0].key}", errno.ENOENT)

    def _change(self, transaction: Transaction) -> bool:
        """False if a set is absent. KernelError with the kernel's errno."""
        from cni_cnm.kernel.nftables.nft_changes import commit

        def change(questions: Questions) -> bool:
            try:
                return commit(questions, transaction)
            except OSError as error:
                raise _refusal(error) from error

        return self._asked(change)

    def _run_all(self, transaction: Transaction) -> None:
        """The same as a script, with the declaration before it."""
        put, claim, remove, release = transaction.put, transaction.claim, transaction.remove, transaction.release
        down = (*_lines("delete", remove), *_lines("add", release), *_lines("delete", release))
        again = (*_lines("add", put), *_lines("delete", put), *_lines("add", put))
        self._run([transaction.declare, *down, *_lines("create", claim), *again])

    def find(self, elements: Sequence[Element]) -> Sequence[Element | None]:
        from cni_cnm.kernel.nftables.nft_elements import find

        return self._asked(lambda questions: find(questions, elements))

    def elements(self, table: str, name: str = "") -> Sequence[Element]:
        if (found := self._elements(table, name)) is not None:
            return found
        listing = self._list(table, name)
        return [element for elements in _parse(table, listing).values() for element in elements]

    def delete_table(self, table: str) -> None:
        self._run([f"add table {table}", f"delete table {table}"])

    def handles(self, names: Sequence[str]) -> Sequence[Handle | None]:
        from cni_cnm.kernel.nftables.nft_handles import handles

        return self._asked(lambda questions: handles(questions, names))

    def rules(self, table: str) -> dict[str, int]:
        from cni_cnm.kernel.nftables.nft_rules import count

        return self._asked(lambda questions: count(questions, table))

    def counters(self, tables: Sequence[str]) -> Sequence[Counter]:
        from cni_cnm.kernel.nftables.nft_counters import counters

        return self._asked(lambda questions: counters(questions, tables))

    def commented(self, tables: Sequence[str], words: Collection[str]) -> Sequence[Rule]:
        from cni_cnm.kernel.nftables.nft_rules import commented

        return self._asked(lambda questions: commented(questions, tables, words))

    def remove_rules(self, rules: Sequence[Rule], chains: Sequence[str] = ()) -> None:
        lines = [f"delete rule {rule.table} {rule.chain} handle {rule.handle}" for rule in rules]
        lines += [f"delete chain {chain}" for chain in chains]
        if lines and self._attempt(lines) is not None:
            for line in lines:  # another program has removed some meanwhile
                self._attempt([line])

    def owners(self, tables: Sequence[str]) -> set[str]:
        from cni_cnm.kernel.nftables import nft_owners

        return self._asked(lambda questions: nft_owners.owners(questions, tables))

    def remove_owned(self, tables: Sequence[str], owners: Collection[str]) -> Sequence[str]:
        from cni_cnm.kernel.nftables import nft_owners

        return self._asked(lambda questions: nft_owners.remove(questions, tables, owners))

    def tables(self) -> dict[str, int]:
        from cni_cnm.kernel.nftables.nft_handles import tables

        return self._asked(tables)

    def base_chains(self) -> Sequence[BaseChain]:
        from cni_cnm.kernel.nftables.nft_chains import base_chains

        return self._asked(base_chains)

    def filter_rules(self, family: str, table: str, chain: str) -> Sequence[FilterRule]:
        from cni_cnm.kernel.nftables.nft_chains import rules

        return self._asked(lambda questions: rules(questions, family, table, chain))

    def edit_filter(self, family: str, change: Callable[[FilterTable], Sequence[Edit]]) -> None:
        from cni_cnm.kernel.nftables.nft_chains import edit

        self._asked(lambda questions: edit(questions, family, change))

    def removals(self, tables: Sequence[str]) -> NftRemovals:
        from cni_cnm.kernel.nftables.nft_removals import NftRemovals

        try:
            return self._in_namespace(lambda: NftRemovals(tables))
        except OSError as error:
            raise KernelError(f"nftables cannot be watched: {error.strerror}", error.errno or errno.EIO) from error

    def published(self, streams: Sequence[Stream], targets: Collection[IPAddress]) -> None:
        self._tracked().published(streams, targets)

    def unpublished(self, streams: Sequence[Stream], targets: Collection[IPAddress]) -> None:
        self._tracked().unpublished(streams, targets)

    def _tracked(self) -> Conntrack:
        if self._conntrack is None:
            from cni_cnm.kernel.conntrack import Conntrack

            self._conntrack = Conntrack(self._netns)
        return self._conntrack

    def _elements(self, table: str, name: str) -> list[Element] | None:
        """None where libnftables has to list them."""
        from cni_cnm.kernel.nftables import nft_listing

        return self._asked(lambda questions: nft_listing.elements(questions, table, name))

    def _asked(self, question: Callable[[Questions], T]) -> T:
        """The answer to a question by netlink, in the namespace to work in."""
        if self._questions is None:
            from cni_cnm.kernel.nftables.nfnetlink import Questions

            self._questions = Questions()
        questions = self._questions
        try:
            return self._in_namespace(lambda: question(questions))
        except OSError as error:
            hint = "root with CAP_NET_ADMIN is needed" if isinstance(error, PermissionError) else ""
            raise KernelError(
                f"nftables cannot be asked: {error.strerror}", error.errno or errno.EIO, hint=hint
            ) from error

    def _attempt(self, lines: Sequence[str]) -> KernelError | None:
        try:
            self._run(lines)
        except KernelError as error:
            if error.errno not in (errno.ENOENT, errno.EEXIST):
                raise
            return error
        return None

    def _list(self, table: str, name: str) -> str:
        for command in (f"list map {table} {name}", f"list set {table} {name}") if name else (f"list table {table}",):
            try:
                return self._run([command])
            except KernelError as error:
                if error.errno != errno.ENOENT:
                    raise
        return ""

    def _run(self, lines: Iterable[str]) -> str:
        if self._runner is None:
            from cni_cnm.kernel.nftables import libnftables

            self._runner = libnftables.runner()
        script = "\n".join(lines) + "\n"
        runner = self._runner
        if self._questions is not None:
            self._questions.sets.clear()
        try:
            return self._in_namespace(lambda: runner.run(script))
        except KernelError as error:
            if error.errno not in (errno.EINTR, errno.EPROTO):  # EPROTO: the library met answers to an interrupted dump
                raise
        # Run it again. If it was applied after all, it fails, or applies the same once more.
        return self._in_namespace(lambda: runner.run(script))

    def _in_namespace(self, action: Callable[[], T]) -> T:
        if self._netns is None:
            return action()
        from cni_cnm.kernel.setns import entered

        return entered(self._netns, action)


def _refusal(error: OSError) -> KernelError | KernelFeatureMissing:
    if error.errno in (errno.EPROTONOSUPPORT, errno.EAFNOSUPPORT):
        return KernelFeatureMissing("this kernel has no nfnetlink", hint="enable CONFIG_NF_TABLES")
    return KernelError(f"nftables refused the change: {error.strerror}", error.errno or errno.EIO)


def _without_text(transaction: Transaction) -> Transaction | None:
    """The part with names of links that nft has no text for, in `put` and `remove`; None if there are none."""
    put, remove = (tuple(e for e in part if not has_text(e.key)) for part in (transaction.put, transaction.remove))
    return transaction._replace(declare="", put=put, remove=remove, claim=(), release=()) if put or remove else None


def _by_set(elements: Iterable[Element]) -> Iterable[tuple[tuple[str, str], list[Element]]]:
    groups: dict[tuple[str, str], list[Element]] = {}
    for element in elements:
        groups.setdefault((element.table, element.set), []).append(element)
    return groups.items()


def _lines(verb: str, elements: Iterable[Element]) -> Iterable[str]:
    """One command for each set: a thousand elements in one take half the time of a thousand commands."""
    spell = _key if verb == "delete" else _full
    for (table, name), group in _by_set(elements):
        yield f"{verb} element {table} {name} {{ {', '.join(map(spell, group))} }}"


def _key(element: Element) -> str:
    return element.key


def _full(element: Element) -> str:
    comment = f' comment "{element.comment}"' if element.comment else ""
    return f"{element.key}{comment} : {element.value}" if element.value else f"{element.key}{comment}"


def _parse(table: str, listing: str) -> Mapping[str, Sequence[Element]]:
    """Elements by set, from a listing: `map m { … elements = { 10.0.0.5 comment "who" : goto net, … } }`.

    Comments have any character but double quotes. Names of links have any but white space: a quote ends one where
    white space follows, or a comma and white space.
    """
    import re

    quoted: list[str] = []

    def put_aside(match: re.Match[str]) -> str:
        quoted.append(match[1] or match[2] or "")
        return f"@{len(quoted) - 1}"

    found: dict[str, list[Element]] = {}
    text = re.sub(r'(?<=comment )"([^"]*)"|"([^ \t\n]+?)"(?=,?[ \t\n])', put_aside, listing)
    for name, body in re.findall(r"^\t(?:set|map) (\S+) \{$(.*?)^\t\}$", text, re.DOTALL | re.MULTILINE):
        elements = found.setdefault(name, [])
        for block in re.findall(r"elements = \{(.*?)\}", body, re.DOTALL):
            for line in block.split(","):
                key, _, value = plain(line).partition(" : ")
                key, _, number = key.partition(" comment @")
                comment = quoted[int(number)] if number else ""
                key = re.sub(r"@(\d+)", lambda at: f'"{quoted[int(at[1])]}"', key)
                elements.append(Element(table, name, key, value, comment))
    return found

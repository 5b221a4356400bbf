"""A list of plugins called as a runtime does, by the names that this program stands in for, or as the originals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tests.program import program
from tests.side import REFERENCE, Answer, Side


def drop_in(folder: Path, names: Iterable[str]) -> Path:
    """A folder of links with these names to the program under test."""
    links = folder / "drop-in"
    links.mkdir(exist_ok=True)
    for name in names:
        if not (links / name).exists():
            (links / name).symlink_to(program(folder))
    return links


class Chain:
    """One list on one node. `folder`: whose executables are called."""

    def __init__(self, side: Side, plugins: Sequence[dict[str, Any]], folder: Path, name: str = "net") -> None:
        self.side, self.plugins, self.folder, self.name = side, plugins, folder, name
        self.version = "1.0.0"
        self.results: dict[str, Any] = {}

    def config(self, index: int, **runtime: Any) -> dict[str, Any]:
        """A plugin's configuration as libcni makes it: of `runtime` it gets what it has the capability for."""
        plugin = self.plugins[index]
        given = {key: value for key, value in runtime.items() if plugin.get("capabilities", {}).get(key)}
        shared = {"cniVersion": self.version, "name": self.name}
        return {**plugin, **shared, **({"runtimeConfig": given} if given else {})}

    def call(self, verb: str, index: int, container: str = "c1", previous: Any = None, **more: Any) -> Answer:
        folder = more.pop("folder", None) or self.folder
        runtime = more.pop("runtime", {})
        config = {**self.config(index, **runtime), **({"prevResult": previous} if previous else {})}
        return self.side.call(verb, config, container, executable=folder / self.plugins[index]["type"], **more)

    def add(self, container: str = "c1", *, runtime: Any = None, until: int | None = None, **more: Any) -> Answer:
        """Up to the plugin `until`. The result is kept only of a whole list."""
        if container not in self.side.containers:
            self.side.container(container)
        answer = Answer(0, None, "")
        for index in range(len(self.plugins) if until is None else until):
            answer = self.call("ADD", index, container, answer.json, runtime=runtime or {}, **more)
            if answer.code:
                return answer
        if until is None:
            self.results[container] = answer.json
        return answer

    def check(self, container: str = "c1", *, runtime: Any = None, **more: Any) -> None:
        for index in range(len(self.plugins)):
            self.call("CHECK", index, container, self.results[container], runtime=runtime or {}, **more).ok()

    def delete(
        self, container: str = "c1", *, order: Sequence[int] | None = None, runtime: Any = None, **more: Any
    ) -> None:
        """In reverse, as a runtime does, or in another order; without a result, if none is known."""
        for index in order if order is not None else reversed(range(len(self.plugins))):
            self.call("DEL", index, container, self.results.get(container), runtime=runtime or {}, **more).ok()


def behind(side: Side, links: Path) -> None:
    """Put the links before the originals on CNI_PATH."""
    side.path = f"{links}:{REFERENCE}"

"""What pages say in their text and tables, apart from keys: limits, files, exit codes, scripts, units."""

from __future__ import annotations

import configparser
import inspect
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

from cni_cnm import __version__, validate
from cni_cnm.cni import document, process
from cni_cnm.cnm.interface import configure_interface
from cni_cnm.docker_protocol import discovery, http
from cni_cnm.drivers import bridge
from cni_cnm.ipam import delegated, lease_lock
from cni_cnm.service import activation
from cni_cnm.settings import Settings
from cni_cnm.state.lock import Lock
from tests.docs.hosts import Host, host
from tests.docs.pages import sentences
from tests.program import ROOT

RELAY = (ROOT / "build" / "relay.c").read_text(encoding="utf-8")
SCRIPTS = sorted(path for path in (ROOT / "scripts").iterdir() if path.is_file())
MIB = 1 << 20
LOCK_S = inspect.signature(Lock).parameters["timeout_s"].default


def page(name: str) -> str:
    """Its text in one line, without marks of emphasis."""
    return " ".join((ROOT / name).read_text(encoding="utf-8").replace("**", "").split())


LIMITS = [
    ("docs/configuration.md", r"At most (\d+) MiB of JSON", process.STDIN_LIMIT / MIB),
    ("docs/configuration.md", r"of JSON, (\d+) levels", document.LIMIT_DEPTH),
    ("docs/configuration.md", r"missing, longer than (\d+) bytes", validate.NETWORK_NAME_MAX),
    ("docs/configuration.md", r"more than (\d+) characters of letters", validate.OWNER_MAX),
    ("docs/configuration.md", r"duplicate address detection, at most (\d+) s", configure_interface.DAD_LIMIT_S),
    ("docs/configuration.md", r"After (\d+) s \(STATUS", delegated.TIMEOUT_S),
    ("docs/configuration.md", r"\(STATUS ([\d.]+) s\) it is killed", delegated.STATUS_TIMEOUT_S),
    ("docs/configuration.md", r"held too long \((\d+) s", LOCK_S),
    ("docs/configuration.md", r"held too long \(\d+ s; leases (\d+) s", lease_lock.TIMEOUT_S),
    ("docs/operations.md", r"waits (\d+) s for a lock", LOCK_S),
    ("docs/operations.md", r"for a lock at most \(leases: (\d+) s\)", lease_lock.TIMEOUT_S),
    ("docs/operations.md", r"a bridge is full \(([\d,]+) ports\)", bridge.PORTS_MAX),
    ("docs/plugins.md", r"Every call ends after (\d+) s", Settings().plugin_wait),
    ("docs/plugins.md", r"refused connection is tried for (\d+) s", http.RETRY_S),
    (
        "docs/configuration.md",
        r"`CNI_CNM_TIMEOUT` \| (\d+) \|",
        float(re.findall(r"seconds = (\d+);", RELAY)[0]),
    ),
    ("docs/decisions/0004-locks.md", r"Waiting ends after (\d+) s", LOCK_S),
]
"""Page, the words around a figure, and the figure in the code."""


FEATURES = {
    "NETLINK_GET_STRICT_CHK": ("kernel/netlink/netlink_socket.py", r"_GET_STRICT_CHK = .*\b12$"),
    "family `inet`": ("firewall/masquerade.py", r"add chain \{INET\} source_nat \{\{ type nat hook"),
    "ranges in concatenations": ("firewall/portmap.py", r"ranges\{name\} \{\{ type \{key\} : .*flags interval"),
    "IFLA_BRPORT_ISOLATED": ("kernel/rtnetlink/links.py", r"pack_number\(_BRPORT_ISOLATED"),
    "CTA_FILTER": ("kernel/ctnetlink.py", r"_nested\(_FILTER, "),
    "IPS_DST_NAT": ("kernel/ctnetlink.py", r"_REDIRECTED\.to_bytes"),
    "SO_NETNS_COOKIE": ("kernel/netlink/netlink_socket.py", r"_SO_NETNS_COOKIE = .*\b71$"),
    "IFLA_MACVLAN_BC_QUEUE_LEN": ("kernel/rtnetlink/links.py", r"pack_number\(_BC_QUEUE"),
}
"""What a row about versions names, the file of the code that needs it, and where it is used there."""


def test_versions_are_of_what_the_code_uses() -> None:
    """Each row of the table names a feature that is used. `nft destroy` is used nowhere, as the page says."""
    section = (
        (ROOT / "docs" / "install.md").read_text("utf-8").partition("### Versions of Linux")[2].partition("\n## ")[0]
    )
    rows = re.findall(r"^\| (.*?) \| \d", section, re.MULTILINE)
    assert len(rows) == len(FEATURES)
    for feature, (file, used) in FEATURES.items():
        assert sum(feature in row for row in rows) == 1, feature
        assert re.search(used, (ROOT / "cni_cnm" / file).read_text(encoding="utf-8"), re.MULTILINE), feature
    sources = [path.read_text(encoding="utf-8") for path in (ROOT / "cni_cnm").rglob("*.py")]
    assert not any(re.search(r"[\"']destroy ", text) for text in sources)


@pytest.mark.parametrize(("name", "pattern", "value"), LIMITS, ids=lambda value: str(value))
def test_limits(name: str, pattern: str, value: float) -> None:
    """A figure that a page names is the constant of the code."""
    found = re.search(pattern, page(name))
    assert found is not None
    assert float(found[1].replace(",", "")) == value


def test_files_of_the_manual() -> None:
    """The section FILES has the defaults of the settings, the folders of Docker plugins and the socket."""
    manual = page("docs/cni-cnm.8.md").partition("# FILES")[2].partition("# EXIT STATUS")[0]
    settings = Settings()
    state, run, leases = settings.state_dir, settings.run_dir, settings.leases_dir
    folders = (f"{state}/networks", f"{state}/leased", run, leases, discovery.SOCKETS, *discovery.SPECS)
    assert "_/etc/cni-cnm/config.toml_" in manual
    assert [folder for folder in folders if f"_{folder}/_" not in manual] == []


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--version"], 0),
        (["--help"], 0),
        (["network", "inspect", "nosuch"], 1),
        (["network", "frobnicate"], 2),
        ([], 2),
    ],
)
def test_exit_status_of_the_manual(words: list[str], code: int, tmp_path: Path) -> None:
    """0 success, 1 failure, 2 a command line that was not understood."""
    config = tmp_path / "config.toml"
    config.write_text(f'run_dir = "{tmp_path}/run"\nstate_dir = "{tmp_path}/state"\n', encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "cni_cnm", *words],
        cwd=ROOT,
        env={"CNI_CNM_CONFIG": str(config)},
        capture_output=True,
        check=False,
    )
    assert done.returncode == code, done.stderr
    assert f"\n{code}\n: " in (ROOT / "docs" / "cni-cnm.8.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def pods() -> Iterator[Host]:
    with host("pods") as made:
        yield made


def test_where_things_are(require_root: None, pods: Host) -> None:
    """Each path in the table of the operations page is on a host with pods, apart from those of Docker."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    table = text.partition("## Where things are")[2].partition("## Reading it")[0]
    rows = re.findall(r"^\| (.*?) \| (.*) \|$", table, re.MULTILINE)
    paths = {path for what, where in rows if "Docker" not in what for path in re.findall(r"`(/[^`\s]+)`", where)}
    assert len(paths) > 4
    for path in paths:
        pattern = re.sub(r"\b[A-Z]{2,}\b", "*", path)
        assert list(pods.node.path("/").glob(pattern.lstrip("/"))), path


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_scripts_explain_themselves(script: Path, tmp_path: Path) -> None:
    """`--help`, from any folder: what the script does, on stdout, exit 0. It has each option that the script reads."""
    done = subprocess.run([script, "--help"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    text = script.read_text(encoding="utf-8")
    options = {
        option
        for line in re.findall(r"^ *((?:--[a-z-]+|\"\"|-h)(?: \| --[a-z-]+)*)\)", text, re.MULTILINE)
        for option in line.split(" | ")
    }
    assert [
        option for option in options if option.startswith("--") and option != "--help" and option not in done.stdout
    ] == []


@pytest.mark.parametrize(
    "script",
    [script for script in SCRIPTS if script.name not in ("test", "bench", "measure")],
    ids=lambda path: path.name,
)
def test_scripts_refuse_what_they_do_not_know(script: Path) -> None:
    """An unknown option is exit 2 with the explanation on stderr, before anything is done."""
    done = subprocess.run([script, "--frobnicate"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr


def test_sockets_of_the_pages() -> None:
    """The sockets that pages, units and code name are the same."""
    for unit, socket in (
        ("cni-cnm.socket", activation.SOCKET_PATH),
        ("cni-cnm-docker.socket", activation.DOCKER_SOCKET_PATH),
    ):
        parsed = configparser.ConfigParser(interpolation=None, strict=False)
        parsed.read(ROOT / "conf" / unit, encoding="utf-8")
        assert parsed["Socket"]["ListenStream"] == socket
        assert f"`{socket}`" in page("docs/install.md")


def test_layers_are_those_that_are_checked() -> None:
    """The order of packages on the architecture page is import-linter's contract."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    (whole,) = [contract for contract in contracts if contract.get("containers") == ["cni_cnm"]]
    assert f"```text {' → '.join(whole['layers'])} ```" in page("docs/architecture.md")


def test_packages_are_on_the_map() -> None:
    """The architecture page has a row for every folder and module at the top of the package."""
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    top = (path for path in (ROOT / "cni_cnm").iterdir() if path.suffix == ".py" or (path / "__init__.py").exists())
    named = (f"`cni_cnm/{path.name}{'/' if path.is_dir() else ''}`" for path in top if path.name != "__init__.py")
    assert [name for name in named if name not in text] == []


def test_decisions_have_their_form() -> None:
    """Numbered without a gap, in the index under their title, with context, choice and reason."""
    pages = sorted((ROOT / "docs" / "decisions").glob("0*.md"))
    index = (ROOT / "docs" / "decisions" / "README.md").read_text(encoding="utf-8")
    for number, path in enumerate(pages, 1):
        text = path.read_text(encoding="utf-8")
        title = text.splitlines()[0].removeprefix(f"# {number}. ")
        assert path.name.startswith(f"{number:04d}-")
        assert f"| [{number:04d}]({path.name}) | {title} |" in index
        assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["Context", "Choice", "Reason"]


def test_terms_are_in_order() -> None:
    """The glossary is sorted, each term once, in at most two sentences."""
    rows = re.findall(r"^\| (.*?) \| (.*) \|$", (ROOT / "docs" / "glossary.md").read_text("utf-8"), re.MULTILINE)[2:]
    terms = [term.lower() for term, _ in rows]
    assert terms == sorted(set(terms))
    assert [term for term, meaning in rows if len(list(sentences(meaning))) > 2] == []


def test_the_changelog_has_this_version() -> None:
    """Its first version is that of the package."""
    found = re.search(r"^## \[(\d+\.\d+\.\d+)\]", (ROOT / "CHANGELOG.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None
    assert found[1] == __version__

"""Alert rules and dashboard: their expressions are valid, name metrics that exist, and fire on recorded metrics."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from cni_cnm.metrics import requests
from cni_cnm.service.counters import Counters
from cni_cnm.service.request_counts import BOUNDS
from tests.program import ROOT

RULES = ROOT / "conf/prometheus/cni-cnm.rules.yaml"
DASHBOARD = ROOT / "conf/grafana/cni-cnm.json"
PAGE = ROOT / "docs/metrics.md"
NODE = {"instance": "n1", "job": "cni-cnm"}
FIRES: dict[str, list[tuple[str, str]]] = {
    "PodNetworkCallsFail": [('cni_cnm_requests_total{verb="ADD", network="web", code="11", NODE}', "0+1x30")],
    "PodNetworkSlow": [
        (f'cni_cnm_request_seconds_bucket{{verb="ADD", step="total", le="{le}", NODE}}', value)
        for le, value in (("1.0", "0+1x30"), ("5.0", "0+10x30"), ("+Inf", "0+10x30"))
    ],
    "PodNetworkNearlyFull": [
        ('cni_cnm_pool_addresses{network="web", NODE}', "253x30"),
        ('cni_cnm_pool_addresses_free{network="web", NODE}', "20x30"),
    ],
    "PodNetworkRepairedAgainAndAgain": [('cni_cnm_repairs_total{result="repaired", NODE}', "0+2x30")],
    "PodNetworkProcessRestarts": [('cni_cnm_process_restarts_total{process="watch", NODE}', "0+1x30")],
    "PodNetworkMetricsIncomplete": [("cni_cnm_unread_parts{NODE}", "1x30")],
    "PodNetworkServiceDown": [("up{NODE}", "0x30")],
    "PodNetworkClusterStoreAway": [("cni_cnm_cluster_store_reachable{NODE}", "0x30")],
    "PodNetworkNoWayToHosts": [('cni_cnm_cluster_network_ready{network="web", NODE}', "0x30")],
    "PodNetworkBlockTaken": [('cni_cnm_cluster_blocks_taken{network="web", NODE}', "1x30")],
}
"""By alert: series of one value a minute, in promtool's notation."""
HEALTHY = [
    ('cni_cnm_requests_total{verb="ADD", network="web", code="0", NODE}', "0+100x30"),
    ('cni_cnm_requests_total{verb="CHECK", network="web", code="11", NODE}', "0+100x30"),
    ('cni_cnm_request_seconds_bucket{verb="ADD", step="total", le="0.008", NODE}', "0+100x30"),
    ('cni_cnm_request_seconds_bucket{verb="ADD", step="total", le="+Inf", NODE}', "0+100x30"),
    ('cni_cnm_pool_addresses{network="web", NODE}', "253x30"),
    ('cni_cnm_pool_addresses_free{network="web", NODE}', "200x30"),
    ('cni_cnm_repairs_total{result="noted", NODE}', "0+5x30"),
    ("up{NODE}", "1x30"),
    ("cni_cnm_cluster_store_reachable{NODE}", "1x30"),
    ("cni_cnm_cluster_agent_up{NODE}", "1x30"),
    ('cni_cnm_cluster_network_ready{network="web", NODE}', "1x30"),
    ('cni_cnm_cluster_blocks_taken{network="web", NODE}', "0x30"),
    ("cni_cnm_cluster_conflict{NODE}", "0x30"),
]


def documented() -> set[str]:
    """The metrics of docs/metrics.md."""
    return set(re.findall(r"^\| `(cni_cnm_\w+)`", PAGE.read_text(encoding="utf-8"), re.MULTILINE))


def named(expression: str) -> set[str]:
    return {re.sub(r"_bucket$", "", name) for name in re.findall(r"\bcni_cnm_\w+", expression)}


def expressions() -> list[str]:
    rules = [rule["expr"] for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"] for rule in group["rules"]]
    panels = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    return [*rules, *(target["expr"] for panel in panels for target in panel["targets"])]


def test_expressions_name_metrics_that_exist() -> None:
    known = documented() | {"cni_cnm_cluster_hosts", "cni_cnm_cluster_silent_hosts"}
    for expression in expressions():
        assert named(expression) <= known, expression


def test_the_page_has_every_metric_of_requests() -> None:
    names = set()
    for family in requests.families(Counters(1).read(), BOUNDS):
        names.add(f"{family.name}_total" if family.type == "counter" else family.name)
    assert names <= documented()


@pytest.fixture
def promtool() -> str:
    found = shutil.which("promtool")
    if found is None:
        pytest.skip("promtool (Debian's package prometheus) is not installed")
    return found


def run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_expressions_are_valid(promtool: str, tmp_path: Path) -> None:
    run(promtool, "check", "rules", str(RULES))
    run(promtool, "check", "config", str(RULES.with_name("prometheus.yaml")))
    rules = [{"record": f"test:{number}", "expr": text} for number, text in enumerate(expressions())]
    path = tmp_path / "rules.yaml"
    path.write_text(yaml.safe_dump({"groups": [{"name": "panels", "rules": rules}]}), encoding="utf-8")
    run(promtool, "check", "rules", str(path))


def test_alerts_fire_on_what_they_are_for_and_on_nothing_else(promtool: str, tmp_path: Path) -> None:
    """Each alone, 25 minutes after the start; none on a host that works."""
    alerts = [rule["alert"] for group in yaml.safe_load(RULES.read_text("utf-8"))["groups"] for rule in group["rules"]]
    assert sorted(alerts) == sorted(FIRES)
    path = tmp_path / "tests.yaml"
    path.write_text(
        yaml.safe_dump({
            "rule_files": [str(RULES)],
            "evaluation_interval": "1m",
            "tests": [case(alerts, "", HEALTHY), *(case(alerts, alert, series) for alert, series in FIRES.items())],
        }),
        encoding="utf-8",
    )  # fmt: skip
    run(promtool, "test", "rules", str(path))


def case(alerts: list[str], fires: str, series: list[tuple[str, str]]) -> dict[str, Any]:
    labels = ", ".join(f'{key}="{value}"' for key, value in NODE.items())
    return {
        "interval": "1m",
        "input_series": [
            {"series": name.replace("NODE", labels), "values": values} for name, values in series
        ],
        "promql_expr_test": [
            {
                "expr": f'count(ALERTS{{alertname="{alert}", alertstate="firing"}})',
                "eval_time": "25m",
                "exp_samples": [{"labels": "{}", "value": 1}] if alert == fires else [],
            }
            for alert in alerts
        ],
    }  # fmt: skip

"""What operators copy is whole: dashboard, alerts, unit, image, list of dependencies."""

import fnmatch
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from shortener.config.sections import Config
from tests.support.metrics_client import Site
from tests.support.process import Running

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
NEEDED_BY_THE_BUILD = (
    "pyproject.toml",
    "README.md",
    "LICENSE",
    "config.toml",
    "migrations",
    "shortener",
    "requirements.lock",
)


@pytest.fixture(scope="module")
def told(server: Running) -> set[str]:
    """The names of all samples that /metrics may have."""
    site = Site(server.gateway)
    _, text = site.ask("GET", "/metrics")
    site.close()
    families = re.findall(r"^# TYPE (\S+) (\S+)", text.decode(), re.MULTILINE)
    parts = {"histogram": ("_bucket", "_sum", "_count")}
    return {name + part for name, kind in families for part in parts.get(kind, ("",))}


def metrics_in(expression: str) -> set[str]:
    return set(re.findall(r"\b(?:shortener|process)_\w+", expression))


def expressions_of(dashboard: dict[str, Any]) -> list[str]:
    queries = [variable["query"] for variable in dashboard["templating"]["list"]]
    return queries + [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]


def test_every_metric_of_the_dashboard_exists(told: set[str]) -> None:
    dashboard = json.loads((DEPLOY / "grafana-dashboard.json").read_text())
    expressions = expressions_of(dashboard)
    assert len(expressions) > 30
    assert set().union(*map(metrics_in, expressions)) - told == set()
    assert all(expression.count("(") == expression.count(")") for expression in expressions)
    ids = [panel["id"] for panel in dashboard["panels"]]
    assert len(set(ids)) == len(ids)
    corners = {(panel["gridPos"]["x"], panel["gridPos"]["y"]) for panel in dashboard["panels"]}
    assert len(corners) == len(ids)


def test_every_metric_of_the_alerts_exists(told: set[str]) -> None:
    [group] = yaml.safe_load((DEPLOY / "alerts.yml").read_text())["groups"]
    assert len(group["rules"]) > 5
    for rule in group["rules"]:
        assert {"alert", "expr", "labels", "annotations"} <= rule.keys()
        assert rule["expr"].count("(") == rule["expr"].count(")")
        assert metrics_in(rule["expr"]) - told == set(), rule["alert"]


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_the_unit_is_valid_and_tight(tmp_path: Path) -> None:
    unit = tmp_path / "shortener.service"
    unit.write_text(
        (DEPLOY / "shortener.service").read_text().replace("/opt/shortener/.venv/bin/shortener", "/bin/true")
    )
    verified = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(unit)], capture_output=True, text=True, timeout=60, check=False
    )
    assert [line for line in verified.stderr.splitlines() if "shortener.service" in line] == []
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--threshold=20", str(unit)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert judged.returncode == 0, judged.stdout[-2000:]


def test_the_unit_gives_the_time_that_stopping_takes_and_enough_descriptors() -> None:
    unit = dict(re.findall(r"^(\w+)=(.*)$", (DEPLOY / "shortener.service").read_text(), re.MULTILINE))
    config = Config()
    assert int(unit["TimeoutStopSec"]) >= config.server.drain_seconds + 5
    most = config.redirect.connections_max + config.gateway.connections_max + 3 * config.grpc.connections_max
    assert int(unit["LimitNOFILE"]) > most


def test_the_image_gets_all_that_the_build_needs_and_runs_as_nobody() -> None:
    lines = re.sub(r"\\\n", " ", (DEPLOY / "Dockerfile").read_text()).splitlines()
    steps = [line.split(maxsplit=1) for line in lines if line and not line.startswith("#")]
    sources = [
        source
        for name, rest in steps
        if name == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    ]
    assert sorted(sources) == sorted(NEEDED_BY_THE_BUILD)
    kept = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    assert sorted(kept) == sorted(NEEDED_BY_THE_BUILD)
    assert all((ROOT / source).exists() for source in sources)
    last = steps[max(index for index, (name, _) in enumerate(steps) if name == "FROM") :]
    assert [rest for name, rest in last if name == "USER"] == ["10001:10001"]
    assert {"HEALTHCHECK", "VOLUME", "ENTRYPOINT", "STOPSIGNAL"} <= {name for name, _ in last}
    assert not any("latest" in rest for name, rest in steps if name == "FROM")
    installs = [rest for name, rest in steps if name == "RUN" and "pip install" in rest]
    assert all("--require-hashes" in rest or "--no-deps" in rest for rest in installs)
    assert not any(fnmatch.fnmatch(".git", pattern) for pattern in kept)


def test_the_images_health_check_tells_a_ready_server_from_none(server: Running) -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    [command] = re.findall(r"^  CMD (\[.*\])$", text, re.MULTILINE)
    program = json.loads(command)[2]
    assert "http://127.0.0.1:8080/readyz" in program
    for address, status in ((server.gateway, 0), ("127.0.0.1:1", 1)):
        asked = program.replace("127.0.0.1:8080", address)
        done = subprocess.run([sys.executable, "-c", asked], capture_output=True, timeout=30, check=False)
        assert done.returncode == status


def test_the_list_of_dependencies_is_what_is_pinned(tmp_path: Path) -> None:
    [recipe] = re.findall(r"^sbom:.*\n\t\$\(BIN\)(.*)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    program, *arguments = recipe.replace("sbom.json", str(tmp_path / "sbom.json")).split()
    command = [str(Path(sys.executable).with_name(program)), *arguments]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=110)
    sbom = json.loads((tmp_path / "sbom.json").read_text())
    assert "serialNumber" not in sbom, "random"
    assert "timestamp" not in sbom["metadata"], "another each time"
    assert sbom["bomFormat"] == "CycloneDX"
    assert sbom["metadata"]["component"]["name"] == "shortener"
    pinned = re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert {(part["name"], part["version"]) for part in sbom["components"]} == set(pinned)
    assert all(part["externalReferences"][0]["hashes"] for part in sbom["components"])

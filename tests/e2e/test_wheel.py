"""What is installed is whole: the wheel carries all that the program reads, and runs far from the checkout."""

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--no-deps"]
    subprocess.run([*command, "--no-build-isolation", "--wheel-dir", folder, ROOT], check=True, timeout=100)
    [built] = folder.glob("*.whl")
    return built


def test_it_holds_every_file_that_the_program_reads(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    expected = {"shortener/_config.toml"}
    expected |= {f"shortener/_migrations/sqlite/{path.name}" for path in (ROOT / "migrations" / "sqlite").glob("*.sql")}
    package = ROOT / "shortener"
    sources = (path for path in package.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    expected |= {str(path.relative_to(ROOT)) for path in sources}
    assert expected <= names
    kinds = (
        "shortener/analytics/clients/data/country.mmdb.xz",
        "shortener/rest/static/docs.css",
        "shortener/gen/protos.desc",
    )
    assert names.issuperset(kinds)
    others = {name for name in names - expected if ".dist-info/" not in name}
    assert others == set()
    assert [name for name in names if name.endswith("/licenses/LICENSE")] != []


def test_it_runs_from_another_directory(wheel: Path, tmp_path: Path) -> None:
    target, elsewhere = tmp_path / "installed", tmp_path / "elsewhere"
    elsewhere.mkdir()
    with zipfile.ZipFile(wheel) as archive:  # what `pip install --target` does with a wheel of Python alone
        archive.extractall(target)
    script = "import shortener; print(shortener.__file__); from shortener.cli.program import main; main(['migrate'])"
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=elsewhere,
        env={"PYTHONPATH": str(target), "PATH": ""},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.stderr, done.returncode) == ("", 0)
    where, *lines = done.stdout.splitlines()
    assert where == str(target / "shortener" / "__init__.py")
    assert lines == [f"applied {path.name}" for path in sorted((ROOT / "migrations" / "sqlite").glob("*.sql"))]
    assert sorted(path.name for path in (elsewhere / "data").iterdir()) == ["lock", "shortener.db"]

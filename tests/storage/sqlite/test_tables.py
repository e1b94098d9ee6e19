"""Each table is named by the SQL of one module alone, in the files that may hold SQL."""

import re
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).parents[3]
MAY_HOLD_SQL = {"sqlite", "collector"}
READS_ALL = "backup"  # checks whether the tables of all modules agree, and changes none


def tables() -> set[str]:
    """The tables of all migrations."""
    scripts = [file.read_text() for file in sorted((ROOT / "migrations" / "sqlite").glob("*.sql"))]
    return set(re.findall(r"^CREATE TABLE (\w+)", "\n".join(scripts), re.MULTILINE))


def uses(names: set[str]) -> dict[str, set[Path]]:
    """The files that name each table after a keyword of SQL (in upper case, as the house writes it)."""
    found: dict[str, set[Path]] = defaultdict(set)
    pattern = re.compile(rf"\b(?:FROM|JOIN|INTO|UPDATE|TABLE|EXISTS)\s+({'|'.join(sorted(names))})\b")
    for file in sorted((ROOT / "shortener").rglob("*.py")):
        for name in pattern.findall(file.read_text()):
            found[name].add(file.relative_to(ROOT / "shortener"))
    return found


def test_each_table_belongs_to_one_module() -> None:
    folders = {table: {file.parts[0] for file in files} - {READS_ALL} for table, files in uses(tables()).items()}
    assert {table: names for table, names in folders.items() if len(names) != 1} == {}


def test_sql_is_only_where_sql_may_be() -> None:
    files = {file for files in uses(tables()).values() for file in files if file.parts[0] != READS_ALL}
    assert {file for file in files if not MAY_HOLD_SQL & {*file.parts[:-1], file.stem}} == set()


def test_what_reads_all_tables_writes_none() -> None:
    text = "\n".join(file.read_text() for file in (ROOT / "shortener" / READS_ALL).glob("*.py"))
    assert re.findall(r"\b(?:INSERT|UPDATE|DELETE|REPLACE|CREATE|DROP|ALTER)\s", text) == []


def test_only_storage_knows_which_migrations_are_applied() -> None:
    assert {file.parts[0] for file in uses({"schema_migrations"})["schema_migrations"]} == {"storage"}

"""The command line, as people use it: against a running server, and offline on the data directory."""

import json
import os
import re
import shutil
import time
import urllib.request
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest
import zxingcpp
from PIL import Image
from typer.main import get_command

from shortener.cli.program import main
from shortener.storage.data_dir import lock_data_dir
from tests.support import process, program
from tests.support.program import Run, done, failed


def test_links_from_making_to_statistics(run: Run, tmp_path: Path) -> None:
    before = int(time.time())
    arguments = ("https://example.com/a?b=%2f", "--alias", "my-link", "--expires", "7d", "--user", "ann")
    made = json.loads(done(run("shorten", *arguments, "--json")))
    assert (made["short_code"], made["long_url"], made["qr_code"]) == ("my-link", "https://example.com/a?b=%2f", "")
    assert before + 7 * 86_400 <= made["expires_at"] <= time.time() + 7 * 86_400

    plain = done(run("shorten", "https://example.com/b", "--expires", "2030-12-31", USER="ann"))
    short_url = plain.strip()
    assert re.fullmatch(r"http://localhost:[0-9]+/[A-Za-z0-9]{7}", short_url)
    page = json.loads(done(run("list", "--user", "ann", "--json")))
    assert [link["short_url"] for link in page["urls"]] == [short_url, made["short_url"]]
    assert page["urls"][0]["expires_at"] == datetime(2030, 12, 31, tzinfo=UTC).timestamp()

    listed = done(run("list", "--user", "ann", "--limit", "1")).splitlines()
    assert listed[0].split()[2:] == ["0", short_url, "https://example.com/b"]
    assert listed[1:] == ["1 of 2"]

    for name in ("code.png", "code.svg"):
        assert (
            done(run("qr", "my-link", "--out", str(tmp_path / name))) == f"{made['short_url']} -> {tmp_path / name}\n"
        )
    [code] = zxingcpp.read_barcodes(Image.open(tmp_path / "code.png"))
    assert code.text == made["short_url"]
    assert (tmp_path / "code.svg").read_text().lstrip().startswith(("<?xml", "<svg"))

    assert done(run("stats", "my-link")).splitlines() == ["clicks           0", "unique visitors  0"]
    line = failed(run("shorten", "https://example.com/", "--alias", "my-link"), 1)
    assert re.fullmatch("alias is already taken; free are (my-link[^, ]+, ){2}my-link[^, ]+", line)


def test_the_program_itself_does_all_that(server: process.Running, tmp_path: Path) -> None:
    """Each command once as a process of its own; the other tests call it in theirs, which takes a tenth of the time."""

    def run(*arguments: str, **more: str) -> str:
        port = server.url.rpartition(":")[2]
        return done(program.shortener(*arguments, cwd=tmp_path, whole=True, GRPC_URL_PORT=port, **more))

    short_url = run("shorten", "https://example.com/", "--alias", "itself", "--expires", "7d", "--user", "itself")
    assert run("list", "--user", "itself").splitlines()[0].split()[2:] == [
        "0",
        short_url.strip(),
        "https://example.com/",
    ]
    assert run("stats", "itself").splitlines()[0] == "clicks           0"
    assert run("qr", "itself", "--out", "code.png") == f"{short_url.strip()} -> code.png\n"
    assert "username" in run(
        "user", "create", "--email", "i@example.com", "--username", "ida", "--json", PASSWORD="secret-1"
    )
    assert not (tmp_path / "data").exists()


def test_offline_a_command_opens_the_data_directory(tmp_path: Path) -> None:
    short_url = "http://localhost:8081/my-link\n"
    made = program.shortener("shorten", "https://example.com/", "--alias", "my-link", "--offline", cwd=tmp_path)
    assert done(made) == short_url
    assert (tmp_path / "data" / "shortener.db").exists()


def test_an_account_with_the_password_in_the_environment_or_on_standard_input(run: Run) -> None:
    answer = done(run("user", "create", "--email", "e@example.com", "--username", "eve", "--json", PASSWORD="secret-1"))
    made = json.loads(answer)
    assert (made["email"], made["username"], made["name"]) == ("e@example.com", "eve", "eve")
    piped = run("user", "create", "--email", "p@example.com", "--username", "pia", typed="secret-2\n")
    assert done(piped) == f"account {made['id'] + 1}: p@example.com\n"


def test_an_account_is_exported_and_erased(run: Run, tmp_path: Path) -> None:
    made = json.loads(
        done(run("user", "create", "--email", "x@example.com", "--username", "xen", "--json", PASSWORD="secret-1"))
    )
    owner = str(made["id"])
    done(run("shorten", "https://example.com/exported", "--user", owner, "--alias", "exported-one"))

    assert done(run("user", "export", "x@example.com", "--out", "mine.json", "--clicks")) == (
        f"account {owner} -> mine.json\n"
    )
    file = tmp_path / "mine.json"
    document = json.loads(file.read_text())
    assert (document["account"]["email"], file.stat().st_mode & 0o777) == ("x@example.com", 0o600)
    assert [(link["long_url"], link["raw_clicks"]) for link in document["links"]] == [
        ("https://example.com/exported", [])
    ]
    shown = run("user", "export", owner, "--out", "-")
    assert json.loads(shown.stdout)["account"] == document["account"]

    line = "--yes is required where nobody can be asked"
    assert failed(run("user", "erase", owner), 2) == line
    assert done(run("user", "erase", "X@example.com", "--yes")) == f"account {owner} erased\n"
    assert done(run("user", "erase", owner, "-y")) == f"account {owner} erased\n"
    assert failed(run("user", "export", owner, "--out", "gone.json"), 1) == "user not found"
    assert failed(run("user", "erase", "x@example.com", "--yes"), 1) == "user not found"
    assert done(run("list", "--user", owner)) == "0 of 0\n"
    assert {path.suffix for path in tmp_path.glob("*.json*")} == {".json"}
    assert not (tmp_path / "gone.json").exists()


def test_the_password_is_asked_for_on_a_terminal_and_not_shown(tmp_path: Path) -> None:
    arguments = ("user", "create", "--email", "a@example.com", "--username", "ann")
    typed = ("secret-1", "secret-1")
    status, shown = program.on_a_terminal(*arguments, "--offline", cwd=tmp_path, typed=typed)
    assert (status, "secret-1" in shown) == (0, False)
    assert "account 1: a@example.com" in shown


def test_statistics_as_text_show_shares(server: process.Running, tmp_path: Path) -> None:
    port = server.url.rpartition(":")[2]
    done(program.shortener("shorten", "https://example.com/", "--alias", "shared", cwd=tmp_path, GRPC_URL_PORT=port))
    agents = ["Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/120.0 Safari/537.36"] * 2 + [""]
    for agent in agents:
        request = urllib.request.Request(
            f"http://{server.redirect}/shared", headers={"User-Agent": agent, "Referer": "https://news.example/x"}
        )
        with pytest.raises(urllib.error.HTTPError) as caught:
            urllib.request.build_opener(_NoRedirect).open(request, timeout=5)
        with caught.value:
            assert caught.value.code == 302
    deadline = time.monotonic() + 5
    while True:
        text = done(program.shortener("stats", "shared", cwd=tmp_path, GRPC_URL_PORT=port))
        if text.startswith("clicks           3") or time.monotonic() > deadline:
            break
    assert text.splitlines() == [
        "clicks           3",
        "unique visitors  1",
        "devices",
        "  desktop         2   66.7 %",
        "  other           1   33.3 %",
        "countries",
        "  Unknown         3  100.0 %",
        "referrers",
        "  https://news.example         3  100.0 %",
    ]


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: object) -> None:
        return None


@pytest.mark.parametrize("run", ["the data directory"], indirect=True)
def test_migrate_then_nothing_to_do(run: Run) -> None:
    names = sorted(path.name for path in (Path(__file__).parents[2] / "migrations" / "sqlite").glob("*.sql"))
    assert json.loads(done(run("migrate", "--json"))) == {"applied": names}
    assert done(run("migrate")) == "nothing to do\n"


@pytest.mark.parametrize("coloured", [True, False])
def test_migrate_draws_a_bar_on_a_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, coloured: bool) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.setenv("NO_COLOR", "" if coloured else "1")
    status, shown = program.on_a_terminal("migrate", cwd=tmp_path)
    assert status == 0
    assert "migrating" in shown
    assert "100%" in shown
    assert "applied 0001_links.sql" in shown
    assert bool(re.search(r"\x1b\[[0-9;]*3[0-9]", shown)) is coloured


def test_a_server_on_another_port_is_named(server: process.Running) -> None:
    home = server.log.parent
    data_dir = str(home / "data")
    line = failed(program.shortener("list", cwd=home, GRPC_URL_PORT="1", STORAGE_DATA_DIR=data_dir), 1)
    assert line == (
        f"no server listens on 127.0.0.1:1, but process {server.process.pid} uses data directory {data_dir}: "
        "name its address with --server"
    )
    line = failed(program.shortener("list", "--offline", cwd=home, STORAGE_DATA_DIR=data_dir), 1)
    assert line == (
        f"data directory {data_dir} is in use by process {server.process.pid}: leave --offline away to work with it"
    )
    assert done(program.shortener("list", "--server", server.url, "--user", "nobody", cwd=home)) == "0 of 0\n"
    line = failed(program.shortener("list", "--server", server.gateway, cwd=home), 1)
    assert line == f"{server.gateway} does not speak gRPC without TLS"


@pytest.mark.parametrize(
    ("arguments", "status", "line"),
    [
        (("shorten", "nope", "--offline"), 1, "long_url must be an absolute http or https URL"),
        (
            ("shorten", "example.com"),
            1,
            "long_url must be an absolute http or https URL: did you mean https://example.com ?",
        ),
        (("stats", "nothere", "--offline"), 1, "short_code is unknown"),
        (("stats", "http://localhost:8081/nothere", "--offline"), 1, "short_code is unknown"),
        (
            ("qr", "http://localhost:8081/"),
            2,
            "Invalid value for 'CODE': http://localhost:8081/ has no short code in it",
        ),
        (("link", "show", "http://[::1/x"), 2, "Invalid value for 'CODE': http://[::1/x is no URL"),
        (("list", "--server", "127.0.0.1:1", "--offline"), 2, "--server and --offline exclude each other"),
        (("stats", "x", "--since", "3000-01-01"), 2, "--since: '3000-01-01' is not in the past"),
        (("stats", "x", "--since", "1969-01-01"), 2, "--since: '1969-01-01' is before 1970"),
        (("stats", "x", "--since", "7"), 2, "--since: '7' is neither a span like 7d nor a date like 2030-12-31"),
        (
            ("shorten", "https://example.com/", "--expires", "7x"),
            2,
            "--expires: '7x' is neither a span like 7d nor a date like 2030-12-31",
        ),
        (
            ("shorten", "https://example.com/", "--expires", "1s", "--alias", "x", "--offline"),
            1,
            "alias must be 3 to 50 of A-Z, a-z, 0-9, _ and -",
        ),
        (("qr", "x", "--out", "code.gif"), 2, "--out must end in .png or .svg, not 'code.gif'"),
        (("list", "--server", "nowhere"), 1, "--server must be HOST:PORT, not 'nowhere'"),
        (("list", "--server", "127.0.0.1:1"), 1, "no server listens on 127.0.0.1:1"),
        (("list", "--config", "none.toml"), 2, "none.toml: cannot be read: No such file or directory"),
        (("shrten", "x"), 2, "No such command 'shrten'. Did you mean 'shorten'? (see `shortener --help`)"),
        (("list", "--limit", "0"), 2, "Invalid value for '--limit': Input should be greater than or equal to 1"),
        (("shorten",), 2, "Missing argument 'URL' (see `shortener shorten --help`)"),
    ],
)
def test_errors_are_one_line_and_a_status(
    program_home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    arguments: tuple[str, ...],
    status: int,
    line: str,
) -> None:
    monkeypatch.chdir(program_home)
    with pytest.raises(SystemExit) as caught:
        main(arguments)
    shown = capsys.readouterr()
    assert (caught.value.code, shown.out) == (status, "")
    assert shown.err.startswith(f"shortener: {line}"), shown.err
    assert shown.err.count("\n") == 1


def test_backup_verify_restore_beside_a_running_server(server: process.Running, tmp_path: Path) -> None:
    data_dir = str(server.log.parent / "data")
    port = server.url.rpartition(":")[2]
    done(program.shortener("shorten", "https://example.com/", "--alias", "kept", cwd=tmp_path, GRPC_URL_PORT=port))
    line = done(program.shortener("backup", "monday", cwd=tmp_path, STORAGE_DATA_DIR=data_dir))
    assert re.fullmatch(r"[3-9] files, [0-9.]+ MB -> monday\n", line)
    for arguments, settings in [((), {"STORAGE_DATA_DIR": data_dir}), (("monday",), {})]:
        answer = program.shortener("verify", *arguments, cwd=tmp_path, **settings)
        assert done(answer).startswith("all is well: "), answer
    refused = failed(program.shortener("restore", "monday", "--force", cwd=tmp_path, STORAGE_DATA_DIR=data_dir), 1)
    assert refused == f"data directory {data_dir} is in use by process {server.process.pid}"
    restored = json.loads(done(program.shortener("restore", "monday", "--json", cwd=tmp_path, STORAGE_DATA_DIR="new")))
    assert (restored["data_dir"], restored["files"]) == ("new", int(line.split()[0]))
    listed = done(program.shortener("stats", "kept", "--offline", cwd=tmp_path, STORAGE_DATA_DIR="new"))
    assert listed.startswith("clicks           0")


def test_verify_tells_each_finding_in_a_line(tmp_path: Path, run_here: Callable[..., tuple[int, str, str]]) -> None:
    assert run_here("migrate")[0] == 0
    assert run_here("verify") == (0, "all is well: 0 links, 0 accounts, 0 clicks, 0 more in the journal\n", "")
    (tmp_path / "data").chmod(0o750)
    finding = "data can be used by others: its mode is 0750, not 0700"
    assert run_here("verify") == (1, f"{finding}\n", "")
    status, out, _ = run_here("verify", "--json")
    assert (status, json.loads(out)["findings"]) == (1, [finding])
    assert run_here("verify", "none") == (1, "", "shortener: none holds no database\n")
    assert run_here("backup", "data/b")[2].startswith("shortener: data/b lies in the data directory data")
    assert run_here("restore", "data")[2] == "shortener: data is not a backup: it holds no manifest.json\n"


@pytest.fixture
def run_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., tuple[int, str, str]]:
    """Runs a command in this process; gives its status, standard output and standard error."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as caught:
            main(arguments)
        assert isinstance(caught.value.code, int)
        return (caught.value.code, *capsys.readouterr())

    return run


def test_compact_tells_both_sizes(tmp_path: Path, run_here: Callable[..., tuple[int, str, str]]) -> None:
    assert run_here("compact") == (1, "", "shortener: data directory data holds no database\n")
    run_here("migrate")
    status, out, err = run_here("compact")
    assert (status, err) == (0, "")
    assert re.fullmatch(r"0\.\d MB -> 0\.\d MB\n", out)
    status, out, _ = run_here("compact", "--json")
    size = (tmp_path / "data" / "shortener.db").stat().st_size
    assert (status, json.loads(out)) == (0, {"bytes_before": size, "bytes_after": size})
    with lock_data_dir(tmp_path / "data"):
        line = f"shortener: data directory data is in use by process {os.getpid()}\n"
        assert run_here("compact") == (1, "", line)


@pytest.mark.parametrize("arguments", [("backup", "b"), ("restore", "b"), ("verify",), ("compact",)])
def test_long_work_draws_a_bar_on_a_terminal(program_home: Path, tmp_path: Path, arguments: tuple[str, ...]) -> None:
    shutil.copytree(program_home, tmp_path, dirs_exist_ok=True)
    if arguments[0] == "restore":
        done(program.shortener("backup", "b", cwd=tmp_path))
        shutil.rmtree(tmp_path / "data")
    status, shown = program.on_a_terminal(*arguments, cwd=tmp_path)
    assert (status, "100%" in shown) == (0, True), shown


@pytest.fixture(scope="module")
def program_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a database and no server on its ports."""
    home = tmp_path_factory.mktemp("home")
    (home / "config.toml").write_text("[grpc]\nurl_port = 0\n")
    program.shortener("migrate", cwd=home)
    return home


@pytest.mark.parametrize(
    "command",
    ["shorten https://example.com/", "list", "stats x", "qr x", "link show x", "link delete x", "user list",
     "user create --email e@example.com --username eve", "user password 1", "user export 1 --out x",
     "user erase 1 --yes"],
)  # fmt: skip
def test_without_a_server_every_command_refuses_and_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("SHORTENER_PASSWORD", "secret-1")
    for port, nobody in (
        ("1", "no server listens on 127.0.0.1:1"),
        ("0", "nothing tells where the server listens (grpc.url_port is 0)"),
    ):
        monkeypatch.setenv("SHORTENER_GRPC_URL_PORT", port)
        with pytest.raises(SystemExit) as caught:
            main(command.split())
        shown = capsys.readouterr()
        assert (caught.value.code, shown.out) == (1, "")
        assert shown.err == (
            f"shortener: {nobody}: start one with `shortener serve`, name another with --server HOST:PORT, "
            "or work on data directory data with --offline\n"
        )
    assert list(tmp_path.iterdir()) == []


def test_offline_a_reading_command_makes_no_data_directory(tmp_path: Path) -> None:
    line = failed(program.shortener("list", "--offline", cwd=tmp_path), 1)
    assert line == "data directory data holds no database"
    assert list(tmp_path.iterdir()) == []


COMMANDS = [
    "", "serve", "migrate", "check-config", "version", "shorten", "list", "stats", "qr", "link", "link show",
    "link delete", "user", "user create", "user list", "user password", "user export", "user erase", "backup",
    "restore", "verify", "compact",
]  # fmt: skip


@pytest.mark.parametrize("option", ["--help", "-h"])
@pytest.mark.parametrize("command", COMMANDS)
def test_help_lists_every_option_with_a_word_about_it(
    command: str, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        main([*command.split(), option])
    shown = capsys.readouterr()
    assert (caught.value.code, shown.err) == (0, "")
    assert shown.out.startswith(f"Usage: shortener {command}".strip())
    node = get_command(main)
    for name in command.split():
        node = node.commands[name]  # type: ignore[attr-defined]  # a group
    for parameter in node.params:
        for name in parameter.opts:
            assert re.search(rf"^ .*{re.escape(name)}\b", shown.out, re.MULTILINE), name
        assert getattr(parameter, "help", None), parameter.name
    assert max(map(len, shown.out.splitlines())) <= 100


def test_every_command_is_among_those_tested() -> None:
    root = get_command(main)
    found = set()
    for name, command in root.commands.items():  # type: ignore[attr-defined]  # a group
        found |= {name, *(f"{name} {below}" for below in getattr(command, "commands", {}))}
    assert found == set(COMMANDS) - {""}


@pytest.mark.parametrize("arguments", [("--version",), ("-V",), ("version",)])
def test_the_version(arguments: tuple[str, ...], capsys: pytest.CaptureFixture[str]) -> None:
    from shortener import __version__

    with pytest.raises(SystemExit) as caught:
        main(arguments)
    assert (caught.value.code, capsys.readouterr()) == (0, (f"shortener {__version__}\n", ""))


@pytest.fixture
def any_ports(monkeypatch: pytest.MonkeyPatch) -> None:
    """Configure ports that nobody else can have: the usual ones may belong to another program or connection."""
    for key in ("GRPC_URL_PORT", "GRPC_USER_PORT", "GRPC_ANALYTICS_PORT", "GATEWAY_PORT", "REDIRECT_PORT"):
        monkeypatch.setenv(f"SHORTENER_{key}", "0")


@pytest.mark.usefixtures("any_ports")
def test_check_config_shows_what_holds_without_secrets(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "config.toml"
    file.write_text("[redirect]\nstatus = 301\n[auth]\nsecret = 'a-very-secret-key-of-forty-two-characters'\n")
    for option, shown in ((), "redirect.status = 301\n"), (("--json",), '"status": 301'):
        with pytest.raises(SystemExit) as caught:
            main(["check-config", "--config", str(file), *option])
        out, err = capsys.readouterr()
        assert (caught.value.code, err) == (0, "")
        assert shown in out
        assert "a-very" not in out


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("[grpc]\ntls_certificate = 'none'\ntls_key = 'none'\n", "[grpc] tls_certificate none: cannot be read"),
        ("[grpc]\nservice_token_file = 'none'\n", "[grpc] service_token_file none: cannot be read"),
        ("[auth]\nsecret = 'short'\n", "[auth] secret: line 1 has 5 bytes"),
        ("[analytics]\ncity_database = 'none'\n", "cannot use geo database none"),
    ],
)
@pytest.mark.usefixtures("any_ports")
def test_check_config_looks_at_the_files_it_names(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], lines: str, message: str
) -> None:
    (tmp_path / "config.toml").write_text(lines)
    with pytest.raises(SystemExit) as caught:
        main(["check-config", "-c", str(tmp_path / "config.toml")])
    out, err = capsys.readouterr()
    assert (caught.value.code, out) == (2, "")
    assert err.startswith(f"shortener: {message}")
    assert err.count("\n") == 1

"""Every shell block of docs/operating.md works as printed on the installation that the page begins with."""

import json
import re
import subprocess
import sys
from pathlib import Path

from tests.support import fault_injection

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "operating.md"
FOLLOW = Path(__file__).with_name("follow.py")
OWN_ROOM = ("unshare", "-mnp", "--fork", "--kill-child", "--propagation", "private")
TRY_OVERLAY = """
set -e
cd {}
mount -t tmpfs none .
cd "$PWD"
mkdir lower upper work merged
mount -t overlay -o lowerdir=lower,upperdir=upper,workdir=work none merged
"""
READY = 'test "$(curl -s -o /dev/null -w "%{http_code}" http://127.0.0.1:8080/readyz)" = 200'
GONE = 'test "$(curl -s -o /dev/null -w "%{http_code}" http://127.0.0.1:8081/lost)" = 404'
DATA = "/var/lib/shortener/data"
FOREIGN = f"find {DATA}/ '(' ! -user 64087 -o ! -group 64087 -o -perm /077 ')' -print"
ALL_IS_THE_SERVICES = f'test -z "$({FOREIGN})"'
LEADS = 'curl -s -o /dev/null -w "%{redirect_url}" http://127.0.0.1:8081/kept | grep -x https://example.com/kept'


def blocks() -> list[str]:
    """The shell blocks in order. Environments are not made by them here: see tests/promises/test_bare_debian.py."""
    found = re.findall(r"^```sh\n(.*?)^```", PAGE.read_text(), re.DOTALL | re.MULTILINE)
    return [re.sub(r"^python3 -m venv .*\n", "", block, flags=re.MULTILINE) for block in found]


def checked(block: str) -> list[str]:
    """A block, what has to be there for it, and what is true after it."""
    before, after = [], [READY, LEADS, ALL_IS_THE_SERVICES]
    if "systemctl enable --now shortener\n" in block:
        after = [
            READY,
            "SHORTENER_PASSWORD=secret-1 shortener user create --email me@example.com --username myself",
            "shortener shorten https://example.com/kept --alias kept --user ann",
            ALL_IS_THE_SERVICES,
        ]
    if "restore" in block:
        before = ["shortener shorten https://example.com/lost --alias lost --user ann"]
        after += [
            'test "$(curl -s -o /dev/null -w "%{http_code}" http://127.0.0.1:8081/lost)" = 404',
            "shortener verify",
        ]
    if "user erase" in block:
        after += ["grep -q myself me.json", "! shortener user export me@example.com --out again.json"]
    return [*before, block, *after]


def follow(tmp_path: Path, texts: list[str]) -> "subprocess.CompletedProcess[str]":
    fault_injection.need("unshare", "setpriv", "curl", "openssl", root=True)
    fault_injection.run(*OWN_ROOM, "sh", "-c", TRY_OVERLAY.format(tmp_path))
    (tmp_path / "root").mkdir()
    command = [*OWN_ROOM, sys.executable, str(FOLLOW), str(tmp_path / "root"), sys.executable]
    return subprocess.run(command, input=json.dumps(texts), capture_output=True, text=True, timeout=110, check=False)


def test_the_page_can_be_followed(tmp_path: Path) -> None:
    done = follow(tmp_path, [text for block in blocks() for text in checked(block)])
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    assert "all is well: 1 links, 1 accounts" in done.stdout

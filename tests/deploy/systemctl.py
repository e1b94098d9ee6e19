"""As much of systemd as our unit needs: `systemctl` of the root that tests/deploy/follow.py builds.

Like systemd it gives the service a user that exists nowhere else, puts the state directory under /var/lib/private where
root alone gets in, takes it over when it belongs to somebody else, runs the command with nothing but the unit's
environment, waits for READY=1, and hands over sockets. What only a kernel does (filters, limits) is left out.
"""

import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

UNITS, RUN, PRIVATE, USER = Path("/etc/systemd/system"), Path("/run/units"), Path("/var/lib/private"), 64_087
SECONDS = 30
NAMES = ("shortener.service", "shortener.socket")
# Root's view of /var/lib/private is not the service's, which sees its own directory alone.
ENTER = """
set -e
mount --bind {private}/{state} /run/units/state
mount -t tmpfs -o mode=0755 none {private}
mkdir {private}/{state}
mount --bind /run/units/state {private}/{state}
cd {directory}
umask {mask}
export LISTEN_PID=$$
exec setpriv --reuid {user} --regid {user} --clear-groups --inh-caps=-all --bounding-set=-all --no-new-privs {command}
"""


def settings(unit: str) -> dict[str, list[str]]:
    """What the installed unit says; comments and sections are passed over."""
    found: dict[str, list[str]] = {}
    for key, value in re.findall(r"^(\w+)=(.*)$", (UNITS / unit).read_text(), re.MULTILINE):
        found.setdefault(key, []).append(value)
    return found


def state_directory(name: str) -> None:
    """See that it is under /var/lib/private, private, and belongs with all that is in it to the service's user."""
    public, private = PRIVATE.parent / name, PRIVATE / name
    PRIVATE.mkdir(mode=0o700, exist_ok=True)
    if public.is_dir() and not public.is_symlink():
        public.rename(private)
    private.mkdir(mode=0o700, exist_ok=True)
    if not public.is_symlink():
        public.symlink_to(f"private/{name}")
    if private.stat().st_uid != USER:
        subprocess.run(["chown", "-R", f"{USER}:{USER}", private], check=True)


def command_of(unit: dict[str, list[str]], command: str) -> list[str]:
    [state], [directory], [mask] = unit["StateDirectory"], unit["WorkingDirectory"], unit["UMask"]
    text = ENTER.format(private=PRIVATE, state=state, directory=directory, mask=mask, user=USER, command=command)
    return ["unshare", "-m", "sh", "-c", text]


def start() -> None:
    if is_running():
        return
    unit = settings("shortener.service")
    state_directory(unit["StateDirectory"][0])
    (RUN / "state").mkdir(parents=True, exist_ok=True)
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "LANG": "C.UTF-8"}
    environment |= dict(shlex.split(value)[0].split("=", 1) for value in unit.get("Environment", []))
    handed = []
    if (RUN / "shortener.socket").exists():
        handed = [listening(address) for address in settings("shortener.socket")["ListenStream"]]
        environment["LISTEN_FDS"] = str(len(handed))
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
        address = RUN / "notify"
        address.unlink(missing_ok=True)
        ready.bind(str(address))
        address.chmod(0o777)
        ready.settimeout(SECONDS)
        environment["NOTIFY_SOCKET"] = str(address)
        [command] = unit["ExecStart"]
        service = os.fork()
        if service == 0:
            for number, each in enumerate(handed, start=3):
                os.dup2(each.fileno(), number, inheritable=True)
            os.setsid()
            arguments = command_of(unit, command)
            os.execvpe(arguments[0], arguments, environment)
        (RUN / "pid").write_text(str(service))
        while b"READY=1" not in ready.recv(4096):
            pass


def listening(address: str) -> socket.socket:
    host, _, port = address.rpartition(":")
    made = socket.create_server((host, int(port)))
    # Above those numbers that the service gets them under.
    return socket.socket(fileno=os.dup2(made.detach(), 100 + int(port) % 100))


def stop() -> None:
    if not is_running():
        return
    service = int((RUN / "pid").read_text())
    os.kill(service, signal.SIGTERM)
    deadline = time.monotonic() + SECONDS
    while is_running():
        if time.monotonic() > deadline:
            sys.exit("shortener.service does not stop")
        time.sleep(0.02)


def is_running() -> bool:
    """Whether the process of the service is there; its parent, the first process of its kind, takes leave of it."""
    try:
        state = Path(f"/proc/{(RUN / 'pid').read_text()}/stat").read_text().rpartition(") ")[2][0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def main(verb: str, *arguments: str) -> None:
    RUN.mkdir(parents=True, exist_ok=True)
    units = [name if "." in name else f"{name}.service" for name in arguments if not name.startswith("-")]
    for unit in units:
        if unit not in NAMES or not (UNITS / unit).exists():
            sys.exit(f"Unit {unit} not found.")
    if verb in ("stop", "restart") and "shortener.service" in units:
        stop()
    if verb in ("start", "restart") or (verb == "enable" and "--now" in arguments):
        if "shortener.socket" in units:
            if is_running():
                sys.exit("Socket service shortener.service already active, refusing.")
            (RUN / "shortener.socket").touch()
        if "shortener.service" in units:
            start()
    elif verb not in ("daemon-reload", "enable", "stop"):
        sys.exit(f"Unknown command verb {verb}.")


if __name__ == "__main__":
    main(*sys.argv[1:])

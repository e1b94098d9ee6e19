"""Starts `shortener serve` with sockets handed over as systemd does: `socket_launcher.py NUMBERS [NAMES]`."""

import fcntl
import os
import sys

FIRST = 3
OUT_OF_THE_WAY = 100

if __name__ == "__main__":
    numbers = [fcntl.fcntl(int(text), fcntl.F_DUPFD, OUT_OF_THE_WAY) for text in sys.argv[1].split(",")]
    for place, number in enumerate(numbers, FIRST):
        os.dup2(number, place)
        os.close(number)
    names = {"LISTEN_FDNAMES": sys.argv[2]} if len(sys.argv) > 2 else {}
    handed = {"LISTEN_FDS": str(len(numbers)), "LISTEN_PID": str(os.getpid()), **names}
    os.execve(sys.executable, [sys.executable, "-m", "shortener", "serve"], os.environ | handed)

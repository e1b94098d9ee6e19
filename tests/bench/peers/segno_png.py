"""QR codes of short URLs with segno's defaults, one after the other: prints how many a second.

python -m tests.bench.peers.segno_png SCALE SECONDS, where SCALE is pixels a module.
"""

import io
import secrets
import sys
import time

import segno


def main() -> None:
    scale, seconds = int(sys.argv[1]), float(sys.argv[2])
    done, started = 0, time.perf_counter()
    while time.perf_counter() - started < seconds:
        code = segno.make_qr(f"http://localhost:8081/{secrets.token_hex(4)[:7]}")
        code.save(io.BytesIO(), kind="png", scale=scale)
        done += 1
    sys.stdout.write(f"{done / (time.perf_counter() - started)}\n")


if __name__ == "__main__":
    main()

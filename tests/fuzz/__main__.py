"""Fuzzes one reader with coverage guidance: `python -m tests.fuzz TARGET --seconds 600`. Needs `pip install atheris`.

New inputs go to build/fuzz/TARGET, and an input that breaks something to build/fuzz/findings. `--minimise` puts the
smallest inputs that reach every line in every order into the corpus, which pytest replays.
"""

import argparse
import sys
from pathlib import Path

from tests.fuzz import targets

BUILD = Path("build/fuzz")
WORDS = Path(__file__).parent / "words"
SIZES = {"protobuf": 600, "hpack": 600, "journal": 600, "destination": 300, "json": 400, "head": 1200}
SIZE = 2000


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("target", choices=targets.NAMES)
    parser.add_argument("--seconds", type=int, default=600, help="how long to look for new inputs")
    parser.add_argument("--minimise", action="store_true", help="rebuild the corpus from what was found")
    parser.add_argument("--input", type=Path, help="run this one input, and show what breaks")
    options = parser.parse_args()
    if options.input:
        with targets.target(options.target) as check:
            check(options.input.read_bytes())
    elif options.minimise:
        from tests.fuzz.minimise import minimise

        minimise(options.target, BUILD / options.target)
    else:
        fuzz(options.target, options.seconds)


def fuzz(name: str, seconds: int) -> None:
    """Run libFuzzer; it ends the process, with 0 when nothing was found."""
    import atheris  # type: ignore[import-untyped] # no dependency: whoever fuzzes installs it

    found, corpus = BUILD / name, targets.CORPUS / name
    for folder in (found, corpus, BUILD / "findings"):
        folder.mkdir(parents=True, exist_ok=True)
    with atheris.instrument_imports(include=["shortener"]):
        target = targets.target(name)
    arguments = [
        sys.argv[0],
        f"-max_total_time={seconds}",
        f"-max_len={SIZES.get(name, SIZE)}",
        f"-artifact_prefix={BUILD / 'findings'}/{name}-",
        "-timeout=10",
        "-rss_limit_mb=1500",
        "-print_final_stats=1",
    ]
    words = WORDS / f"{name}.dict"
    if words.exists():
        arguments.append(f"-dict={words}")
    with target as check:
        if name in ("connection", "frames"):
            from tests.fuzz.frame_mutator import mutate

            def mutator(data: bytes, size_max: int, seed: int) -> bytes:
                return bytes(mutate(data, size_max, seed) if seed % 2 else atheris.Mutate(data, size_max))

            atheris.Setup([*arguments, str(found), str(corpus)], check, custom_mutator=mutator)
        else:
            atheris.Setup([*arguments, str(found), str(corpus)], check)
        atheris.Fuzz()


if __name__ == "__main__":
    main()

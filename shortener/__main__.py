"""`python -m shortener` is the command line."""

from shortener.cli.program import main

main()

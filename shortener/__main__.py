"""`python -m shortener` is the command line."""

from shortener.cli import main

main()

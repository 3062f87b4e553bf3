"""`python -m caffepy` is the `caffepy` program."""

from caffepy.cli import main

main(prog_name="caffepy")

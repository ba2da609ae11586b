"""`python -m launcher` is `protein-sky`."""

from launcher.cli import main

main()

"""`python -m aural` is the command line."""

from .cli import main

main()

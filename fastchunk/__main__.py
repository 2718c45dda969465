"""`python -m fastchunk`: the command line, also where its script is not on the path."""

from .cli import main

main()

"""`python -m stretto` is `stretto`."""

from stretto.cli import main

main()

"""`python -m tfcompress` is `tfcompress`."""

from tfcompress.cli import main

main()

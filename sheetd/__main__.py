"""`python -m sheetd`, where the console script is not on the PATH."""

from sheetd.cli import main

main()

"""Write the table of README.md anew: python -m tests.faults."""

from tests.faults.catalogue import write

write()

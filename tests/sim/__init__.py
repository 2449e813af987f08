"""sheetd against a world of bad luck; `README.md` here says how."""

import gc

#: A simulation makes millions of small things and few cycles: looking for those as often as Python does by default cost
#: a quarter of every run.
gc.set_threshold(50_000, 20, 20)

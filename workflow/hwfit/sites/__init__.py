"""Several sites: what was measured elsewhere, exported to one file there, and merged into the plan here.

`write.py` packs an export, `read.py` reads one that may be damaged or hostile, `checks.py` does so before any
job starts, `lay.py` lays its records beside the study's own, `merge.py` makes one plan of several. A device
of another site is called `<device>@<site>` from there on, so that nothing that comes later needs to know.
"""

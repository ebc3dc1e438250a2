"""Guided search: a moment's look at every cell, and a full measurement of what may still win.

`curves.py` says which batch sizes are looked at, `judge.py` what the looks prove, both on plain data;
`looks.py` reads the looks, `rounds.py` writes the verdict of a round, `records.py` says where all of it
lies, and `plan.py` answers Snakemake. docs/search.md explains it.
"""

"""Training: from the section `training` to runs, rungs, tables and answers.

What a user may write is in `sections.py` and `checks.py`, what is made of it in `runs.py` and `plan.py`, and
which runs go on in `halving.py`. `records.py` is what the worker writes (both wings read it), `collect.py`
and `table.py` what is read of that; `decision.py`, `scaling.py`, `and_inference.py` and `answers.py` are what
follows.
"""

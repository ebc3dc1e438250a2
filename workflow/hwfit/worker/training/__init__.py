"""Training a model: one file a framework behind one interface (`trainer`), and one loop that drives them all.

The loop (`loop`) owns the epochs, the order of the data, the learning rate, the clock, what is written, and
when to stop. `supervisor` and `job` need the standard library alone.
"""

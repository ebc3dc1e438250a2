"""The worker wing: runs by the Python of a runtime's own environment; standard library, numpy, one framework."""

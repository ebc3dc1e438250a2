"""The worker wing: run by the Python of a runtime's environment; standard library, numpy, one framework."""

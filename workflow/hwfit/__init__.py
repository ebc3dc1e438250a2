"""hwfit: which hardware should this model run on? Answered by measurement."""

__version__ = "0.1.0"

"""One small module a pass. `hwfit.catalog.PASSES` names it and says where it applies."""

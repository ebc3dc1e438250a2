"""MLflow: a sweep's runs and training's, its views in the UI, what its runs were fed, and the registry.

One job writes all of it, from the records and the table. A child run carries the digest of all that it
shows. A second log of the same sweep adds nothing; a row or a record that changed replaces its run; a run
that a killed job left unfinished is made anew.

With SQLite the artifacts lie in `mlartifacts` beside the database, under `mlflow-artifacts:` addresses,
which hold no path: the project's directory may be moved, and `python -m hwfit ui` serves them from there.
"""

from hwfit.tracking.register import register_chosen
from hwfit.tracking.serve import serve
from hwfit.tracking.store import TrackingError, project_id
from hwfit.tracking.sweep import log_sweep
from hwfit.tracking.training import log_training, watch
from hwfit.tracking.view import find_page

__all__ = [
    "TrackingError",
    "find_page",
    "log_sweep",
    "log_training",
    "project_id",
    "register_chosen",
    "serve",
    "watch",
]

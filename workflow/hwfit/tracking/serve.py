"""The MLflow UI on what was logged: `make ui`."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
import webbrowser
from pathlib import Path
from urllib.parse import urlsplit

from hwfit.config_errors import mask_credentials
from hwfit.tracking.store import SQLITE

EVERY_INTERFACE = ("0.0.0.0", "::")


def serve(uri: str, host: str, port: int, page: str = "") -> int:
    """Serve the UI until it is interrupted, or say where it is; its exit status.

    Parameters
    ----------
    page : of the UI, from `#/` on: the one that is named, and opened where there is a display
    """
    if not uri.startswith(SQLITE):
        show(f"{without_credentials(uri)}/{page}" if uri.startswith("http") else mask_credentials(uri))
        return 0
    database = Path(uri.removeprefix(SQLITE))
    if not database.exists():
        print(f"Nothing was logged yet: {database} is not there. Run `make run` first.", file=sys.stderr)
        return 1
    command = [sys.executable, "-m", "mlflow", "server", "--backend-store-uri", uri, "--serve-artifacts"]
    command += ["--artifacts-destination", str(database.parent / "mlartifacts")]
    # One process answers one person, and starts sooner than the four of MLflow's default.
    command += ["--host", host, "--port", str(port), "--workers", "1"]
    server = subprocess.Popen(command)
    try:
        address = f"http://{'127.0.0.1' if host in EVERY_INTERFACE else host}:{port}"
        if is_up(server, address):
            show(f"{address}/{page}")
        return server.wait()
    except KeyboardInterrupt:
        # The terminal has interrupted the server too.
        server.wait()
        return 0


def is_up(server: subprocess.Popen, address: str) -> bool:
    """Wait until a server answers; false where it ends before."""
    while server.poll() is None:
        try:
            urllib.request.urlopen(f"{address}/health", timeout=5).close()
            return True
        except OSError:
            time.sleep(0.2)
    return False


def show(address: str) -> None:
    """Name an address, and open it for a person who sits at a display."""
    print(f"MLflow UI: {address}", flush=True)
    if address.startswith("http") and sys.stdout.isatty() and has_display():
        try:
            webbrowser.open(address)
        except webbrowser.Error:
            return


def has_display() -> bool:
    """Whether a browser could show something here."""
    if sys.platform in ("darwin", "win32"):
        return True
    return bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def without_credentials(uri: str) -> str:
    """A server's address as a browser takes it."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"

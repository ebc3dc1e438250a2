"""A throw-away SLURM cluster on this machine's loopback, for tests: munged, slurmctld and a slurmd a node.

It takes root, and Debian's packages munge, slurmctld, slurmd and slurm-client; neither systemd nor cgroups
nor accounting. Every node is this host under another name, in namespaces of its own (unshare), so that what a
job asks of its host's name, and what it sees of the file system, is the node's.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "unshare", "setpriv")
# Snakemake's nested srun keeps none of SLURM's variables, so that only the usual place will do.
LINK = Path("/etc/slurm/slurm.conf")
# Where SLURM's system programs are, which a user's PATH may lack.
PATH = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
PREFIX = "hwfit-slurm-"
CONTROLLER_PORT, NODE_PORT = 26817, 26820


@dataclass(frozen=True)
class Node:
    """A node: its partition, generic resource, and directories that it does not see."""

    name: str
    partition: str
    gres: str = ""
    hidden: tuple[Path, ...] = ()


@dataclass
class Cluster:
    """A running cluster."""

    nodes: tuple[Node, ...]
    directory: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix=PREFIX, dir="/run")))
    daemons: dict[str, subprocess.Popen] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.environment = os.environ | {"PATH": PATH, "SLURM_CONF": str(self.directory / "slurm.conf")}

    def start(self) -> None:
        """Start all daemons, and wait until every node takes jobs."""
        # munged runs as a user of its own, and wants no directory that others could write.
        self.directory.chmod(0o755)
        for name in ("munge", "controller", *(node.name for node in self.nodes)):
            (self.directory / name).mkdir()
        shutil.chown(self.directory / "munge", "munge", "munge")
        self.write_configuration()
        self.start_munge()
        self.start_controller()
        for node in self.nodes:
            self.start_node(node)
        wait_until(
            self.is_ready, 60, lambda: f"nodes are not ready:\n{self.ask('sinfo', '-N')}\n{self.logs()}"
        )

    def write_configuration(self) -> None:
        (self.directory / "slurm.conf").write_text(self.configuration())
        gres = [
            f"NodeName={n.name} Name={n.gres.split(':')[0]} Count={n.gres.split(':')[1]}\n"
            for n in self.nodes
            if n.gres
        ]
        (self.directory / "gres.conf").write_text("".join(gres))
        # It is read though nothing uses it, and looking for cgroups by itself fails in a container.
        (self.directory / "cgroup.conf").write_text("CgroupPlugin=cgroup/v1\nCgroupAutomount=no\n")
        names = " ".join(node.name for node in self.nodes)
        (self.directory / "hosts").write_text(f"127.0.0.1 localhost {socket.gethostname()} {names}\n")
        LINK.parent.mkdir(parents=True, exist_ok=True)
        LINK.unlink(missing_ok=True)
        LINK.symlink_to(self.directory / "slurm.conf")

    def configuration(self) -> str:
        """slurm.conf."""
        d, host = self.directory, socket.gethostname().partition(".")[0]
        kinds = sorted({node.gres.split(":")[0] for node in self.nodes if node.gres})
        lines = [
            "ClusterName=tests",
            f"SlurmctldHost={host}(127.0.0.1)",
            f"SlurmctldPort={CONTROLLER_PORT}",
            # Nothing listens to the outside.
            "CommunicationParameters=NoCtldInAddrAny,NoInAddrAny",
            "SlurmUser=root",
            "SlurmdUser=root",
            f"AuthInfo=socket={d}/munge/socket",
            f"StateSaveLocation={d}/controller",
            f"SlurmdSpoolDir={d}/%n/spool",
            f"SlurmctldPidFile={d}/slurmctld.pid",
            f"SlurmdPidFile={d}/%n/slurmd.pid",
            f"SlurmctldLogFile={d}/slurmctld.log",
            f"SlurmdLogFile={d}/%n/slurmd.log",
            "MailProg=/bin/true",
            "ProctrackType=proctrack/linuxproc",
            "TaskPlugin=task/none",
            "JobAcctGatherType=jobacct_gather/none",
            "AccountingStorageType=accounting_storage/none",
            "SelectType=select/cons_tres",
            "SelectTypeParameters=CR_Core_Memory",
            "DefMemPerCPU=500",
            # A queue that is looked at every second.
            "SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1",
            # squeue shows what has ended for long enough, and tests look at it.
            "MinJobAge=3600",
            "ReturnToService=2",
            "SlurmdTimeout=20",
            "KillWait=2",
            # More cores than there are, so that small jobs run beside each other.
            "SlurmdParameters=config_overrides",
            *([f"GresTypes={','.join(kinds)}"] if kinds else []),
        ]
        for number, node in enumerate(self.nodes):
            gres = f" Gres={node.gres}" if node.gres else ""
            lines.append(
                f"NodeName={node.name} NodeHostname={node.name} NodeAddr=127.0.0.1 Port={NODE_PORT + number} "
                f"CPUs=8 RealMemory=12000{gres} State=UNKNOWN"
            )
        for number, partition in enumerate(dict.fromkeys(node.partition for node in self.nodes)):
            names = ",".join(node.name for node in self.nodes if node.partition == partition)
            default = "NO" if number else "YES"
            lines.append(f"PartitionName={partition} Nodes={names} Default={default} MaxTime=60 State=UP")
        return "\n".join(lines) + "\n"

    def start_munge(self) -> None:
        place = self.directory / "munge"
        key = place / "key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o600)
        shutil.chown(key, "munge", "munge")
        # A change of user takes back what `launch` has set.
        command = ["setpriv", "--pdeathsig=TERM", "--reuid=munge", "--regid=munge", "--clear-groups"]
        command += ["munged", "--foreground"]
        command += [f"--key-file={key}", f"--socket={place}/socket", f"--pid-file={place}/pid"]
        command += [f"--seed-file={place}/seed", f"--log-file={place}/log"]
        self.launch("munged", command)
        wait_until(lambda: (place / "socket").exists(), 20, lambda: self.logs())

    def start_controller(self) -> None:
        self.launch("slurmctld", self.in_namespace(["slurmctld", "-D"]))
        wait_until(lambda: " is UP" in self.ask("scontrol", "ping"), 30, lambda: self.logs())

    def start_node(self, node: Node) -> None:
        self.launch(node.name, self.in_namespace(["slurmd", "-D", "-N", node.name], node))

    def in_namespace(self, command: list[str], node: Node | None = None) -> list[str]:
        """A command with this cluster's host names, and with a node's own name and what it does not see."""
        steps = [f"mount --bind {self.directory}/hosts /etc/hosts"]
        if node:
            steps += [f"hostname {node.name}"]
            steps += [f'mount -t tmpfs hidden "{path}"' for path in node.hidden]
        script = " && ".join([*steps, 'exec "$@"'])
        return ["unshare", "--mount", *(["--uts"] if node else []), "sh", "-c", script, "sh", *command]

    def launch(self, name: str, command: list[str]) -> None:
        log = (self.directory / f"{name}.out").open("ab")
        self.daemons[name] = subprocess.Popen(
            # They go when the tests go, however those end.
            ["setpriv", "--pdeathsig=TERM", *command],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=self.environment,
            start_new_session=True,
        )
        log.close()

    def restart_controller(self) -> None:
        """End slurmctld, and start it again."""
        self.end("slurmctld")
        self.start_controller()

    def end(self, name: str, with_signal: int = signal.SIGTERM) -> None:
        process = self.daemons.pop(name)
        process.send_signal(with_signal)
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def stop(self) -> None:
        """Cancel all jobs, end all daemons, and leave nothing behind."""
        with contextlib.suppress(AssertionError):
            self.ask("scancel", "--user=root")
            wait_until(lambda: not self.jobs(), 20, lambda: "")
        for name in reversed(list(self.daemons)):
            self.end(name)
        if LINK.is_symlink() and LINK.resolve().parent == self.directory.resolve():
            LINK.unlink()
        shutil.rmtree(self.directory, ignore_errors=True)

    def ask(self, *command: str) -> str:
        """What a client command says; empty where it fails."""
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=20, env=self.environment)
        except subprocess.TimeoutExpired:
            return ""
        return done.stdout

    def is_ready(self) -> bool:
        states = self.ask("sinfo", "--noheader", "-N", "--format=%T").split()
        return len(states) == len(self.nodes) and set(states) <= {"idle"}

    def jobs(self, *states: str) -> list[str]:
        """The ids of the jobs in some states; of all that have not ended where none is named."""
        wanted = [f"--states={','.join(states)}"] if states else []
        return self.ask("squeue", "--noheader", "--format=%i", *wanted).split()

    def told(self, job: str) -> dict[str, str]:
        """What the controller knows of a job."""
        return fields_of(self.ask("scontrol", "--oneliner", "show", "job", job))

    def all_jobs(self) -> list[dict[str, str]]:
        """What it knows of every job, those that have ended too."""
        lines = self.ask("scontrol", "--oneliner", "show", "job").splitlines()
        return [fields_of(line) for line in lines if line.startswith("JobId=")]

    def logs(self) -> str:
        """The ends of all logs, for the message of a failure."""
        files = [
            *self.directory.glob("*.log"),
            *self.directory.glob("*.out"),
            *self.directory.glob("*/*.log"),
        ]
        return "\n".join(f"{path.name}: {path.read_text(errors='replace')[-1500:]}" for path in files)


def fields_of(line: str) -> dict[str, str]:
    """The `Name=value` of a line of scontrol, whose values may hold spaces."""
    parts = re.split(r" (?=[A-Za-z/:]+=)", line.strip())
    return {name: value.strip() for name, _, value in (part.partition("=") for part in parts)}


def lacks() -> str:
    """What this machine lacks for a cluster, in words; empty where it lacks nothing."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=PATH) is None]
    if missing:
        return f"{', '.join(missing)}: apt-get install munge slurmctld slurmd slurm-client"
    if os.getuid():
        return "SLURM's daemons are started as root"
    if LINK.exists() and not is_left_behind(LINK.resolve().parent):
        return f"{LINK} is there: this machine has a cluster of its own"
    if subprocess.run(["unshare", "--mount", "--uts", "true"], capture_output=True).returncode:
        return "unshare: this container may have no namespaces"
    return ""


def is_left_behind(directory: Path) -> bool:
    """Whether a cluster's directory is one of tests that were killed."""
    return (
        directory.name.startswith(PREFIX)
        and "UP"
        not in subprocess.run(["scontrol", "ping"], capture_output=True, text=True, timeout=30).stdout
    )


def wait_until(is_so: Callable[[], bool], seconds: float, message: Callable[[], str]) -> None:
    """Poll until something is so. Raises AssertionError with the message where it takes too long."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"after {seconds:g} s: {message()}"
        time.sleep(0.2)


@contextlib.contextmanager
def running(*nodes: Node) -> Iterator[Cluster]:
    """A cluster of some nodes, for as long as the block lasts."""
    cluster = Cluster(nodes)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()

"""`python -m hwfit.worker COMMAND`: what the workflow's rules call in the worker wing."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from hwfit.process import deny_others, end_with_snakemake
from hwfit.records import RecordError, read_json, write_json, write_record
from hwfit.worker import recorded
from hwfit.worker.errors import NotWritten

# Workers and what they start: their supervisor ends them, and nothing runs beside what they time.
SUPERVISED = ("profile", "replay", "train-session", "member", "stage", "echo", "peaks")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m hwfit.worker", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)

    probe = commands.add_parser("probe", help="look for a device")
    probe.add_argument("--accelerator", required=True)
    probe.add_argument("--index", type=int, default=0)
    probe.add_argument("--cores", type=int, nargs="*", default=[], help="of a cpu, those to be used")
    probe.add_argument("--output", type=Path, help="stdout where absent")

    environment = commands.add_parser("environment", help="build a runtime's environment")
    environment.add_argument("--name", required=True)
    environment.add_argument("--kind", choices=("venv", "conda", "host"), required=True)
    environment.add_argument("--requirements", type=Path, required=True)
    environment.add_argument("--probes", type=Path, nargs="*", default=[])
    # By the environment, since one place to build in is as good as another: a rule need not run again.
    built = Path(os.environ.get("HWFIT_ENVIRONMENTS", ".environments"))
    environment.add_argument("--directory", type=Path, default=built)
    environment.add_argument("--output", type=Path, required=True)

    inventory = commands.add_parser("inventory", help="take stock of a device")
    inventory.add_argument("--device", required=True)
    inventory.add_argument("--probe", type=Path, required=True)
    inventory.add_argument("--environments", required=True, help="JSON: runtime to environment file")
    inventory.add_argument(
        "--identities", type=Path, help="of a class of nodes: where the probe of another one goes"
    )
    inventory.add_argument("--output", type=Path, required=True)

    unite = commands.add_parser("unite", help="make a composite's probe or inventory of its members'")
    unite.add_argument("--device", required=True)
    unite.add_argument("--members", required=True, help="JSON: a list of [device, runtime]")
    unite.add_argument("--probes", type=Path, nargs="*", default=[])
    unite.add_argument("--inventories", type=Path, nargs="*", default=[])
    unite.add_argument("--output", type=Path, required=True)

    for name, text in (
        ("prepare", "make a model's checkpoint"),
        ("compress", "apply artifact passes"),
        ("export", "make the ONNX file of a checkpoint"),
        ("quantize", "make the file of a runtime that file passes ask for"),
    ):
        command = commands.add_parser(name, help=text)
        command.add_argument("--environment", type=Path, required=True)
        command.add_argument("--model", default="{}", help="JSON: the model, as in models.yaml")
        command.add_argument("--name", required=True)
        command.add_argument("--input", type=Path, nargs="?", help="none: made from the model's signature")
        command.add_argument("--code", type=Path, nargs="*", default=[], help="the user's code and weights")
        command.add_argument("--passes", default="[]", help="JSON: the artifact passes, or the file passes")
        command.add_argument("--checkpoint", type=Path, help="directory of the weights to begin with")
        command.add_argument("--calibration", type=Path, nargs="?", help="a .npz file of inputs")
        command.add_argument("--data", type=Path, nargs="?", help="the .npz file of the model's data")
        command.add_argument("--runtime", help="whose file to make")
        command.add_argument("--output", type=Path, required=True, help="directory")

    decode = commands.add_parser("decode", help="make weights.safetensors of a compressed file")
    decode.add_argument("file", type=Path)
    decode.add_argument("--output", type=Path, required=True)

    supervise = commands.add_parser("supervise", help="measure a cell in workers")
    supervise.add_argument("--job", required=True, help="JSON: see hwfit.worker.job")
    supervise.add_argument("--attempts", type=Path, required=True)

    profile = commands.add_parser("profile", help="be the worker that measures a cell (job on stdin)")
    profile.add_argument("--events", type=int, required=True, help="file descriptor to speak through")

    screen = commands.add_parser("screen", help="look at the cells of a model for a moment each")
    screen.add_argument("--jobs", required=True, help="JSON: what the jobs have in common, and each")
    screen.add_argument("--verdict", type=Path, nargs="?", help="which of them go on; all where absent")
    screen.add_argument("--output", type=Path, required=True, help="what it took, and the records' paths")

    commands.add_parser("screen-forking", help="do so in forks of one process (jobs on stdin)")
    replay = commands.add_parser("replay", help="be the worker that does what was recorded (job on stdin)")
    replay.add_argument("--events", type=int, required=True, help="file descriptor to speak through")

    recall = commands.add_parser("recall", help="copy what was recorded of a file")
    recall.add_argument("--output", type=Path, required=True)

    train = commands.add_parser("train", help="train a run to the end of a rung, in a worker")
    train.add_argument("--job", required=True, help="JSON: see hwfit.training.records.JOB")

    session = commands.add_parser("train-session", help="be the worker that trains (job on stdin)")
    session.add_argument("--events", type=int, required=True, help="file descriptor to speak through")

    member = commands.add_parser("member", help="be one member of a composite (its request comes first)")
    member.add_argument("--channel", type=int, nargs=3, required=True, help="file descriptors")

    layers = commands.add_parser("layers", help="time the blocks of a torch model")
    layers.add_argument("--member", required=True, help="JSON: as a composite's job has it")
    layers.add_argument("--model-directory", type=Path, required=True)
    layers.add_argument("--batch-size", type=int, required=True)
    layers.add_argument("--seconds", type=float, default=3.0)
    layers.add_argument("--output", type=Path, required=True)

    link = commands.add_parser("link", help="time what goes from one process to another")
    link.add_argument("--probes", type=Path, nargs=2, required=True, help="of the two devices")
    link.add_argument("--output", type=Path, required=True)

    stages = commands.add_parser("stages", help="run a torch model that is cut in two")
    stages.add_argument("--members", required=True, help="JSON: of the first part and of the second")
    stages.add_argument("--model-directory", type=Path, required=True)
    stages.add_argument("--blocks-before", type=int, required=True)
    stages.add_argument("--batch-size", type=int, required=True)
    stages.add_argument("--seconds", type=float, default=3.0)
    stages.add_argument("--output", type=Path, required=True)

    stage = commands.add_parser("stage", help="be the second part of a model")
    stage.add_argument("--channel", type=int, nargs=3, required=True, help="file descriptors")

    echo = commands.add_parser("echo", help="be the other end of a link")
    echo.add_argument("--channel", type=int, nargs=3, required=True, help="file descriptors")

    peaks = commands.add_parser("peaks", help="be the worker that takes stock (JSON on stdout)")
    peaks.add_argument("--runtime", required=True)
    peaks.add_argument("--accelerator", required=True)
    peaks.add_argument("--index", type=int, default=0)
    peaks.add_argument("--threads", type=int)
    peaks.add_argument("--identity", help="the device's, as its probe found it")
    peaks.add_argument("--reference-only", action="store_true", help="only time the reference model")

    asked = parser.parse_args(arguments)
    deny_others()
    if asked.command not in SUPERVISED:
        end_with_snakemake()
    if recorded.directory() and asked.command in recorded.COPIED and asked.output:
        return recorded.copy(asked.output)
    return COMMANDS[asked.command](asked)


def run_probe(asked: argparse.Namespace) -> int:
    from hwfit.worker.probe import probe

    found = probe(asked.accelerator, asked.index, asked.cores)
    if asked.output:
        write_record(asked.output, found)
    else:
        json.dump(found, sys.stdout)
    return 0


def run_environment(asked: argparse.Namespace) -> int:
    from hwfit.worker.environment import build

    write_record(
        asked.output, build(asked.name, asked.kind, asked.requirements, asked.probes, asked.directory)
    )
    return 0


def run_inventory(asked: argparse.Namespace) -> int:
    from hwfit.worker.inventory import take_inventory

    environments = {name: Path(path) for name, path in json.loads(asked.environments).items()}
    if asked.identities:
        from hwfit.worker.node_class import probe_again

        asked.probe = probe_again(asked.probe, asked.identities)
    write_record(asked.output, take_inventory(asked.device, asked.probe, environments))
    return 0


def run_unite(asked: argparse.Namespace) -> int:
    from hwfit.worker.composite import unite_inventories, unite_probes

    members = [tuple(member) for member in json.loads(asked.members)]
    if asked.inventories:
        write_record(asked.output, unite_inventories(asked.device, members, asked.inventories))
    else:
        write_record(asked.output, unite_probes(members, asked.probes))
    return 0


def run_artifact(asked: argparse.Namespace) -> int:
    from hwfit.worker.artifact import make_artifact

    return make_artifact(asked)


def run_decode(asked: argparse.Namespace) -> int:
    from safetensors.numpy import save

    from hwfit.records import write_bytes
    from hwfit.worker.compressed_file import CompressedFileError, decode

    try:
        write_bytes(asked.output, save(decode(asked.file.read_bytes())))
    except (OSError, CompressedFileError) as error:
        print(f"{asked.file}: {error}", file=sys.stderr)
        return 1
    return 0


def run_supervise(asked: argparse.Namespace) -> int:
    from hwfit.worker.supervisor import main as supervise

    return supervise(asked.job, asked.attempts)


def run_profile(asked: argparse.Namespace) -> int:
    from hwfit.worker.job import Job
    from hwfit.worker.profile import profile

    job = Job.from_dict(json.load(sys.stdin))
    with os.fdopen(asked.events, "w") as events, ends_where_nothing_can_be_written():
        if job.is_screening:
            from hwfit.worker.screen import Screen

            profile(job, events, Screen)
        else:
            profile(job, events)
    sys.stdout.flush()
    # Frameworks may hang or crash while they take themselves down; everything is on disk by now.
    os._exit(0)


def run_screen(asked: argparse.Namespace) -> int:
    from hwfit.worker.screening import main as screen

    return screen(asked.jobs, asked.verdict, asked.output)


def run_screen_forking(asked: argparse.Namespace) -> int:
    from hwfit.worker.screening import fork_for_each

    return fork_for_each(sys.stdin.read())


def run_replay(asked: argparse.Namespace) -> int:
    with os.fdopen(asked.events, "w") as events, ends_where_nothing_can_be_written():
        try:
            recorded.replay(json.load(sys.stdin), events)
        except RecordError as error:
            print(error, file=sys.stderr)
            return 1
    return 0


def run_recall(asked: argparse.Namespace) -> int:
    print(f"{recorded.DIRECTORY} is not set: nothing is recorded", file=sys.stderr)
    return 1


def run_train(asked: argparse.Namespace) -> int:
    from hwfit.worker.training.supervisor import main as supervise

    return supervise(asked.job)


def run_train_session(asked: argparse.Namespace) -> int:
    from hwfit.worker.training.job import TrainingJob
    from hwfit.worker.training.worker import train

    job = TrainingJob.from_dict(json.load(sys.stdin))
    with os.fdopen(asked.events, "w") as events, ends_where_nothing_can_be_written():
        train(job, events)
    sys.stdout.flush()
    os._exit(0)


def run_member(asked: argparse.Namespace) -> int:
    from hwfit.worker.exchange import Channel
    from hwfit.worker.member import serve

    serve(Channel(*asked.channel))
    sys.stdout.flush()
    os._exit(0)


def run_layers(asked: argparse.Namespace) -> int:
    member = json.loads(asked.member)
    if member.get("cores"):
        # Before the framework is loaded, which counts the cores it finds.
        os.sched_setaffinity(0, member["cores"])
    from hwfit.worker.layer_times import measure_layers
    from hwfit.worker.lock import device_lock, locks_of

    with device_lock(*locks_of(read_json(member["probe_file"]))):
        write_json(
            asked.output, measure_layers(member, asked.model_directory, asked.batch_size, asked.seconds)
        )
    return 0


def run_stages(asked: argparse.Namespace) -> int:
    members = json.loads(asked.members)
    if members[0].get("cores"):
        os.sched_setaffinity(0, members[0]["cores"])
    from hwfit.worker import stages
    from hwfit.worker.lock import device_lock, locks_of

    with device_lock(*(lock for member in members for lock in locks_of(read_json(member["probe_file"])))):
        sizes = (asked.blocks_before, asked.batch_size, asked.seconds)
        write_json(asked.output, stages.run_stages(members, asked.model_directory, *sizes))
    return 0


def run_stage(asked: argparse.Namespace) -> int:
    from hwfit.worker.exchange import Channel
    from hwfit.worker.stages import second_stage

    second_stage(Channel(*asked.channel))
    return 0


def run_link(asked: argparse.Namespace) -> int:
    from hwfit.worker.link import measure_link

    write_json(asked.output, measure_link(asked.probes))
    return 0


def run_echo(asked: argparse.Namespace) -> int:
    from hwfit.worker.exchange import Channel
    from hwfit.worker.link import echo

    echo(Channel(*asked.channel))
    return 0


def run_peaks(asked: argparse.Namespace) -> int:
    from hwfit.worker.inventory import measure_peaks

    which = (asked.runtime, asked.accelerator, asked.index)
    for taken in measure_peaks(*which, asked.reference_only, asked.threads, asked.identity):
        print(json.dumps(taken), flush=True)
    return 0


@contextlib.contextmanager
def ends_where_nothing_can_be_written() -> Iterator[None]:
    """End this worker at once where a record cannot be written, with a status that tells its supervisor."""
    try:
        yield
    except NotWritten as error:
        print(error, file=sys.stderr, flush=True)
        os._exit(os.EX_IOERR)


COMMANDS = {
    "probe": run_probe,
    "environment": run_environment,
    "inventory": run_inventory,
    "unite": run_unite,
    "prepare": run_artifact,
    "compress": run_artifact,
    "export": run_artifact,
    "quantize": run_artifact,
    "decode": run_decode,
    "supervise": run_supervise,
    "profile": run_profile,
    "screen": run_screen,
    "screen-forking": run_screen_forking,
    "replay": run_replay,
    "recall": run_recall,
    "train": run_train,
    "train-session": run_train_session,
    "member": run_member,
    "layers": run_layers,
    "stages": run_stages,
    "stage": run_stage,
    "link": run_link,
    "echo": run_echo,
    "peaks": run_peaks,
}

if __name__ == "__main__":
    sys.exit(main())

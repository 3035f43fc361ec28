"""A cluster of three nodes on this machine, and what runs on it."""

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import ray
from ray.cluster_utils import Cluster

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "fixtures" / "tiny-mistral"


@contextlib.contextmanager
def three_nodes() -> Iterator[Cluster]:
    """The cluster, to which this process is connected."""
    quiet = {"include_dashboard": False, "num_cpus": 2}
    cluster = Cluster(initialize_head=True, head_node_args=quiet)
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=2)
        ray.init(address=cluster.address, _node_ip_address="127.0.0.1")
        yield cluster
    finally:
        ray.shutdown()
        cluster.shutdown()


def logs() -> Path:
    """The folder of Ray's log files."""
    return Path(ray._private.worker.global_worker.node.get_logs_dir_path())


def processes(is_wanted: Callable[[psutil.Process], bool]) -> list[psutil.Process]:
    """Those of this machine that are wanted; not those that end meanwhile."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
            if is_wanted(process):
                found.append(process)
    return found


def workers(title: str) -> list[psutil.Process]:
    """Ray's processes of this cluster whose titles begin so; their parents name the cluster."""
    session = Path(ray._private.worker.global_worker.node.get_session_dir_path()).name

    def is_ours(process: psutil.Process) -> bool:
        line = process.cmdline()
        return bool(line) and line[0].startswith(title) and session in str(process.parent().cmdline())

    return processes(is_ours)


def servers() -> list[psutil.Process]:
    """The processes of `bise serve` of this cluster, each the child of a replica."""
    replicas = {replica.pid for replica in workers("ray::ServeReplica")}
    return processes(lambda p: p.ppid() in replicas and "--exit-with-parent" in p.cmdline())


def kill(process: psutil.Process) -> None:
    """Ends a process without a word."""
    os.kill(process.pid, signal.SIGKILL)


def eventually(what: Callable[[], object], seconds: float = 60) -> object:
    """What `what` gives as soon as that is true."""
    end = time.monotonic() + seconds
    while not (found := what()):
        assert time.monotonic() < end, f"not so within {seconds} s"
        time.sleep(0.1)
    return found


@contextlib.contextmanager
def lone_server(program: str, *options: str) -> Iterator[str]:
    """The address of a `bise serve` that has nothing to do with Ray."""
    command = [program, "serve", str(MODEL), "--port", "0", "--exit-with-parent", "--log", "off"]
    with subprocess.Popen(
        [*command, *options], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        address = process.stdout.readline().strip().removeprefix("listening at ")
        assert process.stdout.readline().strip() == "ready"
        yield address
        process.stdin.close()

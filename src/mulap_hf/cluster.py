"""Clusters of Ray: started, joined and checked. Imports neither torch nor transformers, which takes seconds."""

import logging
import os
import socket
from typing import Any

from . import __version__
from .errors import MissingPackageError, MulapError

_SECONDS_TO_CONNECT = 10


def connect(address: str | None) -> Any:
    """Connects this process to a Ray cluster, unless it is connected.

    Args:
        address: `host:port`, or "auto" for the cluster that this machine is a node of; None for a cluster of this
            machine alone, which ends with the process.

    Returns:
        The module `ray`.

    Raises:
        MissingPackageError: Ray is not installed.
        MulapError: No cluster answers at the address, or one of its nodes lacks this version of the package.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")  # what Ray's C++ code writes to stderr
    try:
        import ray
        import ray.data
    except ImportError as error:
        raise MissingPackageError('--ray needs Ray: pip install "mulap-hf[ray]"') from error
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    if ray.is_initialized():
        return ray
    options = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        address, remedy = "local", "try again when the machine is less busy"
        options["include_dashboard"] = False
        os.environ.setdefault("RAY_worker_niceness", "0")  # by default, Ray's workers give way to all other programs
    else:
        check_address(address)
        remedy = "check `ray status`, RAY_AUTH_TOKEN, and that Ray and Python are the same there"
    try:
        ray.init(address, **options)
    except Exception as error:  # Ray's own time-outs are plain exceptions
        reason = str(error).strip().partition("\n")[0]
        raise MulapError(f"--ray {address}: the cluster cannot be started or joined: {reason}: {remedy}") from error
    if address != "local":
        _check_nodes(ray)
    return ray


def is_this_machine(ray: Any) -> bool:
    """Whether the cluster that this process is connected to has no other machine."""
    alive = [node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]]
    return alive == [ray.util.get_node_ip_address()]


def check_address(address: str):
    """Checks that something answers at an address: Ray itself would try for minutes.

    Args:
        address: `host:port`, or "auto", which is not checked.

    Raises:
        MulapError: Nothing answers there, or the address has another form.
    """
    if address == "auto":
        return
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if not host or not port.isdigit():
        raise MulapError(f"--ray {address}: give host:port or auto, and name the files before --ray")
    try:
        socket.create_connection((host, int(port)), _SECONDS_TO_CONNECT).close()
    except OSError as error:
        raise MulapError(
            f"--ray {address}: no cluster answers there ({error.strerror or error}): start one with "
            "`ray start --head`, or leave out the address to use this machine"
        ) from error


def _check_nodes(ray: Any):
    """Raises:
    MulapError: A node lacks this version of the package.
    """

    def version() -> str:  # a local function: Ray sends its code, not its name
        import mulap_hf

        return mulap_hf.__version__

    nodes = {node["NodeID"]: node["NodeManagerAddress"] for node in ray.nodes() if node["Alive"]}
    strategy = ray.util.scheduling_strategies.NodeAffinitySchedulingStrategy
    ask = ray.remote(num_cpus=0, max_retries=0)(version)
    answers = {node: ask.options(scheduling_strategy=strategy(node, soft=False)).remote() for node in nodes}
    for node, answer in answers.items():
        try:
            found = ray.get(answer)
        except ray.exceptions.RayError as error:
            cause = getattr(error, "cause", None) or error
            found = f"none ({str(cause).strip().splitlines()[-1]})"
        if found != __version__:
            raise MulapError(
                f"node {nodes[node]} of the cluster has mulap-hf {found}: install {__version__} there, as here"
            )

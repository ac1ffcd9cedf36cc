"""A Dask cluster for a sweep: connects to it, and checks that every worker has the same ppopt."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

from ppopt.process.processes import starting_processes
from solver.errors import InputError
from strategies.model.numbers import in_one_line

SECONDS_TO_ANSWER = 10.0
"""Seconds to wait for a cluster's answer."""

LOCAL = "local"

_VERSION = "__import__('ppopt').__version__"
"""The expression that each worker evaluates; it needs only ppopt there, of any version."""


@contextmanager
def open_cluster(address: str, workers: int, version: str) -> Iterator[Any]:
    """Connect to a cluster, or start one on this machine.

    Parameters
    ----------
    address : str
        ``tcp://host:port``, or ``local``.
    workers : int
        The number of processes of a local cluster.
    version : str
        The version that every worker must have.

    Yields
    ------
    distributed.Client
        Connected, with its workers checked.

    Raises
    ------
    InputError
        If Dask is not installed, the cluster does not answer, or it has no workers or workers of another version.
    """
    try:
        import distributed
    except ImportError:
        raise InputError("--cluster: needs Dask; `pip install 'ppopt[cluster]'` installs it") from None
    import logging

    logging.getLogger("distributed").setLevel(logging.CRITICAL)  # the sweep reports errors itself, in one line
    with ExitStack() as stack:
        if address == LOCAL:
            with starting_processes():
                made = distributed.LocalCluster(
                    n_workers=workers, threads_per_worker=1, dashboard_address=None, silence_logs=logging.CRITICAL
                )
            stack.enter_context(made)
            client = stack.enter_context(distributed.Client(made))
        else:
            client = stack.enter_context(_connected(distributed, address))
        _check_workers(client, address, version)
        yield client


def _connected(distributed: Any, address: str) -> Any:
    shown = in_one_line(address)[:80]
    try:
        if "://" not in address or urlsplit(address).port == 0:  # Python refuses other invalid ports
            raise ValueError
        return distributed.Client(address, timeout=SECONDS_TO_ANSWER)
    except ValueError:
        raise InputError(f"--cluster: must be an address such as tcp://host:8786, or local; found {shown!r}") from None
    except (OSError, TimeoutError):
        raise InputError(
            f"--cluster: {shown} cannot be reached: it did not answer within {SECONDS_TO_ANSWER:g} s"
        ) from None


def _check_workers(client: Any, address: str, version: str) -> None:
    try:
        client.wait_for_workers(1, timeout=SECONDS_TO_ANSWER)
    except TimeoutError:
        raise InputError(f"--cluster: {in_one_line(address)[:80]} has no workers; start some, and try again") from None
    found: Mapping[str, object] = client.run(eval, _VERSION, on_error="return")
    for worker, answer in sorted(found.items()):
        if isinstance(answer, BaseException):
            raise InputError(f"--cluster: the worker {worker} has no ppopt ({answer}); install {version} there")
        if answer != version:
            raise InputError(f"--cluster: the worker {worker} has ppopt {answer}, this is {version}; install the same")


def failures() -> tuple[type[BaseException], ...]:
    """List the errors that a cluster may raise while it runs jobs."""
    from concurrent.futures import CancelledError

    from distributed import KilledWorker
    from distributed.comm.core import CommClosedError

    return KilledWorker, CommClosedError, CancelledError, TimeoutError, OSError

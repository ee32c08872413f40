"""A fit by workers in other processes, whose result is printed as a line of JSON.

``python -m fitting.elsewhere dask``: on a cluster of dask, of which a worker is killed while it has a task.
``mpiexec -n 2 python -m mpi4py.futures -m fitting.elsewhere mpi``: on the second of two ranks.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from concurrent.futures import Executor

import adjointsim as adj

from .models import START, three


class Killing(Executor):
    """Hands tasks on to another executor, and kills a process when it has got so many."""

    def __init__(self, inner, pid, count):
        self.inner, self.pid, self.left = inner, pid, count

    def submit(self, fn, /, *args, **kwargs):
        future = self.inner.submit(fn, *args, **kwargs)
        self.left -= 1
        if self.left == 0:
            os.kill(self.pid, signal.SIGKILL)
        return future


def told(found, **more):
    """The bits of a result, as text."""
    numbers = {name: getattr(found, name).tobytes().hex() for name in ("x", "fun", "jac", "covariance")}
    return {**numbers, "nfev": found.nfev, "njev": found.njev, "success": found.success, **more}


def on_dask():
    from distributed import Client, LocalCluster

    with (
        LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster, timeout=30) as client,
    ):
        before = set(client.run(os.getpid).values())
        pool = Killing(client.get_executor(), min(before), 8)
        found = adj.fit(three(), START, local="a", workers=pool)
        client.wait_for_workers(2, timeout=30)
        after = set(client.run(os.getpid).values())
        return told(found, killed=pool.left <= 0 and pool.pid not in after, others=os.getpid() not in before | after)


def on_mpi():
    from mpi4py.futures import MPIPoolExecutor

    with MPIPoolExecutor() as pool:
        ranks = {pool.submit(os.getpid).result(timeout=30) for _ in range(4)}
        found = adj.fit(three(), START, local="a", workers=pool)
        return told(found, others=os.getpid() not in ranks)


if __name__ == "__main__":
    print(json.dumps({"dask": on_dask, "mpi": on_mpi}[sys.argv[1]]()), flush=True)

"""The same plan on many hosts, by dask.distributed: an attached device is a resource of the host it hangs on.

dask reschedules the cells of a host that goes away, where another one has the same device. Its messages are
pickled Python: whoever reaches the scheduler's port runs code on every worker. Keep it on 127.0.0.1 and
tunnels, or give it certificates (distributed.comm.tls in dask's own configuration).
"""

import contextlib
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Any

from devicekit import progress
from devicekit.device.inventory import Entry
from devicekit.device.temporary import folder_prefix
from devicekit.errors import DevicekitError, Lost, NoDevice, UsageError
from devicekit.fleet.builds import Artifact, build_all, failure_of, need_of, received, shipped
from devicekit.fleet.cell import run_cell
from devicekit.fleet.plan import FleetPlan, Job
from devicekit.fleet.rows import on_row
from devicekit.profile.schema import Profile
from devicekit.runner.measuring import Measuring
from devicekit.store.filing import Outcome

CONNECT_S = 10.0
# No worker has a device for so long: its cells are reported. A worker that restarts is back sooner.
GONE_S = 20.0
ASK_EVERY_S = 0.5
TOPIC = "devicekit"
_ADDRESSES = "devicekit_addresses"


def resource_of(name: str) -> str:
    """Returns the name of a device's resource: a host that has it offers 1, so one thing runs there."""
    return f"device {name}"


def connected(scheduler: str) -> Any:
    """Returns a client of the dask scheduler. Raises UsageError where there is none, or no dask."""
    distributed = _distributed()
    try:
        return distributed.Client(scheduler, timeout=CONNECT_S, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(
            f"no dask scheduler answers at {scheduler}: {error}",
            remedy="start one: `dask scheduler --host 127.0.0.1`, and workers: `devicekit fleet worker`",
        ) from error


def run_on_cluster(
    client: Any, plan: FleetPlan, left: Sequence[Job], file: Callable[[Job, Outcome], None]
) -> None:
    """Runs the jobs on the hosts that have their devices; a job whose device no host has is reported."""
    artifacts: dict[str, Future[Artifact]] = {need_of(job): Future() for job in left}
    with contextlib.ExitStack() as stack:
        stack.callback(client.close)
        keep = stack.enter_context(tempfile.TemporaryDirectory(prefix=folder_prefix()))
        watcher = progress.current.get()
        client.subscribe_topic(TOPIC, lambda event: _show(watcher, event))
        build_all(plan, left, artifacts, Path(keep))
        waiting: dict[Any, Job] = {}
        try:
            for job in left:
                if (outcome := _without_artifact(job, artifacts[need_of(job)])) is not None:
                    file(job, outcome)
                    continue
                waiting[_submitted(client, plan, job, artifacts[need_of(job)].result())] = job
            _collect(client, waiting, file)
        finally:
            for future in waiting:
                future.cancel()


def _without_artifact(job: Job, artifact: Future[Artifact]) -> Outcome | None:
    try:
        artifact.result().refuse_unfit(job)
    except DevicekitError as error:
        return Outcome(error, attempts=0)
    return None


def _submitted(client: Any, plan: FleetPlan, job: Job, artifact: Artifact) -> Any:
    return client.submit(
        run_there,
        shipped(artifact),
        job.profile,
        job.entry.name,
        job.entry.address,
        measuring=plan.measuring,
        threads=plan.threads,
        rounds=plan.rounds,
        retry_s=plan.retry_s,
        resources={resource_of(job.entry.name): 1},
        pure=False,
        retries=0,
        allow_other_workers=False,
    )


def _collect(client: Any, waiting: dict[Any, Job], file: Callable[[Job, Outcome], None]) -> None:
    """Files what ends, until nothing is left or what is left has no host."""
    gone_since: dict[str, float] = {}
    while waiting:
        for future in [one for one in waiting if one.done()]:
            job = waiting.pop(future)
            file(job, _ended(job, future))
        offered = _offered(client)
        now = time.monotonic()
        for future, job in list(waiting.items()):
            name = job.entry.name
            if resource_of(name) in offered:
                gone_since.pop(name, None)
            elif now - gone_since.setdefault(name, now) > GONE_S:
                future.cancel()
                waiting.pop(future)
                file(job, Outcome(_no_host(name), attempts=0))
        time.sleep(ASK_EVERY_S if waiting else 0.0)


def _ended(job: Job, future: Any) -> Outcome:
    """Returns what a worker gave; a worker that died under the cell too often is a lost device."""
    from distributed import KilledWorker

    try:
        outcome: Outcome = future.result()
        return outcome
    except KilledWorker:
        return Outcome(Lost(job.entry.address, during="measuring: its host's worker ended each time"))
    except Exception as error:
        return Outcome(failure_of(error))


def _no_host(name: str) -> NoDevice:
    return NoDevice(
        name,
        found=f"no worker of the scheduler has had it for {GONE_S:.0f} s",
        remedy="start `devicekit fleet worker` on the host it is attached to, then: fleet run --resume",
    )


def _offered(client: Any) -> set[str]:
    """Returns the resources of all workers that are there now."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    return {name for worker in workers for name in worker.get("resources", {})}


def _show(watcher: progress.Progress, event: Any) -> None:
    """Draws what a worker reports of a cell."""
    _, told = event
    if isinstance(told, Mapping):
        watcher.update(str(told["device"]), detail=str(told["words"]), done=told["done"], total=told["total"])


# --- on a worker --------------------------------------------------------------------------------


def run_there(
    files: tuple[Artifact, bytes, bytes | None],
    profile: Profile,
    name: str,
    address: str,
    *,
    measuring: Measuring,
    threads: int | None,
    rounds: int,
    retry_s: float,
) -> Outcome:
    """Runs a cell on the worker's own device of that name; its address there wins over the planner's."""
    from distributed import get_worker

    worker = get_worker()
    address = getattr(worker, _ADDRESSES, {}).get(name, address)
    token = progress.current.set(_Telling(worker))
    try:
        with tempfile.TemporaryDirectory(prefix=folder_prefix()) as folder, on_row(name, threading.Event()):
            artifact = received(*files, Path(folder))
            return run_cell(
                artifact,
                profile,
                address,
                measuring=measuring,
                threads=threads,
                rounds=rounds,
                retry_s=retry_s,
            )
    finally:
        progress.current.reset(token)


class _Telling:
    """Sends progress to whoever watches the run."""

    def __init__(self, worker: Any) -> None:
        self._worker = worker

    def update(self, step: str, *, detail: str = "", done: float = 0, total: float | None = None) -> None:
        self._worker.log_event(TOPIC, {"device": step, "words": detail, "done": done, "total": total})


def serve_devices(
    scheduler: str, devices: Sequence[Entry], *, stop: Callable[[], bool] = lambda: False
) -> None:
    """Offers the devices to a dask scheduler until Ctrl-C. Raises UsageError where none answers."""
    import asyncio

    asyncio.run(_serve(scheduler, devices, stop))


async def _serve(scheduler: str, devices: Sequence[Entry], stop: Callable[[], bool]) -> None:
    import asyncio

    distributed = _distributed()
    from distributed.comm import get_address_host

    resources = {resource_of(entry.name): 1 for entry in devices}
    with tempfile.TemporaryDirectory(prefix=folder_prefix()) as folder, _as_usage(scheduler):
        is_local = get_address_host(scheduler) in ("127.0.0.1", "localhost", "::1")
        worker = distributed.Worker(
            scheduler,
            nthreads=max(len(devices), 1),
            resources=resources,
            local_directory=folder,
            host="127.0.0.1" if is_local else None,
            dashboard=False,
            death_timeout=CONNECT_S,
            memory_limit=0,
        )
        async with worker:
            setattr(worker, _ADDRESSES, {entry.name: entry.address for entry in devices})
            progress.report("worker", detail=f"offers {', '.join(entry.name for entry in devices)}")
            while worker.status.name in ("running", "paused", "init") and not stop():
                await asyncio.sleep(ASK_EVERY_S)
    raise UsageError(f"the scheduler {scheduler} has gone", remedy="start it again, then this worker")


@contextlib.contextmanager
def _as_usage(scheduler: str) -> Iterator[None]:
    try:
        yield
    except (OSError, ValueError, TimeoutError) as error:
        raise UsageError(
            f"no dask scheduler answers at {scheduler}: {error}",
            remedy="start one: `dask scheduler --host 127.0.0.1`",
        ) from error


def _distributed() -> Any:
    try:
        import distributed
    except ModuleNotFoundError as error:
        raise UsageError(
            "many hosts take dask.distributed, which is not installed",
            remedy="pip install 'devicekit[cluster]'",
        ) from error
    return distributed

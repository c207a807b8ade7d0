"""The limits of a profile: from its keys to a plan, and from what a run enforced to words."""

import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

from devicekit.device.seam import Device, DeviceFacts
from devicekit.errors import UsageError
from devicekit.measurement import Plan
from devicekit.runner.measuring import Measuring

if TYPE_CHECKING:
    from devicekit.profile.schema import Profile


def plan_for(
    profile: "Profile | None",
    facts: DeviceFacts | None = None,
    *,
    threads: int | None = None,
    timeout_s: float | None = None,
) -> Plan:
    """Returns how to measure under the limits of `profile`; without one, on one thread without a limit.

    `facts` are the device's, None: this host. `threads` and `timeout_s` win over the profile and the default.
    The process is pinned to as many CPUs as it has threads, the fastest ones or those that the profile names,
    no more than the profile's device has cores, no more than it may use there. The profile's threads become
    fewer where there are fewer CPUs: they would only wait for each other, and the plan notes it. Raises
    UsageError for what is not above 0.
    """
    for name, value, unit in (("threads", threads, ""), ("timeout", timeout_s, " s")):
        if value is not None and value <= 0:
            words = f"{name} is {value:g}{unit}, must be above 0"
            raise UsageError(words, remedy=f"leave --{name} out, or give it a number above 0")
    wanted = threads or (profile.runtime.threads if profile else None) or 1
    cores = (profile.device.cores if profile else None) or wanted
    usable = facts.cpus if facts else _own_cpus()
    is_host = facts is None or facts.kind == "host"
    named = () if is_host or profile is None else profile.runtime.cpus or ()
    cpus = _chosen(usable, named, min(wanted, cores))
    memory_bytes = None
    if profile and profile.device.kind == "microcontroller":
        memory_bytes = profile.limits.arena_kib * 1024 if profile.limits.arena_kib else None
    elif profile and profile.limits.memory_mib is not None:
        memory_bytes = int(profile.limits.memory_mib * 2**20)
    kernel: Literal["xnnpack", "builtin"] = "xnnpack"
    notes: tuple[str, ...] = ()
    if profile and profile.runtime.delegate == "none":
        kernel = "builtin"
    elif profile and profile.runtime.delegate not in (None, "xnnpack"):
        notes = (f"the profile's delegate is {profile.runtime.delegate}; this run used xnnpack on the CPU",)
    if cpus and len(cpus) < wanted and threads is None:
        plural = "s" if len(cpus) > 1 else ""
        where = "here" if is_host else "there"
        notes += (f"{len(cpus)} thread{plural}, not {wanted} as in the profile: no more CPUs {where}",)
        wanted = len(cpus)
    if missing := sorted(set(named) - set(usable)):
        notes += (f"the profile pins to CPU {', '.join(map(str, missing))}, which a run there may not use",)
    return Plan(
        threads=wanted,
        memory_bytes=memory_bytes,
        cpus=cpus,
        kernel=kernel,
        timeout_s=timeout_s or Plan.timeout_s,
        notes=notes,
    )


def in_words(plan: Plan, document: Mapping[str, Any]) -> tuple[str, ...]:
    """Returns what a run enforced, and what it could not, from the plan and the document of its script."""
    threads = f"{plan.threads} thread{'s' if plan.threads > 1 else ''}"
    words = [threads]
    if plan.memory_bytes is not None:
        reason = document.get("memory_reason")
        budget = f"memory {plan.memory_bytes / 2**20:.4g} MiB"
        words.insert(0, f"{budget} not enforced: {reason}" if reason else f"{budget} (RLIMIT_DATA)")
    if plan.cpus is None:
        return tuple(words)
    reason, cpus = document.get("cpus_reason"), document.get("cpus") or ()
    if reason or not cpus:
        words.append(f"CPUs not enforced: {reason or 'this system does not pin processes'}")
    else:
        few = f", fewer than {plan.threads} threads" if len(cpus) < plan.threads else ""
        words.append(f"pinned to {len(cpus)} CPU{'s' if len(cpus) > 1 else ''}{few}")
    return tuple(words)


def _chosen(usable: Sequence[int], named: Sequence[int], count: int) -> tuple[int, ...] | None:
    """Returns the CPUs to pin to: those named that are usable, else the first; None where none are known."""
    found = [cpu for cpu in named if cpu in usable] or list(usable[:count])
    return tuple(sorted(found)) or None


def _own_cpus() -> tuple[int, ...]:
    """Returns the CPUs that this process may use; () where the system does not tell."""
    return tuple(sorted(os.sched_getaffinity(0))) if sys.platform == "linux" else ()


@contextmanager
def hard(board: Device, plan: Plan, how: Measuring) -> Iterator[tuple[Device, Plan]]:
    """Yields the device and the plan with the memory budget left to a control group, where that is asked for.

    Raises UsageError where there is none, or for another device than this host.
    """
    if not how.hard_limits:
        yield board, plan
        return
    from devicekit.device.cgroup import RUNTIME_BYTES, CgroupDevice

    if board.describe().kind != "host":
        raise UsageError("--hard-limits is for this host", remedy="leave it out, or use --device host")
    if plan.memory_bytes is None:
        raise UsageError(
            "--hard-limits: there is no memory limit", remedy="give a --profile with limits.memory_mib"
        )
    limited = CgroupDevice(board, plan.memory_bytes + RUNTIME_BYTES)
    yield limited, replace(plan, memory_bytes=None, notes=(*plan.notes, f"enforced: {limited.words}"))

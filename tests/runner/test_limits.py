import os
from types import SimpleNamespace
from typing import Any

import pytest

from devicekit.errors import UsageError
from devicekit.measurement import Plan
from devicekit.profile.lookup import load_profile
from devicekit.runner.limits import in_words, plan_for

ALLOWED = tuple(sorted(os.sched_getaffinity(0)))


def profile(*, threads: int = 4, cores: int | None = 8, memory_mib: float | None = 1.5, delegate: str) -> Any:
    return SimpleNamespace(
        runtime=SimpleNamespace(threads=threads, delegate=delegate),
        device=SimpleNamespace(cores=cores, kind="android"),
        limits=SimpleNamespace(memory_mib=memory_mib),
    )


def test_without_a_profile_one_thread_and_no_limit() -> None:
    plan = plan_for(None)
    assert (plan.threads, plan.memory_bytes, plan.cpus) == (1, None, ALLOWED[:1])


def test_a_shipped_profile_sets_threads_and_memory() -> None:
    pixel7 = load_profile("pixel7")
    plan = plan_for(pixel7)
    assert plan.threads == min(pixel7.runtime.threads, len(ALLOWED))
    assert plan.memory_bytes == pixel7.limits.memory_mib * 2**20


def test_the_caller_wins_over_the_profile() -> None:
    plan = plan_for(profile(delegate="xnnpack"), threads=1, timeout_s=7)
    assert (plan.threads, plan.timeout_s, plan.cpus) == (1, 7, ALLOWED[:1])


@pytest.mark.parametrize(
    ("wrong", "message", "remedy"),
    [
        (
            {"threads": 0},
            "threads is 0, must be above 0",
            "leave --threads out, or give it a number above 0",
        ),
        (
            {"threads": -1},
            "threads is -1, must be above 0",
            "leave --threads out, or give it a number above 0",
        ),
        (
            {"timeout_s": 0.0},
            "timeout is 0 s, must be above 0",
            "leave --timeout out, or give it a number above 0",
        ),
    ],
)
def test_what_is_not_above_0_is_refused(wrong: dict[str, Any], message: str, remedy: str) -> None:
    with pytest.raises(UsageError) as caught:
        plan_for(None, **wrong)
    assert (caught.value.message, caught.value.remedy) == (message, remedy)


def test_more_threads_than_cpus_become_fewer_and_the_plan_says_so() -> None:
    plan = plan_for(profile(threads=len(ALLOWED) + 1, cores=None, delegate="xnnpack"))
    assert plan.threads == len(ALLOWED)
    assert plan.notes[0].endswith(f"not {len(ALLOWED) + 1} as in the profile: no more CPUs here")


def test_threads_that_the_caller_names_are_kept() -> None:
    plan = plan_for(profile(delegate="xnnpack"), threads=len(ALLOWED) + 1)
    assert (plan.threads, plan.notes) == (len(ALLOWED) + 1, ())


def test_no_more_cpus_than_the_device_has_cores() -> None:
    assert plan_for(profile(threads=4, cores=1, delegate="xnnpack")).cpus == ALLOWED[:1]


@pytest.mark.parametrize(
    ("delegate", "kernel", "notes"),
    [
        ("xnnpack", "xnnpack", ()),
        ("none", "builtin", ()),
        ("gpu", "xnnpack", ("the profile's delegate is gpu; this run used xnnpack on the CPU",)),
    ],
)
def test_the_delegate_chooses_the_kernels(delegate: str, kernel: str, notes: tuple[str, ...]) -> None:
    plan = plan_for(profile(threads=1, delegate=delegate))
    assert (plan.kernel, plan.notes) == (kernel, notes)


PLAN = Plan(threads=2, memory_bytes=48 * 2**20, cpus=(0, 1))


@pytest.mark.parametrize(
    ("plan", "document", "words"),
    [
        (PLAN, {"cpus": [0, 1]}, ("memory 48 MiB (RLIMIT_DATA)", "2 threads", "pinned to 2 CPUs")),
        (
            PLAN,
            {"cpus": [0]},
            ("memory 48 MiB (RLIMIT_DATA)", "2 threads", "pinned to 1 CPU, fewer than 2 threads"),
        ),
        (
            PLAN,
            {"memory_reason": "darwin has no RLIMIT_DATA", "cpus_reason": "darwin has no sched_setaffinity"},
            (
                "memory 48 MiB not enforced: darwin has no RLIMIT_DATA",
                "2 threads",
                "CPUs not enforced: darwin has no sched_setaffinity",
            ),
        ),
        (Plan(), {"cpus": [0, 1]}, ("1 thread",)),
    ],
)
def test_limits_are_worded_as_enforced_or_not(
    plan: Plan, document: dict[str, Any], words: tuple[str, ...]
) -> None:
    assert in_words(plan, document) == words

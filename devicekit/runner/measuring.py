"""How to reach a device and measure on it, as the user asks for it."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from devicekit.errors import UsageError
from devicekit.measurement import Gate, Plan

if TYPE_CHECKING:
    from devicekit.profile.schema import Profile


@dataclass(frozen=True)
class Measuring:
    """What the command line and the Python API take besides a device's address.

    `strict` refuses a device that is not what the profile describes, `keep` leaves our files on it,
    `accept_new_host_key` takes and notes the key of an SSH host that is not known yet. `runner` is one of
    runner.measure.RUNNERS, None: what suits the device. `benchmark_model` is the vendor's tool for the
    device, `wheels` a folder with the wheels that its runtime is taken from; None: the cache, or a download.
    `require_delegate` refuses a delegate that leaves a part of the graph to the built-in kernels. `governor`
    is set for the run and put back. `sustain_s` runs for so long, with a trace over time; `rate_hz` leaves
    gaps. `hard_limits` has the kernel kill what needs more memory than the budget, on this host as root. The
    rest is the Gate that a device must pass first.
    """

    strict: bool = False
    keep: bool = False
    accept_new_host_key: bool = False
    runner: str | None = None
    benchmark_model: Path | None = None
    wheels: Path | None = None
    require_delegate: bool = False
    governor: str | None = None
    sustain_s: float | None = None
    rate_hz: float | None = None
    hard_limits: bool = False
    start_below_c: float = Gate.start_below_c
    min_battery_percent: int = Gate.min_battery_percent
    wait_s: float = Gate.wait_s

    def access(self) -> dict[str, bool]:
        """Returns what of the wishes connecting takes."""
        return {"keep": self.keep, "accept_new_host_key": self.accept_new_host_key}

    def applied_to(self, plan: Plan) -> Plan:
        """Returns the plan with the caller's wishes, but for a sustained run. Raises UsageError."""
        if self.rate_hz is not None and not 0 < self.rate_hz <= 1e6:
            raise UsageError(f"a rate of {self.rate_hz:g}/s", remedy="give one above 0: --rate 10/s")
        return replace(
            plan,
            rate_hz=self.rate_hz,
            governor=self.governor,
            gate=Gate(
                start_below_c=self.start_below_c,
                min_battery_percent=self.min_battery_percent,
                wait_s=self.wait_s,
            ),
        )


NO_WISHES = Measuring()


def suited_to(how: Measuring, profile: "Profile | None") -> Measuring:
    """Returns the wishes with the runner that the profile's kind needs: a microcontroller's is its own."""
    if how.runner is None and profile is not None and profile.device.kind == "microcontroller":
        return replace(how, runner="micro")
    return how


# A trace has so many points; each needs a second for its readings to mean something.
TRACE_POINTS = 60
# Loading, warming up and reading what a long run printed, beyond its own time.
BESIDES_S = 120.0


def sustained(plan: Plan, sustain_s: float) -> Plan:
    """Returns the plan that runs for `sustain_s` and keeps a trace. Raises UsageError below a second."""
    if sustain_s < 1:
        raise UsageError(
            f"--sustain {sustain_s:g}s is too short", remedy="give a second or more: --sustain 10m"
        )
    return replace(
        plan, sustain_s=sustain_s, max_s=sustain_s, timeout_s=max(plan.timeout_s, sustain_s + BESIDES_S)
    )

"""The latency of a .tflite on a profile's device: a median with intervals, or why there is none."""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from devicekit import words as fmt
from devicekit.graph.model import Graph
from devicekit.predict.roofline import Coefficients, latency_us, precision_of, shares
from devicekit.predict.work import KINDS, Kind, Work, unpredictable, work_of
from devicekit.profile.label import runtime_label
from devicekit.words import attributes

if TYPE_CHECKING:
    from devicekit.profile.schema import Calibration, Profile

Tier = Literal["measured", "sibling", "calibrated"]
# How far a model may be outside of what the rows span before it counts as unlike them.
_SHARE_MARGIN, _RANGE_FACTOR = 0.15, 2.0


@dataclass(frozen=True)
class LatencyPrediction:
    """Milliseconds. `tier` says whose calibration it is; `far` why the model is unlike the rows, None where
    it is like them: then the intervals are those of a family that was left out.
    """

    median_ms: float
    interval_80_ms: tuple[float, float]
    interval_90_ms: tuple[float, float]
    tier: Tier
    basis: str
    far: str | None

    def to_json(self) -> dict[str, Any]:
        return {"evidence": "predicted", **attributes(self)}


def predict_latency(
    graph: Graph, profile: "Profile", *, sibling: "Profile | None" = None, threads: int | None = None
) -> LatencyPrediction | str:
    """Returns the prediction, or the reason why there is none. `sibling` is the profile that may stand in."""
    runtime = profile.runtime
    delegate, count = runtime.delegate, threads or runtime.threads
    if delegate not in ("xnnpack", "none"):
        return f"what the {delegate} delegate takes can only be measured"
    if profile.device.kind == "microcontroller":
        return "a microcontroller's depends on its kernels (TFLM, CMSIS-NN, …): it can only be measured"
    if reason := unpredictable(graph):
        return reason
    precision = precision_of(graph)
    if precision == "mixed":
        return "the model computes on several dtypes, calibrations are for one"
    key = (delegate, count, precision)
    found = _calibration(profile, key)
    tier: Tier = "calibrated"
    if found is None and sibling is not None:
        found, tier = _calibration(sibling, key), "sibling"
    if found is None:
        return _missing(profile, key)
    named = f"{sibling.name}'s " if tier == "sibling" and sibling else ""
    rows = f"{len(found.rows)} calibration models"
    basis = f"{named}{rows}, {found.label}"
    return predicted(work_of(graph), _op_names(graph), found, tier=tier, basis=basis)


def predicted(
    works: tuple[Work, ...], ops: set[str], calibration: "Calibration", *, tier: Tier, basis: str
) -> LatencyPrediction:
    """Returns the prediction for a model's work by one calibration."""
    coefficients = coefficients_of(calibration)
    median_ms = latency_us(works, coefficients) / 1000
    far = _far(works, ops, calibration, coefficients)
    within_80, within_90 = calibration.within_80, calibration.within_90
    if far or tier == "sibling":
        within_80, within_90 = calibration.family_within_80, calibration.family_within_90
    return LatencyPrediction(
        median_ms, _around(median_ms, within_80), _around(median_ms, within_90), tier, basis, far
    )


def coefficients_of(calibration: "Calibration") -> Coefficients:
    return Coefficients(
        calibration.product_us_per_mmac,
        calibration.conv_us_per_mmac,
        calibration.depthwise_us_per_mmac,
        calibration.traffic_us_per_mib,
        calibration.op_us,
    )


def work_of_row(row: Any) -> tuple[Work, ...]:
    """Returns the work that a calibration's row holds."""
    return tuple(Work(*one) for one in row.work)


def _calibration(profile: "Profile", key: tuple[str, int, str]) -> "Calibration | None":
    """Returns the calibration for (delegate, threads, precision); that of the profile's release wins."""
    fitting = [c for c in profile.calibration if (c.delegate, c.threads, c.precision) == key]
    same = [c for c in fitting if c.version == profile.runtime.version]
    return next(iter([*same, *fitting]), None)


def _missing(profile: "Profile", key: tuple[str, int, str]) -> str:
    delegate, threads, precision = key
    label = runtime_label(profile.runtime.name, profile.runtime.version, delegate=delegate, threads=threads)
    if not profile.calibration:
        return f"this profile has no calibration for {label}"
    known = "; ".join(c.label for c in profile.calibration)
    return f"this profile has no calibration for {label}, {precision}, but for {known}"


def _far(
    works: tuple[Work, ...], ops: set[str], calibration: "Calibration", coefficients: Coefficients
) -> str | None:
    """Returns why the model is unlike the rows; None where it is like them."""
    unseen = sorted(ops - set(calibration.ops)) if calibration.ops else []
    own = shares(works, coefficients)
    known = [shares(work_of_row(row), coefficients) for row in calibration.rows]
    if unseen and own["other"] > _SHARE_MARGIN:
        return f"no calibration model has {', '.join(unseen[:3])}"
    for kind in KINDS:
        low, high = min(one[kind] for one in known), max(one[kind] for one in known)
        if not low - _SHARE_MARGIN <= own[kind] <= high + _SHARE_MARGIN:
            others = f"{low:.0%} to {high:.0%} of calibration models"
            return f"{_KIND_WORDS[kind]} take {own[kind]:.0%} of it, {others}"
    total = latency_us(works, coefficients)
    times = [latency_us(work_of_row(row), coefficients) for row in calibration.rows]
    if not min(times) / _RANGE_FACTOR <= total <= max(times) * _RANGE_FACTOR:
        return f"it is outside of the calibration models' {fmt.ms(min(times))} to {fmt.ms(max(times))} ms"
    return None


_KIND_WORDS: dict[Kind, str] = {
    "product": "matrix products",
    "conv": "convolutions larger than 1×1",
    "depthwise": "depthwise convolutions",
    "other": "operators without multiply-accumulates",
}


def _around(median_ms: float, within: float) -> tuple[float, float]:
    return median_ms * math.exp(-within), median_ms * math.exp(within)


def _op_names(graph: Graph) -> set[str]:
    return {op.label for op in graph.main.ops}

"""Deployment and Conversion: what the pipeline found, and their JSON.

JSON schema history (`schema` in every document)
    1   first version; since November 2026 with `budgets`, and `dominated_by` of each candidate; since
        December 2026 with `warnings` of the data; of each candidate `made_up_ranges` and `worst`, and of its
        fidelity `worst`, `step`, `step_of`, `change` and `worst_sample`
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devicekit.convert.source import Source
from devicekit.device.seam import DeviceFacts
from devicekit.errors import ConvertError, DeviceError, DevicekitError, DoesNotFit
from devicekit.fit.budgets import RULES, Budgets
from devicekit.fit.candidate import Candidate
from devicekit.fit.choose import nearest_miss
from devicekit.graph.model import Graph
from devicekit.graph.state import state_json
from devicekit.measurement import Measurement
from devicekit.predict.latency import LatencyPrediction
from devicekit.quantize.build import DataSummary
from devicekit.words import VERSION, attributes, plain

if TYPE_CHECKING:
    from devicekit.profile.schema import Profile

SCHEMA = 1
SOURCE_SUFFIXES = (".h5", ".hdf5", ".keras")


def runtime_versions() -> dict[str, str]:
    """Returns the versions of what quantizes and runs every model."""
    return {name: version(name) for name in ("ai-edge-litert", "litert-quantizer")}


def model_name(model: Path) -> str:
    """Returns the name of a model without its ending; a SavedModel is a folder and has none."""
    whole = model.resolve()
    return whole.name if whole.is_dir() else whole.stem


def metric_name(eval_function: str | None, data: DataSummary) -> str | None:
    """Returns the name of the task metric: the user's function, or accuracy; None where there is none."""
    if eval_function:
        return eval_function.rpartition(":")[2]
    return "accuracy" if data.has_labels else None


@dataclass(frozen=True)
class Conversion:
    """One model, its candidates, and the chosen one.

    `graph` is the float .tflite that the candidates were made of. `metric` names the task metric, None where
    there is none. `profile` is None where only a recipe was asked for. `budgets` are the caller's own limits.
    """

    model: Path
    profile: "Profile | None"
    source: Source
    graph: Graph
    data: DataSummary
    metric: str | None
    candidates: tuple[Candidate, ...]
    budgets: Budgets

    @property
    def name(self) -> str:
        return model_name(self.model)

    @property
    def chosen(self) -> Candidate | None:
        return next((c for c in self.candidates if c.status == "chosen"), None)

    @property
    def verdict(self) -> str:
        return "fits" if self.chosen else "does not fit"

    @property
    def error(self) -> DevicekitError | None:
        """Returns why nothing was chosen; None where something was."""
        if self.chosen:
            return None
        if self.profile is None:
            [candidate] = self.candidates
            if all(finding.rule in RULES for finding in candidate.findings):
                miss, remedy = nearest_miss(self.candidates)
                return DoesNotFit(self.model.name, "the budgets", nearest_miss=miss, remedy=remedy)
            found = "; ".join(finding.detail for finding in candidate.findings)
            remedy = candidate.findings[0].remedy
            return ConvertError(self.model.name, found=f"as {candidate.recipe}: {found}", remedy=remedy)
        miss, remedy = nearest_miss(self.candidates)
        return DoesNotFit(self.model.name, self.profile.name, nearest_miss=miss, remedy=remedy)

    def to_json(self) -> dict[str, Any]:
        chosen, profile, source = self.chosen, self.profile, self.source
        told = ("sha256", "kind", "parameters", "max_difference", "notes", "rewrites", "unverified")
        return {
            "schema": SCHEMA,
            "model": {"path": str(self.model), **attributes(source, *told)},
            "profile": profile and attributes(profile, "name", "sha256"),
            "chosen": chosen and attributes(chosen, "recipe", "path", "sha256"),
            **attributes(self, "verdict", "budgets"),
            "state": state_json(self.graph),
            "outside": plain(source.outside),
            "data": asdict(self.data),
            **attributes(self, "candidates", "metric"),
            "versions": {"devicekit": VERSION, **runtime_versions(), **source.versions},
            **({"error": self.error.to_json()} if self.error else {}),
        }


@dataclass(frozen=True)
class Deployment(Conversion):
    """A conversion whose fitting candidates were measured on a device, and filed.

    `predicted` is the latency of the chosen candidate on the profile's device where it was not measured
    there, or why there is none. `seconds` maps each step to its wall time. `sustained` is the long run of the
    chosen candidate, where one was asked for. `lost` is why measuring ended early: the device failed, and
    nothing is chosen. `alias` is the device's name in the fleet file, where it has one. `folder` is None
    until the deployment is filed, `run` its run in the store, if any.
    """

    profile: "Profile"
    device: DeviceFacts
    seconds: Mapping[str, float]
    predicted: LatencyPrediction | str | None = None
    sustained: Measurement | None = None
    lost: DeviceError | None = None
    alias: str | None = None
    folder: Path | None = None
    run: str | None = None

    @property
    def error(self) -> DevicekitError | None:
        return self.lost or super().error

    @property
    def evidence(self) -> str | None:
        """Returns the kind of evidence of the measurements; None where nothing was measured."""
        return next((c.measurement.evidence for c in self.candidates if c.measurement), None)

    @property
    def latency_reason(self) -> str | None:
        """Returns why there is no latency on the profile's device; None where there is one."""
        if self.evidence == "measured" or not isinstance(self.predicted, str):
            return None
        reason = f"not predicted, {self.predicted}"
        limit_ms = None if self.budgets.max_latency_ms else self.profile.limits.latency_ms
        return f"{reason}; its limit of {limit_ms:g} ms is not judged" if limit_ms else reason

    @property
    def latency(self) -> LatencyPrediction | None:
        """Returns the predicted latency of the chosen candidate; None where measured, or not known."""
        return None if isinstance(self.predicted, str) else self.predicted

    def to_json(self) -> dict[str, Any]:
        return {
            **super().to_json(),
            **attributes(self, "device", "evidence"),
            "prefer": self.profile.recipes.prefer,
            **attributes(self, "sustained", "latency", "latency_reason"),
            "seconds": {step: round(seconds, 2) for step, seconds in self.seconds.items()},
            "folder": plain(self.folder),
        }

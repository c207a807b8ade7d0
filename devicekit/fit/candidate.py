"""Candidate: one recipe's outcome, from the built file to its measurement."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from devicekit.finding import Finding
from devicekit.measurement import Measurement
from devicekit.quantize.fidelity import Fidelity
from devicekit.quantize.quality import RULES
from devicekit.words import attributes

# The rules that say how far outputs are from the float model's.
QUALITY_RULES = frozenset((*RULES, "accuracy_drop"))

Status = Literal["chosen", "fits", "rejected", "failed"]
Prefer = Literal["latency", "size", "quality"]


@dataclass(frozen=True)
class Candidate:
    """One recipe's outcome. `path` is None where no file was built or kept.

    `made_up_ranges` says that it was calibrated on random inputs. `worst` holds the samples on which it is
    furthest from the float model (.npz), None where none are kept.
    `dominated_by` is the recipe that is nowhere worse and somewhere better (pareto.py), None where none is.
    """

    recipe: str
    path: Path | None
    size_bytes: int | None
    sha256: str | None
    status: Status
    findings: tuple[Finding, ...] = ()
    fidelity: Fidelity | None = None
    measurement: Measurement | None = None
    golden: Path | None = None
    made_up_ranges: bool = False
    worst: Path | None = None
    notes: tuple[str, ...] = field(default=())
    dominated_by: str | None = None

    def to_json(self) -> dict[str, Any]:
        return attributes(
            self,
            *("recipe", "path", "size_bytes", "sha256", "status", "dominated_by", "made_up_ranges"),
            *("findings", "fidelity", "measurement", "notes", "worst"),
        )


def reject(candidate: Candidate, finding: Finding) -> Candidate:
    """Returns `candidate`, rejected for `finding`."""
    return replace(candidate, status="rejected", findings=(*candidate.findings, finding))


def is_only_unlike(candidate: Candidate) -> bool:
    """Returns whether a candidate is rejected for its quality alone: what it costs is worth knowing still."""
    rules = {finding.rule for finding in candidate.findings}
    return candidate.status == "rejected" and rules <= QUALITY_RULES

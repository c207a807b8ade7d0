"""Candidate: one recipe's outcome, from the built file to its measurement."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from devicekit.finding import Finding
from devicekit.measurement import Measurement
from devicekit.quantize.fidelity import Fidelity
from devicekit.words import attributes

Status = Literal["chosen", "fits", "rejected", "failed"]
Prefer = Literal["latency", "size", "quality"]


@dataclass(frozen=True)
class Candidate:
    """One recipe's outcome. `path` is None where no file was built or kept.

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
    notes: tuple[str, ...] = field(default=())
    dominated_by: str | None = None

    def to_json(self) -> dict[str, Any]:
        return attributes(
            self,
            *("recipe", "path", "size_bytes", "sha256", "status", "dominated_by"),
            *("findings", "fidelity", "measurement", "notes"),
        )


def reject(candidate: Candidate, finding: Finding) -> Candidate:
    """Returns `candidate`, rejected for `finding`."""
    return replace(candidate, status="rejected", findings=(*candidate.findings, finding))

"""Checks a model file against a profile."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devicekit.check.finding import Finding
from devicekit.check.rules import check_graph

if TYPE_CHECKING:
    from devicekit.profile.schema import Profile

# JSON schema history: 1, the first version.
SCHEMA = 1


@dataclass(frozen=True)
class CheckResult:
    """`model` is the file as it was named, `profile` the profile's name."""

    profile: str
    model: str
    ok: bool
    findings: tuple[Finding, ...]

    def to_json(self) -> dict[str, Any]:
        return {
            "schema": SCHEMA,
            "profile": self.profile,
            "model": self.model,
            "ok": self.ok,
            "findings": [finding.to_json() for finding in self.findings],
        }


def check_model(
    model: str | Path,
    profile: "str | Path | Profile",
    *,
    trust: bool = False,
    custom_objects: str | Path | None = None,
    shapes: Mapping[str, Sequence[int]] | None = None,
    rewrite: bool = True,
    custom_ops: Sequence[str] = (),
    timeout_s: float = 1800,
) -> CheckResult:
    """Returns what keeps `model` from fitting `profile`. A Keras model is checked as its float .tflite.

    Raises ProfileError, LoadError, ConvertError and UntrustedModel.
    """
    from devicekit.convert.source import convert_source
    from devicekit.graph.read import read_graph
    from devicekit.profile.lookup import load_profile

    target = load_profile(profile) if isinstance(profile, str | Path) else profile
    own = Path(custom_objects) if custom_objects else None
    source = convert_source(
        Path(model),
        trust=trust,
        custom_objects=own,
        shapes=shapes,
        rewrite=rewrite,
        custom_ops=custom_ops,
        flex=target.ops.flex,
        timeout_s=timeout_s,
    )
    findings = check_graph(target, read_graph(source.float_path))
    return CheckResult(target.name, str(model), not findings, tuple(findings))

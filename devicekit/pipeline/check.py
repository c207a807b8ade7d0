"""Checks a model file against a profile."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Unpack

from devicekit.check.delegation import Delegation, delegation
from devicekit.check.rules import check_graph
from devicekit.convert.source import Loading, Rewrite, convert_source
from devicekit.errors import Unsupported, UsageError
from devicekit.finding import Finding
from devicekit.graph.layers import with_layers
from devicekit.graph.read import read_graph
from devicekit.pipeline.making import refuse_unlisted
from devicekit.predict.memory import MemoryPrediction, Verdict, delegate_of, plan_memory
from devicekit.profile.lookup import load_profile
from devicekit.profile.op_support import names
from devicekit.profile.schema import Profile
from devicekit.words import attributes, nearest

# JSON schema history: 1, the first version.
SCHEMA = 1


@dataclass(frozen=True)
class CheckResult:
    """`model` is the file as it was named, `profile` the profile's name.

    `rewrites` are the remedies without which it would not convert. `unverified` says why it could not be
    compared with Keras, None where it was. `memory` is the plan for the profile's delegate; None for a
    microcontroller, and where the model does not convert. `delegation` is what the delegate takes of it, None
    for the built-in kernels.
    """

    profile: str
    model: str
    ok: bool
    findings: tuple[Finding, ...]
    rewrites: tuple[Rewrite, ...] = ()
    unverified: str | None = None
    memory: MemoryPrediction | None = None
    memory_limit_bytes: int | None = None
    delegation: Delegation | None = None

    @property
    def memory_verdict(self) -> Verdict | None:
        """Returns "fits", "tight" or "does not fit"; None where only a bound within the limit is known."""
        return None if self.memory is None else self.memory.verdict(self.memory_limit_bytes)

    def to_json(self) -> dict[str, Any]:
        names = (
            "profile",
            "model",
            "ok",
            "findings",
            "rewrites",
            "unverified",
            "memory_verdict",
            "delegation",
        )
        return {"schema": SCHEMA, **attributes(self, *names)}


def check_model(
    model: str | Path,
    profile: str | Path | Profile,
    *,
    delegate: str | None = None,
    timeout_s: float = 1800,
    **loading: Unpack[Loading],
) -> CheckResult:
    """Returns what keeps `model` from fitting `profile`. A Keras model is checked as its float .tflite.

    `delegate` is the one to estimate in place of the profile's: "gpu", "nnapi", "edgetpu", "xnnpack", "none".
    Ops that do not convert are findings, by Keras layer. Raises ProfileError, UsageError, LoadError,
    ConvertError and UntrustedModel.
    """
    target = load_profile(profile) if isinstance(profile, str | Path) else profile
    if delegate is not None and delegate != target.runtime.delegate:
        target = _with_delegate(target, delegate)
    refuse_unlisted(loading.get("custom_ops", ()), target)
    try:
        source = convert_source(Path(model), flex=target.ops.flex, timeout_s=timeout_s, **loading)
    except Unsupported as error:
        return CheckResult(target.name, str(model), False, error.findings)
    graph = with_layers(read_graph(source.float_path), source.layers)
    findings = tuple(check_graph(target, graph))
    memory = None
    if target.device.kind != "microcontroller":
        memory = plan_memory(graph, delegate_of(target), threads=target.runtime.threads)
    return CheckResult(
        target.name,
        str(model),
        not findings,
        findings,
        source.rewrites,
        source.unverified,
        memory,
        None if target.limits.memory_mib is None else int(target.limits.memory_mib * 2**20),
        None
        if target.runtime.delegate == "none"
        else delegation(graph, target.runtime.delegate, device_os=target.device.os),
    )


def _with_delegate(profile: Profile, delegate: str) -> Profile:
    if profile.device.kind == "microcontroller":
        raise UsageError(
            f"{profile.name} is a microcontroller: TFLM has no delegates", remedy="leave out --delegate"
        )
    known = [*names("delegate"), "none"]
    if delegate not in known:
        guess = nearest(delegate, known)
        raise UsageError(
            f'no delegate "{delegate}"' + (f"; did you mean {guess}?" if guess else ""),
            remedy=f"name one of {', '.join(known)}",
        )
    return profile.model_copy(update={"runtime": profile.runtime.model_copy(update={"delegate": delegate})})

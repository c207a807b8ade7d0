"""The rules: one function each, whose docstring is what the user reads. A limit of None rules nothing."""

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from devicekit.check.delegation import delegation, dtype_of, in_words
from devicekit.check.equivalents import INSTEAD
from devicekit.finding import Finding
from devicekit.graph.arena import plan_arena
from devicekit.graph.layers import layers_of
from devicekit.graph.model import Graph, Op, Subgraph, Tensor
from devicekit.plugins import resolve
from devicekit.predict.advice import in_parts, lower
from devicekit.predict.memory import delegate_of, plan_memory
from devicekit.profile.op_support import Support, parts, support

if TYPE_CHECKING:
    from devicekit.profile.schema import Profile, Runtime

# The name in a finding -> the rule, in the order of the findings.
RULES: Mapping[str, str] = {
    "size": "devicekit.check.rules:model_fits_storage",
    "memory": "devicekit.check.rules:memory_fits",
    "arena": "devicekit.check.rules:arena_fits",
    "op": "devicekit.check.rules:ops_are_allowed",
    "flex": "devicekit.check.rules:flex_is_there",
    "custom": "devicekit.check.rules:custom_ops_are_registered",
    "dtype": "devicekit.check.rules:dtypes_are_allowed",
    "kernel": "devicekit.check.rules:kernels_take_the_dtypes",
    "version": "devicekit.check.rules:versions_are_known",
    "shape": "devicekit.check.rules:shapes_are_fixed",
    "delegate": "devicekit.check.rules:the_delegate_takes_all",
}

_SMALLER = "use a smaller recipe or model, or raise the limit"
_LESS_MEMORY = "use a smaller model or input, or raise limits.memory_mib"
_REPLACE = "replace the layer behind it by layers that convert to other operators"


def check_graph(profile: "Profile", graph: Graph) -> list[Finding]:
    """Returns every rule of `profile` that `graph` breaks; empty where it fits."""
    return [finding for target in RULES.values() for finding in resolve(target)(profile, graph)]


def model_fits_storage(profile: "Profile", graph: Graph) -> Iterator[Finding]:
    """The .tflite file is no larger than limits.model_mib, and on a microcontroller than limits.model_kib."""
    flash = profile.limits.model_kib
    if flash is not None and graph.size_bytes > flash * 1024:
        yield Finding(
            "size",
            f"is {_amount(graph.size_bytes / 1024)} KiB, limits.model_kib is {flash:g}",
            remedy=_SMALLER,
            excess=graph.size_bytes / (flash * 1024),
        )
        return
    limit = profile.limits.model_mib
    if limit is not None and graph.size_bytes > limit * 2**20:
        yield Finding(
            "size",
            f"is {_mib(graph.size_bytes)} MiB, limits.model_mib is {limit:g}",
            remedy=_SMALLER,
            excess=graph.size_bytes / (limit * 2**20),
        )


def memory_fits(profile: "Profile", graph: Graph) -> Iterator[Finding]:
    """Must-have memory (activations, the weights that XNNPACK copies) is planned within limits.memory_mib."""
    limit = profile.limits.memory_mib
    if limit is None or profile.device.kind == "microcontroller":
        return
    plan = plan_memory(graph, delegate_of(profile), threads=profile.runtime.threads)
    if plan.least_bytes > limit * 2**20:
        yield Finding(
            "memory",
            f"needs about {_mib(plan.planned_bytes)} MiB ({in_parts(plan)}), limits.memory_mib is {limit:g}",
            remedy=lower(plan, graph) or _LESS_MEMORY,
            excess=plan.least_bytes / (limit * 2**20),
            op=_peak(graph, plan.peak.op) if plan.peak and plan.arena_bytes > plan.packed_bytes else None,
        )


def arena_fits(profile: "Profile", graph: Graph) -> Iterator[Finding]:
    """On a microcontroller, the tensor arena is within limits.arena_kib."""
    limit = profile.limits.arena_kib
    if limit is None:
        return
    plan = plan_arena(graph, "tflm")
    if plan.arena_bytes > limit * 1024:
        yield Finding(
            "arena",
            f"needs at least {_amount(plan.arena_bytes / 1024)} KiB of arena, limits.arena_kib is {limit:g}",
            remedy=_SMALLER,
            excess=plan.arena_bytes / (limit * 1024),
            op=_peak(graph, plan.peak_op),
        )


def ops_are_allowed(profile: "Profile", graph: Graph) -> Iterator[Finding]:
    """Each built-in operator is one that a microcontroller's runtime has, and in ops.allow, where that is
    given; none is in ops.deny."""
    allow, deny = profile.ops.allow, profile.ops.deny or ()
    runtime = support(profile.runtime.name)
    for name, ops in _by_label(graph).items():
        if name in deny:
            yield _unsupported(name, ops, "is in ops.deny")
        elif not runtime.has_versions and name not in runtime.ops and not ops[0].custom_code:
            yield _unsupported(name, ops, f"is not in {runtime.title}")
        elif allow is not None and name not in allow and not ops[0].custom_code:
            yield _unsupported(name, ops, "is not in ops.allow")


def _unsupported(name: str, ops: list[Op], why: str) -> Finding:
    remedy = INSTEAD.get(name, _REPLACE)
    return _of("op", ops, f"{name} {why}", remedy)


def _of(rule: str, ops: list[Op], detail: str, remedy: str) -> Finding:
    """Returns the finding about operators of one kind: how many, where, of which layers."""
    return Finding(rule, f"{detail}{_times(ops)}", remedy, op=_where(ops), layer=layers_of(ops))


def flex_is_there(profile: "Profile", graph: Graph) -> Iterator[Finding]:
    """Operators of TensorFlow itself (Flex) appear only where ops.flex is true."""
    for name, ops in _by_label(graph).items():
        if ops[0].is_flex and not profile.ops.flex:
            yield _of(
                "flex",
                ops,
                f"{name} needs TensorFlow's own kernels on the device, ops.flex is false",
                _REPLACE,
            )


def custom_ops_are_registered(profile: "Profile", graph: Graph) -> Iterator[Finding]:
    """Each custom operator is in ops.custom."""
    for name, ops in _by_label(graph).items():
        if ops[0].name == "CUSTOM" and not ops[0].is_flex and name not in (profile.ops.custom or ()):
            yield _of(
                "custom",
                ops,
                f"{name} is no operator of the runtime and not in ops.custom",
                "register it in the device's runtime and add it to ops.custom",
            )


def dtypes_are_allowed(profile: "Profile", graph: Graph) -> Iterator[Finding]:
    """Each operator computes on dtypes that are in ops.dtypes: its activations and weights."""
    allowed = profile.ops.dtypes
    if allowed is None:
        return
    wrong: dict[str, set[str]] = {}
    groups: dict[str, list[Op]] = {}
    for subgraph in graph.subgraphs:
        for op in subgraph.ops:
            if others := _dtypes(op, subgraph) - set(allowed):
                wrong.setdefault(op.label, set()).update(others)
                groups.setdefault(op.label, []).append(op)
    for name, ops in groups.items():
        found = ", ".join(sorted(wrong[name]))
        yield _of(
            "dtype",
            ops,
            f"{name} computes on {found}, ops.dtypes is {', '.join(allowed)}",
            "choose a recipe of these dtypes: `devicekit deploy` tries them all",
        )


def kernels_take_the_dtypes(profile: "Profile", graph: Graph) -> Iterator[Finding]:
    """The runtime's kernels compute on the dtypes of each operator: its activations and weights."""
    runtime = support(profile.runtime.name)
    groups: dict[tuple[str, str], list[Op]] = {}
    for subgraph in graph.subgraphs:
        for op in subgraph.ops:
            dtype = dtype_of(op, subgraph)
            if dtype is not None and runtime.refuses(op.label, dtype, profile.runtime.version):
                groups.setdefault((op.label, dtype), []).append(op)
    for (name, dtype), ops in groups.items():
        yield _of(
            "kernel",
            ops,
            f"{name} on {in_words(dtype)} is not in {runtime.title}, which has {_listed(runtime, name)}",
            "choose a recipe of these dtypes: `devicekit deploy` tries them all",
        )


def _listed(runtime: Support, name: str) -> str:
    return ", ".join(map(in_words, runtime.ops[name].types or ()))


def the_delegate_takes_all(profile: "Profile", graph: Graph) -> Iterator[Finding]:
    """With runtime.require_full_delegation, the delegate takes every operator, in one partition."""
    if not profile.runtime.require_full_delegation or profile.runtime.delegate == "none":
        return
    found = delegation(graph, profile.runtime.delegate, device_os=profile.device.os)
    for one in found.beside:
        yield Finding(
            "delegate",
            f"{one.name} {one.why}{_times(list(one.ops))}, runtime.require_full_delegation is true",
            remedy=INSTEAD.get(one.name, _REPLACE),
            op=_where(list(one.ops)),
            layer=layers_of(one.ops),
        )


def versions_are_known(profile: "Profile", graph: Graph) -> Iterator[Finding]:
    """The profile's runtime.version has each operator, at the version that the file needs."""
    runtime = profile.runtime
    releases = support(runtime.name)
    if runtime.version is None or not releases.has_versions:
        return
    title = releases.title
    here = f"the profile's runtime is {title} {runtime.version}"
    is_clean = True
    for (name, number), ops in _by_version(graph).items():
        first = releases.first_release(name, number)
        # An older runtime than the oldest that is known may have what the oldest has.
        if first is not None and (first == releases.oldest or parts(first) <= parts(runtime.version)):
            continue
        is_clean = False
        needs = f"needs {title} {first}" if first else f"is in no release of {title} that is known here"
        yield _of(
            "version",
            ops,
            f"{name} version {number} {needs}, {here}",
            f"update the device's runtime to {title} {first} or newer" if first else _REPLACE,
        )
    stamp = graph.min_runtime_version
    # The stamp counts in TensorFlow releases, so it says nothing about LiteRT's.
    if is_clean and runtime.name == "tflite" and stamp and parts(stamp) > parts(runtime.version):
        yield Finding(
            "version",
            f"was converted for {title} {stamp} or newer, {here}",
            remedy=f"update the device's runtime to {title} {stamp} or newer",
        )


def highest_version(runtime: "Runtime", name: str) -> int | None:
    """Returns the highest version of an operator that a runtime has, 0 for none; None: nobody knows."""
    releases = support(runtime.name)
    if runtime.version is None or not releases.is_known(runtime.version):
        return None
    return releases.highest_version(name, runtime.version)


def shapes_are_fixed(profile: "Profile", graph: Graph) -> Iterator[Finding]:
    """With a delegate other than xnnpack, every input has a fixed shape."""
    delegate = profile.runtime.delegate
    if delegate in (None, "none", "xnnpack"):
        return
    for name, tensor in graph.input_tensors.items():
        if tensor.is_dynamic:
            dims = ", ".join("?" if dim < 0 else str(dim) for dim in tensor.shape_signature)
            yield Finding(
                "shape",
                f'input "{name}" is [{dims}], the {delegate} delegate needs fixed shapes',
                remedy="convert the Keras model with `devicekit convert`, which fixes the batch to 1",
            )


def _by_label(graph: Graph) -> dict[str, list[Op]]:
    """Returns the operators by the name that a user sees."""
    groups: dict[str, list[Op]] = {}
    for op in graph.ops:
        groups.setdefault(op.label, []).append(op)
    return groups


def _by_version(graph: Graph) -> dict[tuple[str, int], list[Op]]:
    """Returns the built-in operators by name and version."""
    groups: dict[tuple[str, int], list[Op]] = {}
    for op in graph.ops:
        if op.name != "CUSTOM":
            groups.setdefault((op.name, op.version), []).append(op)
    return groups


def _dtypes(op: Op, subgraph: Subgraph) -> set[str]:
    """Returns the dtypes of an operator's activations and weights; biases, shapes and axes do not count."""
    tensors: Iterable[Tensor] = (subgraph.tensors[i] for i in (*op.inputs, *op.outputs) if i >= 0)
    return {t.dtype for t in tensors if not (t.is_constant and t.dtype in ("int32", "int64"))}


def _times(ops: list[Op]) -> str:
    return f" (×{len(ops)})" if len(ops) > 1 else ""


def _where(ops: list[Op]) -> str:
    return f"{ops[0].label} (op {ops[0].index})"


def _peak(graph: Graph, index: int | None) -> str | None:
    return None if index is None else _where([graph.main.ops[index]])


def _mib(size_bytes: int) -> str:
    return _amount(size_bytes / 2**20)


def _amount(value: float) -> str:
    """Returns three significant digits, never an exponent in the thousands."""
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"

"""Each rule: what breaks it, what it then says, and that a profile without the limit says nothing."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from devicekit.check.rules import RULES, check_graph, highest_version, versions_are_known
from devicekit.finding import Finding
from devicekit.graph.model import Graph
from devicekit.graph.read import read_graph
from devicekit.plugins import resolve
from devicekit.profile.op_support import support

DATA = Path(__file__).parent.parent / "data" / "tflite"


def a_profile(**sections: dict[str, Any]) -> Any:
    """Returns a profile that allows everything, with these values in place of its own."""
    defaults: dict[str, dict[str, Any]] = {
        "device": {"kind": "linux", "os": None},
        "runtime": {
            "name": "litert",
            "version": "2.3.0",
            "delegate": "xnnpack",
            "threads": 1,
            "require_full_delegation": False,
        },
        "limits": {"model_mib": None, "memory_mib": None, "arena_kib": None, "model_kib": None},
        "ops": {"allow": None, "deny": (), "flex": True, "custom": (), "dtypes": None},
    }
    return SimpleNamespace(
        **{name: SimpleNamespace(**{**own, **sections.get(name, {})}) for name, own in defaults.items()}
    )


def model(name: str) -> Graph:
    return read_graph(DATA / f"{name}.tflite")


def findings(name: str, **sections: dict[str, Any]) -> list[Finding]:
    return check_graph(a_profile(**sections), model(name))


@pytest.mark.parametrize(
    "name", ["cnn_float32", "cnn_int8", "cnn_dynamic_batch", "embedding", "lstm", "flex"]
)
def test_a_profile_without_limits_finds_nothing(name: str) -> None:
    assert findings(name) == []


def test_a_file_above_model_mib_is_found() -> None:
    (finding,) = findings("cnn_float32", limits={"model_mib": 0.004})
    assert finding == Finding(
        "size",
        "is 0.00599 MiB, limits.model_mib is 0.004",
        "use a smaller recipe or model, or raise the limit",
        excess=pytest.approx(0.00599 / 0.004, rel=0.01),
    )
    assert findings("cnn_float32", limits={"model_mib": 0.0061}) == []


def test_must_have_memory_counts_the_arena_and_xnnpacks_weights() -> None:
    limits = {"memory_mib": 0.01}
    (finding,) = findings("cnn_float32", limits=limits)
    assert finding.rule == "memory"
    assert finding.detail == (
        "needs about 0.104 MiB (tables 89.9 KiB + packed weights 7.50 KiB + activations 5.13 KiB"
        " + input pointers 3.66 KiB), limits.memory_mib is 0.01"
    )
    assert findings("cnn_float32", limits=limits, runtime={"delegate": "none"}) == [], "weights stay mapped"


def test_the_arena_of_a_microcontroller_is_judged_alone_and_names_the_op_at_its_peak() -> None:
    small = {"arena_kib": 0.5, "memory_mib": 0.0001}
    (finding,) = findings("cnn_int8", limits=small, device={"kind": "microcontroller"})
    assert finding.rule == "arena"
    assert finding.detail == "needs at least 0.844 KiB of arena, limits.arena_kib is 0.5"
    assert finding.op == "CONV_2D (op 2)"


def test_an_op_in_deny_or_outside_allow_is_found_once_with_its_count() -> None:
    (denied,) = findings("cnn_float32", ops={"deny": ("CONV_2D",)})
    assert (denied.rule, denied.detail) == ("op", "CONV_2D is in ops.deny (×2)")
    assert denied.op == "CONV_2D (op 0)"
    allow = ("CONV_2D", "DEPTHWISE_CONV_2D", "ADD", "MAX_POOL_2D", "RESHAPE", "FULLY_CONNECTED")
    (missing,) = findings("cnn_float32", ops={"allow": allow})
    assert (missing.detail, missing.op) == ("SOFTMAX is not in ops.allow", "SOFTMAX (op 7)")


def test_flex_is_found_unless_the_runtime_carries_it() -> None:
    (finding,) = findings("flex", ops={"flex": False})
    assert finding.rule == "flex"
    assert finding.detail == (
        "FlexMatrixInverse needs TensorFlow's own kernels on the device, ops.flex is false"
    )


def test_a_custom_op_is_found_unless_the_profile_registers_it() -> None:
    (finding,) = findings("custom")
    assert finding.rule == "custom"
    assert finding.detail == "MatrixInverse is no operator of the runtime and not in ops.custom"
    assert findings("custom", ops={"custom": ("MatrixInverse",)}) == []


def test_dtypes_count_activations_and_weights_but_not_biases_and_shapes() -> None:
    assert findings("cnn_int8", ops={"dtypes": ("int8",)}) == []
    found = findings("cnn_float32", ops={"dtypes": ("int8", "int32")})
    assert {f.rule for f in found} == {"dtype"}
    assert found[0].detail == "CONV_2D computes on float32, ops.dtypes is int8, int32 (×2)"


def with_version(name: str, op: str, version: int) -> Graph:
    graph = model(name)
    ops = tuple(replace(o, version=version) if o.name == op else o for o in graph.main.ops)
    return replace(graph, subgraphs=(replace(graph.main, ops=ops),))


def in_float16(graph: Graph) -> Graph:
    tensors = tuple(replace(t, dtype="float16") if t.dtype == "float32" else t for t in graph.main.tensors)
    return replace(graph, subgraphs=(replace(graph.main, tensors=tensors), *graph.subgraphs[1:]))


# The first three were measured on other files than the table was.
@pytest.mark.parametrize(
    ("runtime", "release", "op", "version", "fits"),
    [
        ("litert", "1.0.1", "FULLY_CONNECTED", 12, True),
        ("litert", "1.0.1", "FULLY_CONNECTED", 14, False),
        ("tflite", "2.14.0", "FULLY_CONNECTED", 12, False),
        ("tflite", "2.17", "FULLY_CONNECTED", 12, True),
        ("litert", "2.1.0", "ADD", 6, True),
        ("litert", "2.0.3", "ADD", 6, False),
        ("litert", "2.3.0", "CONV_2D", 99, False),
        ("tflm", "1.0", "CONV_2D", 99, True),
        ("litert", None, "CONV_2D", 99, True),
    ],
)
def test_op_versions_are_held_against_the_runtime(
    runtime: str, release: str | None, op: str, version: int, fits: bool
) -> None:
    profile = a_profile(runtime={"name": runtime, "version": release})
    found = check_graph(profile, with_version("cnn_float32", op, version))
    assert [f.rule for f in found] == ([] if fits else ["version"])


@pytest.mark.parametrize(
    ("runtime", "release", "op", "fits"),
    [
        ("tflite", "2.14.0", "SQRT", False),  # of 246 quantized files tflite-runtime 2.14 refused these
        ("tflite", "2.14.0", "TANH", True),
        ("tflite", "2.21", "SQRT", True),  # nobody measured it
        ("litert", "2.3.0", "SQRT", True),
        ("litert", "2.3.0", "FLOOR", False),
        ("litert", "9.0", "FLOOR", True),
        ("tflm", None, "SQRT", False),
    ],
)
def test_dtypes_are_held_against_the_kernels_of_the_runtime(
    runtime: str, release: str | None, op: str, fits: bool
) -> None:
    graph = model("cnn_int8")
    ops = tuple(replace(one, name=op, version=1) if one.name == "SOFTMAX" else one for one in graph.main.ops)
    profile = a_profile(runtime={"name": runtime, "version": release})
    found = check_graph(profile, replace(graph, subgraphs=(replace(graph.main, ops=ops),)))
    assert [f.rule for f in found] == ([] if fits else ["kernel"])


def test_a_dtype_that_nobody_tried_is_not_refused() -> None:
    graph = model("cnn_float32")
    odd = tuple(replace(t, dtype="int4") if t.dtype == "float32" else t for t in graph.main.tensors)
    profile = a_profile(runtime={"name": "tflm", "version": None})
    assert check_graph(profile, replace(graph, subgraphs=(replace(graph.main, tensors=odd),))) == []


def test_an_old_runtime_is_told_what_to_update_to() -> None:
    profile = a_profile(runtime={"name": "litert", "version": "2.0.3"})
    (finding,) = check_graph(profile, with_version("cnn_float32", "ADD", 6))
    assert finding == Finding(
        "version",
        "ADD version 6 needs LiteRT 2.1, the profile's runtime is LiteRT 2.0.3",
        "update the device's runtime to LiteRT 2.1 or newer",
        op="ADD (op 3)",
    )


def test_cast_7_and_sqrt_2_are_what_litert_1_0_lacks() -> None:
    """LiteRT 1.0.1 refused these two, and took FULLY_CONNECTED 12."""
    litert = support("litert")
    assert litert.first_release("CAST", 7) == "1.1" and litert.first_release("SQRT", 2) == "2.0"
    assert litert.first_release("FULLY_CONNECTED", 13) == "1.0"


def test_a_release_older_than_all_that_are_known_may_have_what_the_oldest_has() -> None:
    profile = a_profile(runtime={"name": "tflite", "version": "1.15"})
    assert list(versions_are_known(profile, model("cnn_float32"))) == []
    assert highest_version(profile.runtime, "FULLY_CONNECTED") is None
    (finding,) = versions_are_known(profile, with_version("cnn_float32", "ADD", 4))
    assert "ADD version 4 needs TensorFlow Lite 2.6" in finding.detail


def test_the_stamp_of_the_converter_counts_for_tensorflow_lite() -> None:
    graph = replace(model("cnn_float32"), min_runtime_version="2.17.0")
    (finding,) = check_graph(a_profile(runtime={"name": "tflite", "version": "2.14.0"}), graph)
    assert finding.detail == (
        "was converted for TensorFlow Lite 2.17.0 or newer, the profile's runtime is TensorFlow Lite 2.14.0"
    )
    assert check_graph(a_profile(runtime={"name": "litert", "version": "1.0.1"}), graph) == []


def test_open_shapes_are_found_for_delegates_that_need_fixed_ones() -> None:
    (finding,) = findings("cnn_dynamic_batch", runtime={"delegate": "gpu"})
    assert finding.rule == "shape"
    assert finding.detail == 'input "image" is [?, 12, 12, 3], the gpu delegate needs fixed shapes'
    assert findings("cnn_float32", runtime={"delegate": "gpu"}) == []


def test_every_rule_has_its_sentence_and_every_finding_a_remedy() -> None:
    for target in RULES.values():
        assert resolve(target).__doc__.endswith(".")
    strict = {
        "limits": {"model_mib": 1e-4, "memory_mib": 1e-4, "arena_kib": 0.01},
        "ops": {"allow": (), "deny": (), "flex": False, "custom": (), "dtypes": ()},
        "runtime": {
            "name": "litert",
            "version": "2.0",
            "delegate": "gpu",
            "threads": 1,
            "require_full_delegation": True,
        },
    }
    micro = {"runtime": {"name": "tflm", "version": None, "delegate": "none", "threads": 1}}
    rules = {one.rule for one in check_graph(a_profile(**strict), with_version("cnn_float32", "ADD", 6))}
    for path in DATA.glob("*.tflite"):
        half = in_float16(model(path.stem))
        for finding in [*findings(path.stem, **strict), *check_graph(a_profile(**micro), half)]:
            assert finding.detail and finding.remedy and "\n" not in finding.remedy
            rules.add(finding.rule)
    assert rules == set(RULES)


def test_releases_never_fall_as_versions_rise() -> None:
    def parts(release: str) -> tuple[int, ...]:
        return tuple(map(int, release.split(".")))

    for runtime in ("litert", "tflite"):
        for op, entry in support(runtime).ops.items():
            releases = entry.first or {}
            assert list(releases) == sorted(releases), op
            firsts = [parts(first) for first in releases.values()]
            assert firsts == sorted(set(firsts)), op

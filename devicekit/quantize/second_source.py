"""The second source of int8: TensorFlow's own quantizer, for what litert-quantizer cannot or leaves in float.

It knows the fused LSTM as integers. It loads TensorFlow (4 s, 550 MB) and may crash: it runs in a child of
its own, and whatever ends that child leaves what litert-quantizer gave, with the reason.
"""

from contextlib import closing
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from devicekit.child import ChildFailed, default_memory_bytes, run_child
from devicekit.errors import DevicekitError
from devicekit.finding import Finding
from devicekit.graph.model import Graph
from devicekit.quantize.bench import Bench, judged
from devicekit.quantize.build import Built

NOTE = "quantized by TensorFlow's quantizer: litert-quantizer leaves the LSTM in float"
# Its calibration crashes in a loop (TensorFlow 2.14 to 2.21, SIGSEGV; measured, November 2026).
_LOOPS = ("WHILE", "IF", "CALL_ONCE")
_OURS = ("build", "quantized", "loads", "scale")


def is_needed(built: Built, graph: Graph) -> bool:
    """Returns whether litert-quantizer gave no int8 model, and TensorFlow's quantizer may."""
    ops = {op.name for op in graph.ops}
    if ops & set(_LOOPS) or any(op.custom_code for op in graph.ops):
        return False
    return any(finding.rule in _OURS for finding in built.findings)


def build(bench: Bench, built: Built) -> Built:
    """Returns the recipe as TensorFlow's quantizer builds it; `built` and why where that is no better."""
    made = _made(bench, built.recipe)
    try:
        if not made.exists():
            _make(bench)
        better = judged(bench, built.recipe, made.read_bytes(), notes=(_note(built, bench.graph),))
    except ChildFailed as failure:
        return _with_reason(built, failure.detail)
    except DevicekitError as error:
        return _with_reason(built, error.message)
    if better.findings and not _is_int8(better):
        return _with_reason(built, "; ".join(finding.detail for finding in better.findings))
    return better


def _note(built: Built, graph: Graph) -> str:
    if any("LSTM" in op.name for op in graph.ops):
        return NOTE
    return f"quantized by TensorFlow's quantizer: litert-quantizer's file fails ({built.findings[0].detail})"


def _made(bench: Bench, recipe: str) -> Path:
    return bench.out_dir / f"second_source.{recipe}.tflite"


def _make(bench: Bench) -> None:
    """Builds every static 8-bit recipe in one child. Raises ChildFailed and ConvertError."""
    rows = bench.calibration_rows
    with TemporaryDirectory(dir=bench.out_dir) as folder:
        float_path, samples_path = Path(folder, "float.tflite"), Path(folder, "samples.npz")
        float_path.write_bytes(bench.model)
        stacked: dict[str, Any] = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
        np.savez(samples_path, **stacked)
        request = {
            "float_path": str(float_path),
            "samples_path": str(samples_path),
            "out_paths": {
                "int8": str(_made(bench, "int8")),
                "float32": str(_made(bench, "int8_float_io")),
            },
        }
        assert bench.second_source
        memory_bytes = default_memory_bytes()
        with closing(
            run_child(bench.second_source, request, timeout_s=bench.timeout_s / 2, memory_bytes=memory_bytes)
        ) as events:
            for _ in events:
                pass


def _is_int8(built: Built) -> bool:
    return built.path is not None and all(finding.rule not in _OURS for finding in built.findings)


def _with_reason(built: Built, reason: str) -> Built:
    """Returns `built` with why TensorFlow's quantizer gave nothing better."""
    first, *others = built.findings
    told = Finding(
        first.rule, f"{first.detail} (TensorFlow's quantizer: {reason})", first.remedy, op=first.op
    )
    return replace(built, findings=(told, *others))

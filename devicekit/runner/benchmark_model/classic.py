"""The classic benchmark_model, of TensorFlow Lite and LiteRT's tflite/tools/benchmark: microseconds.

It feeds files and writes the outputs to a file, so that they can be compared.
"""

import re
from collections.abc import Mapping, Sequence

from devicekit.measurement import Plan
from devicekit.runner.benchmark_model.printed import (
    NUMBER,
    OpTime,
    Printed,
    first_match,
    last_count,
    megabytes,
    messages,
    statistics,
)

OUTPUTS = "outputs.bin"

_SESSION = re.compile(rf"^Initialized session in ({NUMBER})\s?ms")
# TensorFlow 2, and 1.x, which says "no stats" or "Inference" for the measured runs.
_TIMINGS = re.compile(
    rf"^Inference timings in us: Init: ({NUMBER}), First inference: ({NUMBER}), "
    rf"Warmup \(avg\): ({NUMBER}), Inference \(avg\): ({NUMBER})"
)
_OLD_TIMINGS = re.compile(
    rf"^Average inference timings in us: Warmup: ({NUMBER}), Init: ({NUMBER}), "
    rf"(?:Inference|no stats): ({NUMBER})"
)
_MEMORY = re.compile(
    rf"^(?:Memory footprint delta from the start of the tool|Peak memory footprint) \(MB\): "
    rf"init=({NUMBER}) overall=({NUMBER})"
)
_PEAK = re.compile(rf"^Overall peak memory footprint \(MB\) via periodic monitoring: ({NUMBER})")
_DELEGATED = re.compile(
    r"the model graph will (?:be (completely|partially)|(not) be) executed by the delegate"
)
_REPLACED = re.compile(r"Replacing (\d+) out of (\d+) node\(s\) with delegate")
_TABLE = "Run Order"
_RUNS = "Operator-wise Profiling Info for Regular Benchmark Runs"


def arguments(
    plan: Plan,
    *,
    model: str,
    inputs: Mapping[str, tuple[Sequence[int], str]],
    outputs: str = OUTPUTS,
) -> list[str]:
    """Returns the tool's arguments. `inputs`: tensor name -> (shape, the file with its raw bytes)."""
    argv = [
        f"--graph={model}",
        f"--num_threads={plan.threads}",
        f"--warmup_runs={plan.warmup_runs}",
        f"--warmup_min_secs={plan.warmup_s:g}",
        f"--num_runs={plan.min_runs}",
        f"--min_secs={plan.min_s:g}",
        f"--max_secs={plan.max_s:g}",
        f"--use_xnnpack={'true' if plan.kernel == 'xnnpack' else 'false'}",
        "--report_peak_memory_footprint=true",
        f"--output_filepath={outputs}",
    ]
    if inputs:
        files = ",".join(f"{_escaped(name)}:{file}" for name, (_, file) in inputs.items())
        shapes = ":".join(",".join(map(str, shape)) for shape, _ in inputs.values())
        argv += [
            f"--input_layer={','.join(inputs)}",
            f"--input_layer_shape={shapes}",
            f"--input_layer_value_files={files}",
        ]
    return argv


def _escaped(name: str) -> str:
    return name.replace(":", r"\:")


def read(output: str) -> Printed | None:
    """Returns what the tool printed; None where it did not come to its results."""
    lines = messages(output)
    count = last_count(lines)
    timings, old = first_match(_TIMINGS, lines), first_match(_OLD_TIMINGS, lines)
    if count is None or not (timings or old):
        return None
    values = statistics(count)
    session, memory, peak = (first_match(one, lines) for one in (_SESSION, _MEMORY, _PEAK))
    mean = float(timings[4]) if timings else float(old[3]) if old else 0.0
    return Printed(
        **{**values, "mean_us": mean, "count": int(count[1])},
        init_us=float(timings[1]) if timings else float(old[2]) if old else _milliseconds(session),
        first_us=float(timings[2]) if timings else None,
        warmup_mean_us=float(timings[3]) if timings else float(old[1]) if old else None,
        init_bytes=megabytes(memory and memory[1]),
        overall_bytes=megabytes(memory and memory[2]),
        peak_bytes=megabytes(peak and peak[1]),
        delegated=_delegated(lines),
        ops=_ops(lines),
    )


def _milliseconds(match: re.Match[str] | None) -> float | None:
    return float(match[1]) * 1000 if match else None


def _delegated(lines: Sequence[str]) -> str | None:
    if said := first_match(_DELEGATED, lines):
        return {"completely": "all", "partially": "some"}.get(said[1] or "", "none")
    if replaced := first_match(_REPLACED, lines):
        return "all" if replaced[1] == replaced[2] else "some" if int(replaced[1]) else "none"
    return None


def _ops(lines: Sequence[str]) -> tuple[OpTime, ...]:
    """Returns the rows of the profile of the runs, in the order in which the ops ran."""
    start = next((i for i, line in enumerate(lines) if line.startswith(_RUNS)), None)
    rows: list[OpTime] = []
    if start is None:
        return ()
    table = iter(lines[start:])
    next((line for line in table if _TABLE in line), "")
    header = [cell.strip() for cell in next(table, "").split("\t")]
    for line in table:
        cells = dict(zip(header, (cell.strip() for cell in line.split("\t")), strict=False))
        try:
            rows.append(
                OpTime(
                    op=cells["[node type]"],
                    name=cells["[Name]"],
                    average_us=float(cells["[avg ms]"]) * 1000,
                    calls=int(cells["[times called]"]),
                )
            )
        except (KeyError, ValueError):  # the table ends with an empty line
            break
    return tuple(rows)

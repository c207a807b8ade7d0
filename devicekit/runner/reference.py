"""What a model computes on this host, to compare a device's outputs with."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devicekit.cache import sha256_file
from devicekit.device.local import LocalDevice
from devicekit.device.seam import DeviceFacts
from devicekit.device.temporary import folder_prefix
from devicekit.errors import DeviceError, MeasurementError
from devicekit.measurement import Plan
from devicekit.runner.measure import RunnableModel
from devicekit.runner.script import BOARD_SCRIPT, ScriptRunner, outputs_of, run_script
from devicekit.runner.tensors import read_inputs, write_golden

_ONCE = Plan(warmup_runs=0, warmup_s=0.0, min_runs=1, min_s=0.0)


@contextmanager
def reference(model: Path, facts: DeviceFacts) -> Iterator[Path | None]:
    """Yields a golden sample of `model` (runner.measure.RunnableModel), computed on this host.

    None where the device is this host, where the model takes text, and where it does not run here.
    """
    if facts.kind == "host" or not read_inputs(model, None):
        yield None
        return
    with tempfile.TemporaryDirectory(prefix=folder_prefix()) as folder:
        yield _computed(model, Path(folder))


def _computed(model: Path, folder: Path) -> Path | None:
    device, runner = LocalDevice(), ScriptRunner()
    try:
        prepared = runner.prepare(device, RunnableModel(model, sha256_file(model)))
        document = run_script(device, prepared, _ONCE, script=BOARD_SCRIPT)
        if "error" in document:
            return None
        outputs = outputs_of(device, prepared, document)
        later = outputs_of(device, prepared, document, side="later")
    except (MeasurementError, DeviceError):
        return None
    finally:
        device.close()
    return write_golden(model, outputs, later, folder / "golden.npz")

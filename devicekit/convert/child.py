"""The conversion child: source model -> float .tflite and reference outputs. TensorFlow stays in here."""

import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from devicekit.child import serve
from devicekit.convert.container import Header, format_of, read_header

FLOAT_NAME = "float.tflite"
REFERENCE_NAME = "reference.npz"


def handle(request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields {"phase": …} events, then {"result": …}; writes FLOAT_NAME and REFERENCE_NAME into "out_dir".

    The request: model (path), trust (bool), custom_objects (path or None), out_dir (an empty directory).
    """
    path, out_dir = Path(request["model"]), Path(request["out_dir"])
    yield {"phase": "reading"}
    header = read_header(path, format_of(path), trusted=request["trust"])
    yield {"phase": "loading"}
    # The converter's own files lie in ours, so that they go with them when this child is killed.
    with tempfile.TemporaryDirectory(dir=out_dir) as tempfile.tempdir:
        yield from _convert(path, header, request, out_dir)


def _convert(
    path: Path, header: Header, request: Mapping[str, Any], out_dir: Path
) -> Iterator[dict[str, Any]]:
    import numpy as np

    from devicekit.convert.load import load
    from devicekit.convert.lower import to_tflite, trace
    from devicekit.convert.verify import verify

    custom_objects = Path(request["custom_objects"]) if request["custom_objects"] else None
    loaded = load(
        path,
        header,
        trusted=request["trust"],
        custom_objects=custom_objects,
        scratch=Path(tempfile.gettempdir()),
    )
    yield {"phase": "converting"}
    function = trace(loaded)
    tflite = out_dir / FLOAT_NAME
    tflite.write_bytes(to_tflite(loaded, function))
    yield {"phase": "verifying"}
    verified = verify(path, function, tflite)
    np.savez(out_dir / REFERENCE_NAME, **verified.reference)
    yield {
        "result": {
            "kind": header.kind,
            "parameters": loaded.parameters,
            "max_difference": verified.max_difference,
            "notes": [*loaded.notes, *verified.notes],
        }
    }


if __name__ == "__main__":
    serve(handle)

"""Measures one .tflite through a Python Interpreter. Python >= 3.8.

For models that LiteRT's shared library refuses, and for machines that it is not built for. The same command
line and document as board_script.py, which must lie next to it. `lib` is the folder of the package
tflite_runtime; any other name stands for ai_edge_litert, installed here. Needs numpy, whose 20 MB are part of
the base.
"""

from __future__ import annotations

import importlib
import math
import os
import sys
from typing import Any

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import board_script  # type: ignore[import-not-found,unused-ignore]


class InterpreterRuntime:
    api = "interpreter"

    def __init__(self, library: str) -> None:
        try:
            if os.path.basename(library) == "tflite_runtime":
                sys.path.insert(0, os.path.dirname(os.path.abspath(library)))
                self.package = importlib.import_module("tflite_runtime.interpreter")
                self.version = importlib.import_module("tflite_runtime").__version__
            else:
                from importlib.metadata import version

                self.package = importlib.import_module("ai_edge_litert.interpreter")
                self.version = version("ai-edge-litert")
        except (ImportError, AttributeError) as error:  # numpy 2 gives the second
            needs = "the runtime needs numpy 1 there (on Debian: apt install python3-numpy)"
            last = str(error).strip().splitlines()[-1]  # numpy writes a page
            raise board_script.Failure(board_script.LIBRARY, f"{needs}: {last}") from error

    def open(self, path: str, threads: int, kernel: str) -> InterpreterModel:
        return InterpreterModel(self.package, path, threads, kernel)


class InterpreterModel:
    """An interpreter with its tensors: `call(*args)` is one inference."""

    def __init__(self, package: Any, path: str, threads: int, kernel: str) -> None:
        Interpreter, OpResolverType = package.Interpreter, package.OpResolverType
        resolver = OpResolverType.AUTO
        if kernel == "builtin":
            resolver = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES
        try:
            self.interpreter = Interpreter(path, num_threads=threads, experimental_op_resolver_type=resolver)
            self.interpreter.allocate_tensors()
        except (RuntimeError, ValueError) as error:
            raise board_script.Failure(board_script.REFUSED, str(error)) from error
        self.inputs = self._ports(self.interpreter.get_input_details(), "inputs")
        self.args = ()

    @property
    def outputs(self) -> list[Any]:
        return self._ports(self.interpreter.get_output_details(), "outputs")

    def call(self) -> int:
        try:
            self.interpreter.invoke()
        except (RuntimeError, ValueError) as error:
            raise board_script.Failure(board_script.INVOKE, str(error)) from error
        return 0

    def feed(self, index: int, path: str | None) -> None:
        import numpy as np

        port, detail = self.inputs[index], self.interpreter.get_input_details()[index]
        if _is_text(detail):  # get_tensor would crash before the strings are set
            self.interpreter.set_tensor(detail["index"], np.full(port.dims, b"", dtype=object))
            return
        data = np.zeros(port.bytes, np.uint8) if path is None else np.fromfile(path, np.uint8)
        if data.nbytes != port.bytes:
            words = f"input {port.name} takes {port.bytes} bytes, its file has {data.nbytes}"
            raise board_script.Failure(board_script.BAD_INPUT, words)
        self.interpreter.set_tensor(detail["index"], data.view(detail["dtype"]).reshape(port.dims))

    def save(self, index: int, path: str) -> None:
        value = self.interpreter.get_tensor(self.interpreter.get_output_details()[index]["index"])
        with open(path, "wb") as file:
            file.write(value.tobytes())

    def _ports(self, details: list[dict[str, Any]], side: str) -> list[Any]:
        import numpy as np

        names = self._signature_names(side)
        ports = []
        for detail in details:
            dims = [int(dim) for dim in detail["shape"]]
            known = names.get(int(detail["index"]), [])
            name = known.pop(0) if known else detail["name"]
            port = board_script.Port(name, detail["name"], -1, dims)
            if not _is_text(detail):
                port.bytes = np.dtype(detail["dtype"]).itemsize * math.prod(dims)
            ports.append(port)
        return ports

    def _signature_names(self, side: str) -> dict[int, list[str]]:
        """Returns tensor index -> its names in the first signature; empty where there is none.

        Of two outputs that are one tensor, the list of outputs holds the tensor twice.
        """
        names: dict[int, list[str]] = {}
        for signature in self.interpreter._get_full_signature_list().values():
            for name, index in signature[side].items():
                names.setdefault(int(index), []).append(name)
            break
        return names


def _is_text(detail: dict[str, Any]) -> bool:
    return issubclass(detail["dtype"], (bytes, str))


if __name__ == "__main__":
    exit_code = board_script.main(sys.argv[1:], InterpreterRuntime)
    sys.stderr.flush()
    os._exit(exit_code)

"""Recipes that fail, for test_build.py: the child that runs them finds them through PYTHONPATH."""

import ctypes
import time
from typing import Any


def crashes(float_model: bytes, calibration: Any) -> bytes:
    return ctypes.string_at(0)


def hangs(float_model: bytes, calibration: Any) -> bytes:
    time.sleep(600)
    return float_model


def raises(float_model: bytes, calibration: Any) -> bytes:
    raise KeyError("an error\nof two lines")


def eats_memory(float_model: bytes, calibration: Any) -> bytes:
    return bytes(8 << 30)


def tells_its_memory_limit(float_model: bytes, calibration: Any) -> bytes:
    import resource

    raise RuntimeError(f"limited to {resource.getrlimit(resource.RLIMIT_DATA)[0]} bytes")


def unquantized(float_model: bytes, calibration: Any) -> bytes:
    return float_model


def returns_nonsense(float_model: bytes, calibration: Any) -> bytes:
    return b"no model"


def not_finite(float_model: bytes, calibration: Any) -> bytes:
    import numpy as np
    from ai_edge_litert.tools import flatbuffer_utils

    tree = flatbuffer_utils.read_model_from_bytearray(bytearray(float_model))
    largest = max(tree.buffers, key=lambda buffer: 0 if buffer.data is None else len(buffer.data))
    nans = np.full(len(largest.data) // 4, np.nan, np.float32)
    largest.data = np.frombuffer(nans.tobytes(), np.uint8)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(tree))

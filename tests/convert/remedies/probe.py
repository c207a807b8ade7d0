"""Applies the catalogue to small functions, and runs both in LiteRT: `probe.py CASES.py RESULT.json`.

CASES.py defines CASES: name -> (function, shape or tf.TensorSpec, ...). The result is, for each name, the
`rewrites` (remedy -> difference from TensorFlow), the builtin `ops`, what the converter finds `missing` (or
how LiteRT refuses the file), and `litert`, the largest difference of LiteRT from TensorFlow.
"""

import json
import os
import re
import runpy
import sys

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter

from devicekit.convert.remedies import REMEDIES
from devicekit.convert.remedies.emit import all_ops, emitted
from devicekit.convert.remedies.proof import FLOOR, difference, distance
from devicekit.plugins import resolve


def traced(function, specs):
    def call(*tensors):
        return {f"out{i}": value for i, value in enumerate(tf.nest.flatten(function(*tensors)))}

    return tf.function(call, input_signature=specs, autograph=False).get_concrete_function()


def rewritten(function):
    """Returns the function under all remedies of ops, and their differences."""
    found = {}
    for name, target in REMEDIES.items():
        remedy, ops = resolve(target), list(all_ops(function.graph))
        is_concerned = "*" in remedy.rules or any(op.type in remedy.rules for op in ops)
        if not is_concerned or not remedy.recognises(ops):
            continue
        new, concerned = emitted(function, remedy.rules)
        if concerned:
            found[name] = difference(function, new)
            function = new
    return function, found


def inputs(specs, generator, *, low, high):
    for spec in specs:
        if spec.dtype.is_integer:
            yield generator.integers(0, 6, spec.shape).astype(spec.dtype.as_numpy_dtype)
        else:
            yield generator.uniform(low, high, spec.shape).astype(spec.dtype.as_numpy_dtype)


def in_litert(data, specs, function):
    """Returns the largest difference of LiteRT from TensorFlow, and the names of its ops."""
    interpreter = Interpreter(model_content=data, num_threads=1)
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner()
    generator = np.random.default_rng(0)
    largest = 0.0
    for low, high in ((0, 1), (-3, 3)):
        feed = list(inputs(specs, generator, low=low, high=high))
        wanted = function(*map(tf.constant, feed))
        actual = runner(**{spec.name: value for spec, value in zip(specs, feed, strict=True)})
        for name, value in wanted.items():
            largest = max(largest, distance(value.numpy(), actual[name], floor=FLOOR))
    names = {op["op_name"] for op in interpreter._get_ops_details()} - {"DELEGATE"}
    return largest, sorted(names)


def probe(function, *shapes):
    specs = [
        tf.TensorSpec(getattr(shape, "shape", shape), getattr(shape, "dtype", tf.float32), name=f"in{i}")
        for i, shape in enumerate(shapes)
    ]
    given = traced(function, specs)
    new, rewrites = rewritten(given)
    converter = tf.lite.TFLiteConverter.from_concrete_functions([new], tf.Module())
    try:
        largest, ops = in_litert(converter.convert(), specs, given)
    except Exception as error:
        found = re.findall(r"^(?:TF Select|Custom) ops: (.+)$", str(error), flags=re.M)
        return {"rewrites": rewrites, "missing": found or [str(error)], "ops": [], "litert": None}
    return {"rewrites": rewrites, "missing": [], "ops": ops, "litert": largest}


if __name__ == "__main__":
    cases = runpy.run_path(sys.argv[1])["CASES"]
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        json.dump({name: probe(*case) for name, case in cases.items()}, file)

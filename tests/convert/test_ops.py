"""The ops that need no trust are what TensorFlow's registry says of them."""

import json
import os
import subprocess
import sys

import pytest

from devicekit.convert.ops import COMPUTING_OPS, SAVER_OPS, STATEFUL_OPS, STATELESS_OPS

# Prints [name, is_stateful] of every op that tf.raw_ops has.
REGISTRY = """
import json
import tensorflow as tf
from tensorflow.python.framework import op_def_registry
found = {name: op_def_registry.get(name) for name in dir(tf.raw_ops)}
print(json.dumps({name: op.is_stateful for name, op in found.items() if op}))
"""


@pytest.mark.slow
def test_the_lists_agree_with_the_registry_of_this_tensorflow() -> None:
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
    printed = subprocess.run([sys.executable, "-c", REGISTRY], env=quiet, check=True, capture_output=True)
    is_stateful = json.loads(printed.stdout)
    assert len(is_stateful) > 1000
    assert {name for name in STATELESS_OPS if is_stateful.get(name) is not False} == set()
    assert {name for name in STATEFUL_OPS if is_stateful.get(name) is not True} == set()
    assert set(is_stateful) >= SAVER_OPS


def test_no_computing_op_is_of_a_family_that_reaches_files_or_machines() -> None:
    families = ("File", "Dataset", "Iterator", "Summary", "Reader", "PyFunc", "Debug", "Checkpoint", "Rpc")
    suspicious = {op for op in COMPUTING_OPS if any(family in op for family in families)}
    assert suspicious == set()
    assert not COMPUTING_OPS & {*SAVER_OPS, "Save", "Restore", "PrintV2", "Send", "Recv", "RemoteCall"}

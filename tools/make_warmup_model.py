"""Writes devicekit/runner/warmup.tflite: the tiny model that warms the runtime before a measurement.

One fully connected op with random weights of a fixed seed, made here; running it pulls in XNNPACK's pages.
A test compares the file with what this script writes.
"""

from devicekit.testing import warmup_model, write_dense_model

if __name__ == "__main__":
    write_dense_model(warmup_model())

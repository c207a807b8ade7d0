"""Models and options that cannot be: what the user reads, and the exit code."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

LAYER = """import keras
class My(keras.layers.Layer):
    def build(self, shape):
        self.w = self.add_weight(name="w", shape=(int(shape[-1]),))
    def call(self, inputs):
        BODY
        return inputs
"""


def devicekit(*argv: str | Path, cwd: Path) -> tuple[int, list[str]]:
    """Returns the exit code and the lines on stderr."""
    command = [sys.executable, "-c", "from devicekit.cli import main; main()", *map(str, argv)]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, env={**os.environ})
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr.splitlines()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "found", "remedy"),
    [
        (
            "while True: pass",
            "does not convert: loading it timed out: no progress for 8 s",
            "give it more time, or export the model again without what makes it large",
        ),
        (
            "return self.call(inputs)",
            "call (own.py:6) raises RecursionError: maximum recursion depth exceeded",
            "correct it in own.py, line 6",
        ),
    ],
    ids=["hangs", "recurses"],
)
def test_a_layer_that_never_ends(data: Path, tmp_path: Path, body: str, found: str, remedy: str) -> None:
    (tmp_path / "own.py").write_text(LAYER.replace("BODY", body))
    model = data / "legacy_h5" / "tf2.4" / "custom_layer.h5"
    options = ("-p", "pixel7", "--custom-objects", "own.py", "--timeout", "8" if "while" in body else "120")
    code, lines = devicekit("check", model, *options, "-q", cwd=tmp_path)
    assert (code, len(lines), lines[-1]) == (3, 2, f"  → {remedy}")
    assert lines[0].startswith(f"error: {model}") and found in lines[0]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "found", "remedy"),
    [
        (
            "image=1,a",
            "Invalid value for '--shape': \"image=1,a\": expected NAME=SIZES, as in image=1,224,224,3",
            "`devicekit check --help` shows how",
        ),
        (
            "image=2,8,8,1",
            "--shape image=2,8,8,1: the first size is the batch, expected 1",
            "write --shape image=1,8,8,1",
        ),
        (
            "image=1,9,9,1",
            '--shape image=1,9,9,1: digits.h5 takes "image" as [?, 8, 8, 1]',
            "leave out --shape image: all its sizes are fixed",
        ),
        (
            "imag=1,8,8,1",
            '--shape imag: digits.h5 has no input "imag"; did you mean image?',
            "name one of its inputs: image",
        ),
    ],
)
def test_a_shape_that_cannot_be(data: Path, tmp_path: Path, shape: str, found: str, remedy: str) -> None:
    argv = ("check", data / "digits.h5", "-p", "pixel7", "--shape", shape, "-q")
    assert devicekit(*argv, cwd=tmp_path) == (2, [f"error: {found}", f"  → {remedy}"])

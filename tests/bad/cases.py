"""What the kit must say of each model of tests/bad; shared by the tests and `tools/bench quality`."""

import re
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import devicekit
from devicekit.errors import UsageError
from devicekit.pipeline.deployment import Conversion
from devicekit.profile.lookup import load_profile

ROOT = Path(__file__).parents[2]
DIGITS = ROOT / "tests" / "data" / "digits.h5"
PROFILE = "pixel7"
MODELS = "tests.bad.build"


@dataclass(frozen=True)
class Bad:
    """A model, or the digits where `data` names theirs; `names` are patterns of what the kit must say."""

    model: str
    names: Sequence[str]
    data: str = ""


BAD = (
    Bad("boxes_then_scores", [r"cosine of pred\[…, [456]\]", r"one step of pred\[…, [456]\]"]),
    Bad("scores_then_boxes_by_anchor", [r"cosine of pred\[…, [012]\]", r"one step of pred\[…, [012]\]"]),
    Bad("channels_before_anchors", [r"cosine of pred\[:, [456]\]", r"one step of pred\[:, [456]\]"]),
    Bad("kelvin_and_humidity", [r"cosine of weather\[…, [01]\]", r"one step of weather\[…, 0\]"]),
    Bad("kelvin", ["one step of kelvin is"]),
    Bad("three_temperatures", [r"one step of body\[…, [012]\]"]),
    Bad("many_classes", ["one step of classes is .* of its usual highest probability"]),
    Bad("rescaling_inside", [r"x: values span 0\.\..*\(scale \(Rescaling\)\) takes 0\.\.255"]),
    Bad("float_indices", ["x holds indices into a table of 1000"]),
    Bad("dead", ["the same outputs", "--accept-data"]),
    Bad("digits", ["image look 255 times smaller", "--accept-data"], data="digits_bytes"),
    Bad("digits", ["labels, as guessing among 10 classes", "--accept-data"], data="digits_labels"),
)


def built(folder: Path) -> Path:
    """Writes all models and data into `folder`, in a process of its own."""
    subprocess.run([sys.executable, "-m", MODELS, str(folder)], cwd=ROOT, check=True)
    return folder


def said_of(bad: Bad, folder: Path) -> str:
    """Returns what `convert --recipe int8 --profile pixel7` says against the model, or its data."""
    model = DIGITS if bad.model == "digits" else folder / f"{bad.model}.keras"
    data = folder / f"{bad.data or bad.model}.npz"
    target = folder / f"{bad.data or bad.model}.tflite"
    try:
        made = _converted(model, data, target)
    except UsageError as error:
        return f"{error.message} → {error.remedy}"
    int8 = made.candidates[0]
    return "; ".join([*made.data.warnings, *(finding.detail for finding in int8.findings)])


def _converted(model: Path, data: Path, target: Path) -> Conversion:
    profile = load_profile(PROFILE)
    recipes = profile.recipes.model_copy(update={"try_": ("int8", "dynamic_int8")})
    only = profile.model_copy(update={"recipes": recipes})
    return devicekit.convert(model, profile=only, data=str(data), path=target, overwrite=True)


def missing(bad: Bad, said: str) -> list[str]:
    """Returns the words that were not said."""
    return [words for words in bad.names if not re.search(words, said)]

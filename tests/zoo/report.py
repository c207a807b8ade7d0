"""The zoo's results as the committed record: outcomes.json (no digits), and the table in README.md."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.zoo.run import WRITERS
from tests.zoo.table import ZOO

HERE = Path(__file__).parent
README = HERE / "README.md"
OUTCOMES = HERE / "outcomes.json"
RECIPES = ("float32", "float16", "dynamic_int8", "weight_int8", "int8", "int16x8")

Results = Mapping[str, Any]

_HEAD = """# The zoo: {count} small architectures through the whole kit

Written by `python -m tests.zoo`: do not edit. Each architecture is built in code with random weights,
saved by tf_keras as a legacy `.h5` and by Keras 3 as a `.keras`, and deployed on the profile `zoo.toml`
with data of its kind. Then a check that shares nothing with the kit's own runs every file that the kit
calls good in LiteRT, on other inputs, against the outputs that Keras recorded while it saved the model: at
most 1e-3 of the largest value apart (float32), finite, with built-in operators only, quantized as the
recipe says, and as close as the kit says.

{totals}

How to read a row: the difference between Keras and the float32 .tflite, the cosine of int8 (else that of
dynamic_int8), then the recipes that cannot be had, and the remedies that the kit applied. ✗ is a model that
does not convert; the reasons stand below. Half precision is compared with the same weights in float32.
Recipes: {recipes}.

| architecture | what it is | .h5 | .keras |
|---|---|---|---|
"""


def files_of(name: str) -> list[str]:
    """Returns the files that an architecture is saved as."""
    entry = ZOO[name]
    reasons = {".h5": entry.no_h5, ".keras": entry.no_keras}
    return [f"{name}{suffix}" for suffix in WRITERS if not reasons[suffix]]


def good_recipes(result: Results) -> list[str]:
    return [name for name, one in result.get("recipes", {}).items() if one["status"] == "good"]


def silent_failures(results: Results) -> list[str]:
    """Returns every file that the kit calls good and the check does not, and every crash."""
    found = []
    for file, result in results["files"].items():
        for recipe, one in result.get("recipes", {}).items():
            found += [f"{file}, {recipe}: {problem}" for problem in one["problems"]]
        if result["outcome"] in ("crashed", "not saved"):
            found.append(f"{file}: {result['outcome']}, {result['message']}")
    return found


def outcomes(results: Results) -> dict[str, dict[str, Any]]:
    """Returns per file what must stay as it is from run to run: no digits."""
    return {file: outcome(result) for file, result in results["files"].items()}


def outcome(result: Results) -> dict[str, Any]:
    if result["outcome"] == "converted":
        return {"outcome": "converted", "recipes": good_recipes(result), "rewrites": result["rewrites"]}
    if result["outcome"] == "refused":
        return {
            "outcome": "refused",
            "kind": result["kind"],
            "layer": result["layer"],
            "reason": without_digits(without_path(result["message"])),
            "remedy": without_digits(without_path(result["remedy"])),
        }
    return {"outcome": result["outcome"]}


def dumped(document: Mapping[str, Any]) -> str:
    """Returns the JSON with a line per file, for readable differences."""
    lines = (
        f" {json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in document.items()
    )
    return "{\n" + ",\n".join(lines) + "\n}\n"


def converted(results: Results) -> tuple[list[str], list[str]]:
    """Returns the architectures whose every file here converts, and those that could: all but the refused."""
    tried = {Path(file).stem for file in results["files"]}
    possible = [name for name in ZOO if name in tried and not ZOO[name].refused]
    failed = {Path(file).stem for file, one in results["files"].items() if one["outcome"] != "converted"}
    return [name for name in possible if name not in failed], possible


def in_one_line(results: Results) -> str:
    files = list(results["files"].values())
    count = sum(result["outcome"] == "converted" for result in files)
    return f"{count} of {len(files)} files convert, {len(silent_failures(results))} silent failures"


def render(results: Results) -> str:
    """Returns README.md."""
    head = _HEAD.format(count=len(ZOO), totals=_totals(results), recipes=", ".join(RECIPES))
    rows = [
        f"| {name} | {entry.what} | {_cell(results, name, '.h5', entry.no_h5)} "
        f"| {_cell(results, name, '.keras', entry.no_keras)} |"
        for name, entry in ZOO.items()
    ]
    parts = [head + "\n".join(rows), _refusals(results), _missing_recipes(results)]
    failures = silent_failures(results)
    if failures:
        parts.append("## Silent failures\n\n" + "\n".join(f"- {line}" for line in failures))
    return "\n\n".join(parts) + "\n"


def without_digits(markdown: str) -> str:
    """Returns the text without what differs from run to run: measured numbers."""
    return re.sub(r"(?<![\w.])\d+(\.\d+)?(e-?\d+)?(?![\w])", "N", markdown)


def without_path(message: str) -> str:
    return re.sub(r"\S*/(?=[\w.-]+\.(h5|keras|py|tflite)\b)", "", message)


def _totals(results: Results) -> str:
    good, possible = converted(results)
    files = results["files"].values()
    count = sum(result["outcome"] == "converted" for result in files)
    recurrent = [f for n in ZOO if ZOO[n].is_recurrent for f in files_of(n)]
    small = [f for f in recurrent if {"int8", "dynamic_int8"} & set(good_recipes(results["files"][f]))]
    lines = [
        f"- architectures: {len(ZOO)}, of which {len(possible)} can run on a device at all",
        f"- converted, built-in operators only, equal to Keras: {len(good)} of {len(possible)} "
        f"architectures ({len(good) / len(possible):.1%}); {count} of {len(files)} files",
        f"- silent failures: {len(silent_failures(results))}",
        f"- recurrent files with int8 or dynamic_int8: {len(small)} of {len(recurrent)}",
    ]
    for recipe in RECIPES[1:]:
        with_it = sum(recipe in good_recipes(result) for result in files)
        lines.append(f"- {recipe}: {with_it} of {count} converted files")
    return "\n".join(lines)


def _cell(results: Results, name: str, suffix: str, no_file: str) -> str:
    if no_file:
        return f"n/a: {no_file}"
    result = results["files"][f"{name}{suffix}"]
    if result["outcome"] != "converted":
        return f"✗ {result['outcome']}"
    recipes = result["recipes"]
    words = [_size(recipes["float32"]["difference"])]
    smallest = next((r for r in ("int8", "dynamic_int8") if recipes[r]["status"] == "good"), None)
    if smallest:
        words.append(f"{smallest} {recipes[smallest]['cosine']:.4f}")
    missing = [recipe for recipe in RECIPES if recipe not in good_recipes(result)]
    if missing:
        words.append(f"no {', '.join(missing)}")
    if result["rewrites"]:
        words.append(f"*{', '.join(result['rewrites'])}*")
    words += [{"before": "preprocess.py", "after": "postprocess.py"}[side] for side in result["outside"]]
    return "; ".join(words).replace("|", "\\|")


def _refusals(results: Results) -> str:
    lines = ["## What does not convert, and what the kit says"]
    for file, result in results["files"].items():
        if result["outcome"] != "converted":
            message = without_path(result.get("message", result["outcome"]))
            where = f" (layer {result['layer']})" if result.get("layer") else " (names no layer)"
            lines.append(f"- **{file}**{where}: {message} → {without_path(result.get('remedy', ''))}")
    return "\n".join(lines if len(lines) > 1 else [*lines, "Nothing."])


def _missing_recipes(results: Results) -> str:
    """Returns why recipes cannot be had, the files of each reason together."""
    reasons: dict[str, list[str]] = {}
    for file, result in results["files"].items():
        if result["outcome"] == "converted":
            for recipe, one in result["recipes"].items():
                if one["status"] != "good":
                    key = f"{recipe}: {without_digits('; '.join(one['findings']))}"
                    reasons.setdefault(key, []).append(file)
    lines = [f"- {reason} — {_listed(files)}" for reason, files in sorted(reasons.items())]
    return "\n".join(["## Recipes that cannot be had, and why", *(lines or ["All can."])])


def _listed(files: Sequence[str]) -> str:
    """Returns "lstm, gru.h5": a name alone where both of its files are meant."""
    return ", ".join(_each(files))


def _each(files: Sequence[str]) -> Iterator[str]:
    for name in dict.fromkeys(file.rpartition(".")[0] for file in files):
        mine = [file for file in files if file.rpartition(".")[0] == name]
        yield from [name] if mine == files_of(name) else mine


def _size(difference: float) -> str:
    return f"{difference:.0e}"

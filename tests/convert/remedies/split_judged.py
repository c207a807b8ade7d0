"""Splits whose part outside computes something else: `split_judged.py MODELS OUT`.

MODELS is what make_split_models.py wrote. OUT/result.json holds, for each split of TABLE, the roles of the
`parts` that were taken out, why it was `refused`, and the `files` that it left.
"""

import json
import os
import sys
from dataclasses import replace
from pathlib import Path
from tempfile import mkdtemp

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

from devicekit.convert.container import format_of, read_header
from devicekit.convert.inside.load import load
from devicekit.convert.inside.lower import trace
from devicekit.convert.inside.outside import set_apart
from devicekit.convert.remedies import boxes_outside, text_outside


def changed(remedy, change):
    """The remedy with `change(split)` in place of its split."""
    return replace(remedy, split=lambda *arguments: change(remedy.split(*arguments)))


def other_vocabulary(split):
    constants = json.loads(json.dumps(split.constants))
    constants["tokens"]["indices"]["movie"] += 1
    return replace(split, constants=constants)


def other_scores(split):
    return replace(split, call=split.call.replace("'scores': scores", "'scores': 0.5 * scores"))


def broken(split):
    return replace(split, call=split.call.replace("return", "raise ValueError('no such thing')\n    return"))


text = text_outside.REMEDY
wrong_text = changed(text, other_vocabulary)
broken_text = changed(text, broken)
boxes = boxes_outside.REMEDY
wrong_boxes = changed(boxes, other_scores)

TABLE = {
    "text": "review_modern.keras",
    "wrong_text": "review_modern.keras",
    "broken_text": "review_modern.keras",
    "boxes": "detector_modern",
    "wrong_boxes": "detector_modern",
}


def main() -> None:
    models, out = map(Path, sys.argv[1:])
    results = {}
    for name, model in TABLE.items():
        folder = out / name
        folder.mkdir()
        path = models / model
        header = read_header(path, format_of(path), trusted=False, functions=())
        loaded = load(
            path, header, trusted=False, custom_objects=None, shapes={}, scratch=Path(mkdtemp(dir=out))
        )
        apart = set_apart(loaded, trace(loaded), trace, table={name: f"__main__:{name}"}, out_dir=folder)
        results[name] = {
            "parts": [part.role for part in apart.parts],
            "refused": [str(one) for one in apart.refused],
            "files": sorted(file.name for file in folder.iterdir()),
        }
    (out / "result.json").write_text(json.dumps(results))


if __name__ == "__main__":
    main()

"""The conversion: load, rewrite, lower, verify. It imports TensorFlow, once the reader has decided."""

import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from devicekit.convert.container import Header
from devicekit.convert.inside.batch import mixed_samples
from devicekit.convert.inside.load import Loaded, layers_in, load
from devicekit.convert.inside.lower import to_tflite, trace, with_outputs
from devicekit.convert.inside.outside import Apart, refuse_strings, set_apart, with_reasons
from devicekit.convert.inside.told import told_of
from devicekit.convert.inside.verify import verify
from devicekit.convert.remedies import REMEDIES
from devicekit.convert.remedies.apply import Rewritten, rewritten
from devicekit.convert.remedies.variables import keeps_state
from devicekit.convert.source import FLOAT_NAME, REFERENCE_NAME
from devicekit.errors import Unsupported
from devicekit.graph.read import read_graph


def conversion(
    path: Path, header: Header, request: Mapping[str, Any], out_dir: Path
) -> Iterator[dict[str, Any]]:
    """Yields the rest of child.handle's events, of a file whose header is read and allowed."""
    custom_objects = Path(request["custom_objects"]) if request["custom_objects"] else None
    loaded = load(
        path,
        header,
        trusted=request["trust"],
        custom_objects=custom_objects,
        shapes=request["shapes"],
        scratch=Path(tempfile.gettempdir()),
    )
    yield {"phase": "converting"}
    function = trace(loaded)
    mixed = mixed_samples(loaded, function)
    apart, model = Apart(function, trace), Rewritten(function, function)
    if request["rewrite"]:
        apart = set_apart(loaded, function, trace, table=REMEDIES, out_dir=out_dir)
    refuse_strings(path, apart, may_rewrite=request["rewrite"])
    if request["rewrite"]:
        asked_for = ["stateless"] if request["stateless"] else []
        model = rewritten(loaded, apart.function, apart.trace, asked_for=asked_for)
    tflite = out_dir / FLOAT_NAME
    try:
        unverified = _lowered(loaded, model, request, tflite)
    except Unsupported as error:
        raise with_reasons(error, apart.refused) from error
    yield {"phase": "verifying"}
    layers = with_outputs(layers_in(loaded), model.function)
    told = told_of(model.function, layers)
    verified = verify(
        path, function, tflite, unverified=unverified, apart=apart, inner=model.reference, told=told
    )
    np.savez(out_dir / REFERENCE_NAME, **verified.reference)
    yield {
        "result": {
            "kind": header.kind,
            "parameters": loaded.parameters,
            "max_difference": verified.max_difference,
            "notes": [
                *loaded.notes,
                *mixed,
                *apart.all_notes,
                *model.notes,
                *_of_state(request, model),
                *verified.notes,
            ],
            "rewrites": [one.to_json() for one in (*apart.rewrites, *model.rewrites)],
            "outside": [part.to_json() for part in apart.parts],
            "layers": asdict(layers),
            "told": {name: one.to_json() for name, one in told.items()},
            "unverified": unverified,
        }
    }


def _of_state(request: Mapping[str, Any], model: Rewritten) -> Iterator[str]:
    """Yields what --stateless did not do, where it was asked for."""
    if not request["stateless"]:
        return
    if keeps_state(model.function):
        yield "--stateless knows the states of Keras's RNNs alone: this model keeps another"
    elif all(rewrite.remedy != "stateless" for rewrite in model.rewrites):
        yield "--stateless changes nothing: no layer of the model is stateful"


def _lowered(loaded: Loaded, model: Rewritten, request: Mapping[str, Any], tflite: Path) -> str | None:
    """Writes the .tflite; returns why it cannot be run here, None where it can.

    Flex and custom ops are the last resort, and only as far as the request allows them.
    """

    try:
        tflite.write_bytes(to_tflite(loaded, model.function, holds=model.holds))
    except Unsupported as error:
        if not (request["flex"] or request["custom_ops"]):
            raise
        own = to_tflite(
            loaded,
            model.function,
            holds=model.holds,
            flex=request["flex"],
            custom_ops=bool(request["custom_ops"]),
        )
        tflite.write_bytes(own)
        labels = {op.label for op in read_graph(tflite).ops if op.custom_code}
        foreign = labels - set(request["custom_ops"])
        if any(not name.startswith("Flex") for name in foreign):
            raise error from None
        names = ", ".join(sorted(labels))
        return f"{names}: LiteRT has no kernel here, so it was not compared with Keras"
    return None

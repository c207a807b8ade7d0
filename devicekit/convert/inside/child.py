"""The conversion child: decides on a file before anything that loads models is imported."""

import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from devicekit.convert.container import format_of, read_header
from devicekit.convert.inside.environment import environment_for
from devicekit.convert.objects import functions_in


def handle(request: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yields {"phase": …} events, then {"result": …}; writes FLOAT_NAME and REFERENCE_NAME into "out_dir".

    What runs outside the model is written there too: see inside.outside.set_apart.

    The request: model (path), trust (bool), custom_objects (path or None), shapes ({input: sizes}), rewrite
    (bool), stateless (bool), custom_ops (names), flex (bool), out_dir (an empty directory).
    """
    path, out_dir = Path(request["model"]), Path(request["out_dir"])
    yield {"phase": "reading"}
    own = Path(request["custom_objects"]) if request["custom_objects"] else None
    functions = functions_in(own)
    header = read_header(path, format_of(path), trusted=request["trust"], functions=functions)
    yield {"phase": "loading"}
    # TensorFlow and tf_keras come in only now that the file is decided on, and read the environment.
    os.environ.update(environment_for(path, header))
    from devicekit.convert.inside.conversion import conversion

    # The converter's own files lie in ours, so that they go with them when this child is killed.
    with tempfile.TemporaryDirectory(dir=out_dir) as tempfile.tempdir:
        yield from conversion(path, header, request, out_dir)

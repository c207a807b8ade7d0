"""`build` as the pipeline calls it: with the second source of int8 beside it."""

from functools import partial

from devicekit.pipeline.screening import SECOND_SOURCE
from devicekit.quantize import build as quantizer

build = partial(quantizer.build, second_source=SECOND_SOURCE)

"""What to use in place of a TensorFlow op that LiteRT has no builtin kernel for, and what that costs."""

from collections.abc import Iterable, Sequence
from typing import Any

from devicekit.check.finding import Finding
from devicekit.graph.layers import Layers

_LINEAR_ALGEBRA = "solve it outside the model, or learn the result with a Dense layer: costs retraining"
_SPECIAL = "fit a polynomial or a small lookup by linear interpolation: costs accuracy outside its range"
_STRINGS = "look strings up outside the model and feed it the indices: costs a vocabulary file beside it"
_PYTHON = "write the layer with keras.ops: Python functions cannot run on a device"
_RANDOM = "re-save the model for inference (training=False), or feed the random values as an input"
_COMPLEX = "keep real and imaginary part as two tensors, with constant DFT matrices: costs N² MACs per axis"
_HISTOGRAM = "sum one-hot rows, keras.ops.sum(keras.ops.one_hot(x, depth), -2): costs N·depth memory"
_SEGMENTS = "multiply with a one-hot matrix of the segments: costs N·segments MACs"
_BOXES = "keep decoding and non-maximum suppression outside the model: costs a step in the app"
_IMAGES = "resize or warp before the model, or use bilinear Resizing: outputs change, so fine-tune"
_POOL = "pool in two steps with MaxPooling2D or AveragePooling2D: costs two reshapes"
_BITS = "use integer division and remainder by powers of two: costs two ops per bit"
_UNKNOWN = "replace the layer by one of builtin ops, or move that step out of the model"

# TensorFlow op -> the nearest supported equivalent and its cost, as one instruction.
INSTEAD = {
    "Acos": "compute it by atan2(sqrt(1 - x²), x): costs four ops",
    "AdjustHue": _IMAGES,
    "Asin": "compute it by atan2(x, sqrt(1 - x²)): costs four ops",
    "AvgPool3D": _POOL,
    "Betainc": _SPECIAL,
    "Bincount": _HISTOGRAM,
    "BitwiseAnd": _BITS,
    "BitwiseOr": _BITS,
    "Bucketize": "sum comparisons with the boundaries: costs N·boundaries memory",
    "Cholesky": _LINEAR_ALGEBRA,
    "CombinedNonMaxSuppression": _BOXES,
    "CropAndResize": _BOXES,
    "Cumprod": "use exp(cumsum(log(x))) for positive x: costs two ops, and accuracy for many factors",
    "DenseBincount": _HISTOGRAM,
    "Digamma": _SPECIAL,
    "Dilation2D": "use MaxPooling2D for a flat structuring element: no cost",
    "EagerPyFunc": _PYTHON,
    "Eig": _LINEAR_ALGEBRA,
    "Erfinv": _SPECIAL,
    "ExtractImagePatches": "use a convolution with an identity kernel: costs its MACs",
    "FFT": _COMPLEX,
    "FFT2D": _COMPLEX,
    "FFT3D": _COMPLEX,
    "FractionalMaxPool": "use MaxPooling2D with a fixed size: outputs change, so fine-tune",
    "HSVToRGB": _IMAGES,
    "HashTableV2": "index with the integer itself, or compare with constant keys: costs N·keys memory",
    "IFFT": _COMPLEX,
    "IFFT2D": _COMPLEX,
    "IRFFT": _COMPLEX,
    "Igamma": _SPECIAL,
    "Igammac": _SPECIAL,
    "ImageProjectiveTransformV2": _IMAGES,
    "ImageProjectiveTransformV3": _IMAGES,
    "Lgamma": _SPECIAL,
    "LookupTableFindV2": "compare with constant keys: costs N·keys memory",
    "MatrixDeterminant": _LINEAR_ALGEBRA,
    "MatrixInverse": _LINEAR_ALGEBRA,
    "MatrixSolve": _LINEAR_ALGEBRA,
    "MatrixTriangularSolve": _LINEAR_ALGEBRA,
    "MaxPool3D": _POOL,
    "MaxPoolWithArgmax": "use MaxPooling2D, UpSampling2D in place of unpooling: fine-tune",
    "NonMaxSuppressionV3": _BOXES,
    "PyFunc": _PYTHON,
    "PyFuncStateless": _PYTHON,
    "Qr": _LINEAR_ALGEBRA,
    "RGBToHSV": _IMAGES,
    "RaggedTensorToTensor": _STRINGS,
    "RandomGamma": _RANDOM,
    "RandomShuffle": _RANDOM,
    "ResizeArea": _IMAGES,
    "ResizeBicubic": _IMAGES,
    "ScaleAndTranslate": _IMAGES,
    "SegmentMean": _SEGMENTS,
    "SelfAdjointEigV2": _LINEAR_ALGEBRA,
    "StatelessRandomGetKeyCounter": _RANDOM,
    "StatelessRandomNormalV2": _RANDOM,
    "StatelessRandomUniformV2": _RANDOM,
    "StaticRegexReplace": _STRINGS,
    "StringLower": _STRINGS,
    "StringSplitV2": _STRINGS,
    "StringToHashBucketFast": _STRINGS,
    "Svd": _LINEAR_ALGEBRA,
    "UniqueV2": _STRINGS,
}


def unsupported(types: Iterable[str], ops: Sequence[Any], layers: Layers) -> tuple[Finding, ...]:
    """Returns a finding per Keras layer and op type: of `types`, TensorFlow ops without a builtin kernel.

    `ops` are the graph's. Where none of them has a type (the converter made it), its layer is None.
    """
    findings = []
    for kind in types:
        named = dict.fromkeys(layers.of_op(op.name) for op in ops if op.type == kind) or {"": None}
        is_python = kind in ("PyFunc", "EagerPyFunc", "PyFuncStateless")
        missing = "no kernel in LiteRT, not even through Flex" if is_python else "no builtin kernel in LiteRT"
        for layer in named:
            findings.append(
                Finding(
                    "convert",
                    f"tf.{kind} has {missing}",
                    INSTEAD.get(kind, _UNKNOWN),
                    layer=layers.label(layer) or None,
                    op=f"tf.{kind}",
                )
            )
    return tuple(findings)

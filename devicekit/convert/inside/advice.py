"""What to use in place of a TensorFlow op that LiteRT has no builtin kernel for, and what that costs."""

from collections.abc import Iterable, Sequence
from typing import Any

from devicekit.finding import Finding
from devicekit.graph.layers import Layers

_LINEAR_ALGEBRA = "solve it outside the model, or learn the result with a Dense layer: costs retraining"
_SPECIAL = "fit a polynomial or a small lookup by linear interpolation: costs accuracy outside its range"
_STRINGS = "look strings up outside the model and feed it the indices: costs a vocabulary file beside it"
_PYTHON = "write the layer with keras.ops: Python functions cannot run on a device"
_RANDOM = "re-save the model for inference (training=False), or feed the random values as an input"
_COMPLEX = "keep real and imaginary part as two tensors, with constant DFT matrices: costs N² MACs per axis"
_HISTOGRAM = "fix the length (minlength = maxlength), or sum one-hot rows: costs N·depth memory"
_COUNTED = "sum comparisons with the sorted values: costs N·values memory"
_EXPONENTIALS = "write it with exp and log: costs a few ops"
_DIAGONAL = "multiply with keras.ops.eye and sum: costs N² memory"
_SCATTER = "take the maximum over a one-hot mask, keras.ops.where: costs N·updates memory"
_DYNAMIC = "keep it outside the model: the size of its output depends on the values"
_SEGMENTS = "multiply with a one-hot matrix of the segments: costs N·segments MACs"
_BOXES = "keep decoding and non-maximum suppression outside the model: costs a step in the app"
_IMAGES = "resize or warp before the model, or use bilinear Resizing: outputs change, so fine-tune"
_POOL = "pool in two steps with MaxPooling2D or AveragePooling2D: costs two reshapes"
_BITS = "use integer division and remainder by powers of two: costs two ops per bit"
_UNKNOWN = "replace the layer by one of builtin ops, or move that step out of the model"

# TensorFlow op -> the nearest supported equivalent and its cost, as one instruction.
INSTEAD = {
    "Acos": "compute it by atan2(sqrt(1 - x²), x): costs four ops",
    "Acosh": _EXPONENTIALS,
    "AdjustContrastv2": _IMAGES,
    "AdjustHue": _IMAGES,
    "AdjustSaturation": _IMAGES,
    "Angle": _COMPLEX,
    "AsString": _STRINGS,
    "Asin": "compute it by atan2(x, sqrt(1 - x²)): costs four ops",
    "Asinh": _EXPONENTIALS,
    "Atan": "compute it by atan2(x, 1): costs one op",
    "Atanh": _EXPONENTIALS,
    "AvgPool3D": _POOL,
    "BesselI0": _SPECIAL,
    "BesselI0e": _SPECIAL,
    "BesselI1": _SPECIAL,
    "BesselI1e": _SPECIAL,
    "Betainc": _SPECIAL,
    "Bincount": _HISTOGRAM,
    "BitwiseAnd": _BITS,
    "BitwiseOr": _BITS,
    "Bucketize": "sum comparisons with the boundaries: costs N·boundaries memory",
    "CTCGreedyDecoder": "give the most likely symbols (argmax), and merge repeats outside: no cost",
    "Cholesky": _LINEAR_ALGEBRA,
    "CombinedNonMaxSuppression": _BOXES,
    "Complex": "give real and imaginary part as two outputs: no cost",
    "Conj": _COMPLEX,
    "Cosh": _EXPONENTIALS,
    "CropAndResize": _BOXES,
    "Cross": "write it with products of the components: costs five ops",
    "Cumprod": "use exp(cumsum(log(x))) for positive x: costs two ops, and accuracy for many factors",
    "CumulativeLogsumexp": "use log(cumsum(exp(x - max(x)))) + max(x): costs accuracy below max(x) - 80",
    "Dawsn": _SPECIAL,
    "DenseBincount": _HISTOGRAM,
    "Diag": _DIAGONAL,
    "DiagPart": _DIAGONAL,
    "Digamma": _SPECIAL,
    "Dilation2D": "use MaxPooling2D for a flat structuring element: no cost",
    "EagerPyFunc": _PYTHON,
    "Eig": _LINEAR_ALGEBRA,
    "Einsum": "take diagonals with keras.ops.diagonal first, and use matmul: costs an op each",
    "Erf": _SPECIAL,
    "Erfc": _SPECIAL,
    "Erfinv": _SPECIAL,
    "EuclideanNorm": "use sqrt(sum(x²)): costs two ops",
    "Expint": _SPECIAL,
    "ExtractImagePatches": "use a convolution with an identity kernel: costs its MACs",
    "ExtractVolumePatches": "use a 3-D convolution with an identity kernel: costs its MACs",
    "FFT": _COMPLEX,
    "FFT2D": _COMPLEX,
    "FFT3D": _COMPLEX,
    "FFTND": _COMPLEX,
    "FractionalMaxPool": "use MaxPooling2D with a fixed size: outputs change, so fine-tune",
    "FresnelCos": _SPECIAL,
    "FresnelSin": _SPECIAL,
    "HSVToRGB": _IMAGES,
    "HashTableV2": "index with the integer itself, or compare with constant keys: costs N·keys memory",
    "HistogramFixedWidth": _HISTOGRAM,
    "IFFT": _COMPLEX,
    "IFFT2D": _COMPLEX,
    "IFFT3D": _COMPLEX,
    "IFFTND": _COMPLEX,
    "IRFFT": _COMPLEX,
    "IRFFT2D": _COMPLEX,
    "IRFFT3D": _COMPLEX,
    "IRFFTND": _COMPLEX,
    "Igamma": _SPECIAL,
    "Igammac": _SPECIAL,
    "ImageProjectiveTransformV2": _IMAGES,
    "ImageProjectiveTransformV3": _IMAGES,
    "InTopKV2": _COUNTED,
    "Invert": _BITS,
    "LeftShift": _BITS,
    "Lgamma": _SPECIAL,
    "LogMatrixDeterminant": _LINEAR_ALGEBRA,
    "LookupTableFindV2": "compare with constant keys: costs N·keys memory",
    "LowerBound": _COUNTED,
    "Lu": _LINEAR_ALGEBRA,
    "MatrixDeterminant": _LINEAR_ALGEBRA,
    "MatrixDiagPartV3": _DIAGONAL,
    "MatrixDiagV3": _DIAGONAL,
    "MatrixInverse": _LINEAR_ALGEBRA,
    "MatrixSolve": _LINEAR_ALGEBRA,
    "MatrixTriangularSolve": _LINEAR_ALGEBRA,
    "MaxPool3D": _POOL,
    "MaxPoolWithArgmax": "use MaxPooling2D, UpSampling2D in place of unpooling: fine-tune",
    "Ndtri": _SPECIAL,
    "NextAfter": _SPECIAL,
    "NonMaxSuppressionV3": _BOXES,
    "Polygamma": _SPECIAL,
    "PopulationCount": _BITS,
    "PyFunc": _PYTHON,
    "PyFuncStateless": _PYTHON,
    "Qr": _LINEAR_ALGEBRA,
    "RFFT3D": _COMPLEX,
    "RFFTND": _COMPLEX,
    "RGBToHSV": _IMAGES,
    "RaggedTensorToTensor": _STRINGS,
    "RandomGamma": _RANDOM,
    "RandomShuffle": _RANDOM,
    "ResizeArea": _IMAGES,
    "ResizeBicubic": _IMAGES,
    "ScaleAndTranslate": _IMAGES,
    "SegmentMax": "use tf.math.unsorted_segment_max: no cost",
    "SegmentMean": _SEGMENTS,
    "SegmentMin": "use tf.math.unsorted_segment_min: no cost",
    "SegmentProd": "use tf.math.unsorted_segment_prod: no cost",
    "SelfAdjointEigV2": _LINEAR_ALGEBRA,
    "Sinh": _EXPONENTIALS,
    "Spence": _SPECIAL,
    "StatelessRandomGetKeyCounter": _RANDOM,
    "StatelessRandomNormalV2": _RANDOM,
    "StatelessRandomUniformV2": _RANDOM,
    "StaticRegexReplace": _STRINGS,
    "StringLower": _STRINGS,
    "StringSplitV2": _STRINGS,
    "StringToHashBucketFast": _STRINGS,
    "Svd": _LINEAR_ALGEBRA,
    "Tan": "compute it by sin(x) / cos(x): costs three ops",
    "TensorScatterMax": _SCATTER,
    "TensorScatterMin": _SCATTER,
    "TensorScatterSub": "add the negative updates: no cost",
    "TruncateMod": "use sign(x) * mod(abs(x), abs(y)): costs four ops",
    "UniqueV2": _STRINGS,
    "UniqueWithCounts": _DYNAMIC,
    "UniqueWithCountsV2": _DYNAMIC,
    "UpperBound": _COUNTED,
    "Zeta": _SPECIAL,
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

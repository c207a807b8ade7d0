"""What to build in place of an operator that a runtime lacks, and what that costs: data of the rule "op"."""

from collections.abc import Mapping

_LOOP = "fix the number of steps and re-save the RNN with unroll=True: costs a copy of its ops per step"
_ACTIVATION = "use ReLU or ReLU6 and fine-tune: costs little accuracy as a rule"
_TRIGONOMETRY = "use a small table with linear interpolation, or move it before the model"
_RANDOM = "re-save the model for inference, or feed the random values as an input"
_STRINGS = "look strings up outside the model, and feed it the indices"
_SORT = "use MaxPooling or argmax where one result is enough, or sort outside the model"

# Operator of the .tflite schema -> the nearest supported equivalent and its cost, as one instruction.
INSTEAD: Mapping[str, str] = {
    "BATCH_MATMUL": "use Dense or a 1x1 Conv2D where one side is constant; attention needs this operator",
    "BROADCAST_TO": "use layers whose shapes agree: operators broadcast by themselves",
    "CONV_3D": "use Conv2D on each frame (TimeDistributed) and a Conv1D over time: fewer weights, fine-tune",
    "CONV_3D_TRANSPOSE": "use UpSampling3D and Conv2D per frame: fine-tune",
    "COS": _TRIGONOMETRY,
    "CUMSUM": "multiply with a triangular matrix of ones (Dense without bias): costs N² MACs, exact",
    "ELU": _ACTIVATION,
    "GATHER": "multiply one-hot rows with the table: costs N·rows MACs, exact",
    "GELU": _ACTIVATION,
    "HARD_SWISH": "use ReLU6: costs little accuracy as a rule, or x·relu6(x + 3)/6 of builtin ops, exact",
    "HASHTABLE_FIND": _STRINGS,
    "LEAKY_RELU": "use max(x, alpha·x) of builtin ops: two operators, exact",
    "L2_NORMALIZATION": "use x · rsqrt(sum(x²)): three operators, exact",
    "LOG_SOFTMAX": "use softmax, and take the logarithm outside: exact",
    "NON_MAX_SUPPRESSION_V4": "keep non-maximum suppression outside the model: a step in the app",
    "NON_MAX_SUPPRESSION_V5": "keep non-maximum suppression outside the model: a step in the app",
    "PRELU": "use relu(x) - alpha·relu(-x) of builtin ops: four operators, exact",
    "RANDOM_STANDARD_NORMAL": _RANDOM,
    "RANDOM_UNIFORM": _RANDOM,
    "RESIZE_BILINEAR": "use UpSampling2D with nearest, or a fixed TRANSPOSE_CONV: fine-tune",
    "RFFT2D": "multiply with constant DFT matrices: costs N² MACs per axis",
    "SIN": _TRIGONOMETRY,
    "TOPK_V2": _SORT,
    "TRANSPOSE_CONV": "use UpSampling2D and Conv2D: fine-tune",
    "UNIDIRECTIONAL_SEQUENCE_LSTM": _LOOP,
    "WHILE": _LOOP,
}

"""What litert-quantizer and LiteRT say, in words that a user can act on."""

import re

from devicekit.finding import Finding

# What litert-quantizer and LiteRT say -> what the user reads, and what to do about it.
_WORDED = (
    (
        r"Tensor data is null|while_|while\.cc|body_input|steps_in_parts",
        "a loop (WHILE, from an RNN) cannot be quantized statically",
        "use dynamic_int8, or build the RNN with unroll=True",
    ),
    (
        r"no_integer_overflow_from_quantization.*Node number (\d+) \((\w+)\)",
        r"\2 (op \1): its scales overflow the 16-bit kernel",
        "use int8",
    ),
    (
        r"Didn't find op for builtin opcode '(\w+)' version '(\d+)'",
        r"LiteRT has no kernel for \1 version \2",
        "update ai-edge-litert",
    ),
    (
        r"unresolved custom op: (\w+)",
        r"LiteRT has no kernel for the custom op \1",
        "replace the layer behind it by built-in ones",
    ),
    (
        r"Select TensorFlow op|Flex delegate",
        "it needs TensorFlow ops (Flex), which no LiteRT package carries",
        "replace the layer behind them by built-in ones",
    ),
)
# What says too little to stand where the model itself explains it.
_VAGUE = (
    r"Node number (\d+) \((\w+)\) failed to (prepare|invoke)",
    r"\2 (op \1) failed to \3",
    "choose another recipe",
)
# litert-quantizer leaves the subgraphs of an IF in float, and quantizes what goes into them.
_BRANCH = (
    "a branch (IF) cannot be quantized statically",
    "use dynamic_int8, or compute both branches and choose with tf.where",
)


def worded(rule: str, error: Exception, *, has_branch: bool = False) -> Finding:
    """Returns the error of a library as a finding in few words.

    `has_branch` says that a model with an IF was quantized statically, which explains what nothing else does.
    """
    text = " ".join(str(error).split())
    for pattern, detail, remedy in (*_WORDED, *(() if has_branch else (_VAGUE,))):
        match = re.search(pattern, text)
        if match:
            return Finding(rule, match.expand(detail), remedy)
    if has_branch:
        return Finding(rule, *_BRANCH)
    if not isinstance(error, RuntimeError | ValueError):
        text = f"{type(error).__name__}: {text}"  # a bare KeyError says nothing without its name
    short = text if len(text) <= 120 else text[:117] + "…"
    return Finding(rule, short or type(error).__name__, "choose another recipe")

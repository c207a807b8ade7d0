"""How a profile's runtime reads in tables and reports. Needs no pydantic, so that listing is fast."""

_RUNTIMES = {"litert": "LiteRT", "tflite": "TFLite", "tflm": "TFLM"}
_DELEGATES = {"xnnpack": "CPU", "none": "CPU built-in", "gpu": "GPU", "nnapi": "NNAPI", "edgetpu": "Edge TPU"}


def runtime_label(name: str, version: str | None, *, delegate: str, threads: int) -> str:
    """Returns "LiteRT 2.3.0 CPU ×4": runtime, version if known, what computes, threads."""
    words = [_RUNTIMES.get(name, name)]
    if version:
        words.append(version)
    if name != "tflm":  # one processor, one thread
        words += [_DELEGATES.get(delegate, delegate), f"×{threads}"]
    return " ".join(words)

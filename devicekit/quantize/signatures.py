"""Signatures: named inputs and outputs that every candidate has, and that agree with its graph."""

from typing import Any


def with_signature(model: bytes) -> bytes:
    """Returns the model, with a signature named after its tensors where it had none.

    Calibration needs one.
    """
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    if schema.Model.GetRootAs(model, 0).SignatureDefsLength():
        return model
    tree = flatbuffer_utils.read_model_from_bytearray(bytearray(model))
    graph = tree.subgraphs[0]
    signature = schema.SignatureDefT()
    signature.signatureKey, signature.subgraphIndex = b"serving_default", 0
    signature.inputs = [_entry(graph, index) for index in graph.inputs]
    signature.outputs = [_entry(graph, index) for index in graph.outputs]
    tree.signatureDefs = [signature]
    return bytes(flatbuffer_utils.convert_object_to_bytearray(tree))


def _entry(graph: Any, index: int) -> Any:
    from ai_edge_litert import schema_py_generated as schema

    entry = schema.TensorMapT()
    entry.name, entry.tensorIndex = graph.tensors[index].name, index
    return entry


def with_signature_outputs(quantized: bytes, float_model: bytes) -> bytes:
    """Returns the quantized model with the tensors of its signature as the outputs of its graph.

    litert-quantizer 0.11 makes the two disagree where an output feeds another op as well: the signature
    names the int8 tensor, the graph's outputs a float copy of it (seen on Basic Pitch). Callers by name and
    callers by position would then read different dtypes. An op that only made the copy is removed.
    """
    from ai_edge_litert.tools import flatbuffer_utils

    tree = flatbuffer_utils.read_model_from_bytearray(bytearray(quantized))
    before = flatbuffer_utils.read_model_from_bytearray(bytearray(float_model))
    changed = False
    for signature, original in zip(tree.signatureDefs, before.signatureDefs, strict=True):
        graph = tree.subgraphs[signature.subgraphIndex]
        outputs = [int(index) for index in graph.outputs]
        positions = [int(index) for index in before.subgraphs[original.subgraphIndex].outputs]
        named = {entry.name: int(entry.tensorIndex) for entry in original.outputs}
        for entry in signature.outputs:
            if named[entry.name] not in positions:
                continue
            place = positions.index(named[entry.name])
            if outputs[place] != entry.tensorIndex:
                copy, outputs[place] = outputs[place], int(entry.tensorIndex)
                graph.outputs = outputs
                _remove_unread(graph, copy)
                changed = True
    return bytes(flatbuffer_utils.convert_object_to_bytearray(tree)) if changed else quantized


def _remove_unread(graph: Any, tensor: int) -> None:
    """Removes the op that makes `tensor`, if nothing reads it."""
    read = {int(index) for op in graph.operators for index in op.inputs} | {int(i) for i in graph.outputs}
    if tensor not in read:
        graph.operators = [op for op in graph.operators if list(op.outputs) != [tensor]]

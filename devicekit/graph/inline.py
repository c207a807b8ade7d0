"""Rewrites a .tflite so that its constants lie inside the flatbuffer."""


def with_inline_buffers(content: bytes) -> bytes:
    """Returns the same model with every constant inside the flatbuffer; `content` itself where they are.

    Writers put large constants behind the flatbuffer, as a place in the file. TensorFlow Lite Micro reads
    only those inside: it takes the others for activations, and crashes (tflite-micro of 10/2026).
    """
    import flatbuffers
    import numpy as np
    from ai_edge_litert import schema_py_generated as schema

    root = schema.Model.GetRootAs(content, 0)
    if not any(root.Buffers(i).Offset() > 1 for i in range(root.BuffersLength())):
        return content
    model = schema.ModelT.InitFromObj(root)
    for buffer in model.buffers:
        if buffer.offset > 1:
            data = content[buffer.offset : buffer.offset + buffer.size]
            buffer.data = np.frombuffer(data, dtype="uint8")
            buffer.offset = buffer.size = 0
    builder = flatbuffers.Builder(len(content))
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())

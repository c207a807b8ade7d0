"""Code in a model file is found before anything is loaded."""

import json
import zipfile
from pathlib import Path
from typing import Any

import h5py
import pytest

from devicekit.convert.trust import code_op, find_code, foreign_names


def layer(class_name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": class_name, "config": {"name": "odd", **config}}


def model(*layers: Any) -> dict[str, Any]:
    return {"class_name": "Sequential", "config": {"name": "outer", "layers": list(layers)}}


def reference(module: str, name: str, **more: Any) -> dict[str, Any]:
    return {"module": module, "class_name": "function", "config": name, "registered_name": "function", **more}


DENSE = layer("Dense", units=2, activation="relu")
MARSHALLED = {"class_name": "__lambda__", "config": {"value": ["4wAA", None, None]}}
CODE = [
    (layer("Lambda", function=["4wAA", None, None], function_type="lambda"), 'a Lambda layer ("odd")'),
    (model(DENSE, layer("Lambda")), 'a Lambda layer ("odd")'),
    (layer("TimeDistributed", layer=layer("Lambda", name="inner")), 'a Lambda layer ("inner")'),
    (layer("Dense", activation=MARSHALLED), 'a lambda function (in layer "odd")'),
    (layer("ResidualWrapper", residual_fn_type="lambda"), 'a lambda function (in layer "odd")'),
    (layer("TFSMLayer", filepath="elsewhere"), 'a TFSMLayer layer ("odd")'),
    (layer("TFOpLambda", function="io.write_file"), 'a call of tf.io.write_file (in layer "odd")'),
    (layer("TFOpLambda", function="load_library"), 'a call of tf.load_library (in layer "odd")'),
    (layer("TFOpLambda", function="print"), 'a call of tf.print (in layer "odd")'),
    (layer("TFOpLambda", function="compat.v1.py_func"), 'a call of tf.compat.v1.py_func (in layer "odd")'),
    (layer("TFOpLambda", function="raw_ops.Add"), 'a call of tf.raw_ops.Add (in layer "odd")'),
    (layer("TensorFlowOpLayer", node_def={"op": "WriteFile"}), 'a WriteFile op (in layer "odd")'),
    (
        layer("TensorFlowOpLayer", node_def={"op": "DatasetToTFRecord"}),
        'a DatasetToTFRecord op (in layer "odd")',
    ),
    (layer("TensorFlowOpLayer", node_def={"op": "PrintV2"}), 'a PrintV2 op (in layer "odd")'),
    (layer("TensorFlowOpLayer", node_def="\n\x01x\x12\x06PyFunc"), 'a PyFunc op (in layer "odd")'),
    (
        layer("Dense", activation=reference("builtins", "eval")),
        'a reference to builtins.eval (in layer "odd")',
    ),
    (
        layer("Dense", activation=reference("keras.utils", "get_file")),
        'a reference to keras.utils.get_file (in layer "odd")',
    ),
    (
        layer("Dense", activation=reference("keras.backend", "os.system")),
        'a reference to keras.backend.os.system (in layer "odd")',
    ),
    (
        layer("Dense", activation=reference("builtins", "swish", registered_name="exec")),
        'a reference to builtins.exec (in layer "odd")',
    ),
    (
        {**layer("data_utils.get_file"), "module": "keras.applications.mobilenet_v2"},
        'a reference to keras.applications.mobilenet_v2.data_utils.get_file (in layer "odd")',
    ),
    (
        {**layer("Innocent"), "module": "keras.layers", "registered_name": "core.Lambda"},
        'a Lambda layer ("odd")',
    ),
    (
        {"class_name": "__typespec__", "spec_name": "Popen", "module": "subprocess", "config": []},
        "a reference to subprocess.Popen",
    ),
]


@pytest.mark.parametrize(("config", "words"), CODE, ids=[words for _, words in CODE])
def test_code_in_a_config_is_found(config: Any, words: str) -> None:
    assert find_code(config) == words
    wrapped = model(DENSE, model(DENSE, config))
    assert str(find_code(wrapped)).split(" (in layer")[0] == words.split(" (in layer")[0]


@pytest.mark.parametrize(
    "config",
    [
        model(DENSE),
        layer("TFOpLambda", function="math.multiply"),
        layer("TFOpLambda", function="compat.v1.transpose"),
        layer("SlicingOpLambda", function="__operators__.getitem"),
        layer("TensorFlowOpLayer", node_def={"op": "AddV2"}),
        layer("Dense", activation=reference("builtins", "relu")),
        layer("Dense", activation=reference("keras.activations", "gelu")),
        {**layer("Dense"), "module": "keras.layers", "registered_name": None},
        layer("Lab>Lambda"),
        layer("Text", standardize="lambda"),
    ],
)
def test_plain_layers_are_no_code(config: Any) -> None:
    assert find_code(config) is None


def test_real_files_hold_no_code_except_the_lambda_ones(data: Path) -> None:
    found = {}
    for path in sorted((data / "legacy_h5").glob("*/*.h5")):
        with h5py.File(path) as file:
            found[path.stem] = find_code(json.loads(file.attrs["model_config"]))
    assert found.pop("lambda") == 'a Lambda layer ("lambda")'
    assert len(found) == 7
    assert set(found.values()) == {None}
    with zipfile.ZipFile(data / "digits.keras") as archive:
        assert find_code(json.loads(archive.read("config.json"))) is None


def test_a_config_as_deep_as_json_allows_is_searched() -> None:
    config: Any = layer("Lambda")
    for _ in range(5000):
        config = {"config": config}
    assert find_code(config) == 'a Lambda layer ("odd")'


def test_classes_of_other_modules_are_custom_objects() -> None:
    custom = {**layer("Twice"), "module": "lab.layers", "registered_name": "Lab>Twice"}
    config = model(custom, layer("Dense", activation=reference("lab.activations", "bent")), DENSE)
    assert foreign_names(config) == ("Twice", "bent")


def node(op: str, name: str = "n", attribute: bytes = b"") -> bytes:
    return field(1, name.encode()) + field(2, op.encode()) + attribute


def field(number: int, content: bytes) -> bytes:
    """Returns a length-delimited protobuf field, its length with a needless byte, which is legal."""
    length = len(content)
    return bytes([number << 3 | 2, length & 0x7F | 0x80, length >> 7 & 0x7F | 0x80, length >> 14]) + content


def function(name: str, *nodes: bytes) -> bytes:
    return field(1, field(1, field(1, name.encode())) + b"".join(field(3, node) for node in nodes))


def saved_model(
    *, nodes: list[bytes], function_nodes: list[bytes], functions: bytes = b"", objects: bytes = b""
) -> bytes:
    library = function("f", *function_nodes) + functions
    graph = b"".join(field(1, one) for one in nodes) + field(2, library)
    return b"\x08\x01" + field(2, field(2, graph) + (field(7, objects) if objects else b""))


def test_python_and_file_ops_of_a_saved_model_are_found() -> None:
    plain = node("AddV2")
    assert code_op(saved_model(nodes=[plain], function_nodes=[plain])) is None
    assert code_op(saved_model(nodes=[node("PyFunc", "a/b")], function_nodes=[])) == 'a PyFunc op ("a/b")'
    hidden = saved_model(nodes=[plain], function_nodes=[plain, node("WriteFile", "w")])
    assert code_op(hidden) == 'a WriteFile op ("w")'


def test_printing_is_harmless_except_into_a_file() -> None:
    to_screen = node("PrintV2", attribute=field(5, b"output_stream stderr"))
    to_file = node("PrintV2", "p", attribute=field(5, b"output_stream file:///tmp/x"))
    assert code_op(saved_model(nodes=[to_screen], function_nodes=[])) is None
    assert code_op(saved_model(nodes=[to_file], function_nodes=[])) == 'a PrintV2 op ("p")'


@pytest.mark.parametrize(
    "op",
    [
        *("CreateSummaryFileWriter", "DatasetToTFRecord", "DebugIdentity", "DumpTensor", "ImmutableConst"),
        *("InitializeTableFromTextFileV2", "PyFuncStateless", "ReadFile", "RpcServer", "XlaCustomCall"),
        *("SaveV2", "MergeV2Checkpoints", "RestoreV2", "AnOpOfTheFuture", ""),
    ],
)
def test_an_op_that_does_more_than_compute_is_found(op: str) -> None:
    assert code_op(saved_model(nodes=[node(op)], function_nodes=[], objects=b"o")) == f'a {op} op ("n")'
    inside = saved_model(nodes=[], function_nodes=[node("AddV2"), node(op)])
    assert code_op(inside) == f'a {op} op ("n")'


SAVER = function("save_1", node("ShardedFilename"), node("SaveV2", "s"), node("MergeV2Checkpoints"))


def test_functions_that_only_the_saver_calls_may_write() -> None:
    call = node("StatefulPartitionedCall", attribute=field(5, b"save_1"))
    assert code_op(saved_model(nodes=[call], function_nodes=[], functions=SAVER, objects=b"o")) is None


@pytest.mark.parametrize("called_by", ["a function", "an object", "the main graph of version 1"])
def test_a_saver_function_that_loading_may_call_is_found(called_by: str) -> None:
    call = node("StatefulPartitionedCall", attribute=field(5, b"save_1"))
    objects = {"an object": b"calls save_1", "a function": b"o"}.get(called_by, b"")
    inside = [call] if called_by == "a function" else []
    content = saved_model(nodes=[call], function_nodes=inside, functions=SAVER, objects=objects)
    assert str(code_op(content)).endswith(' op ("n")')


def test_two_graphs_in_one_saved_model_hold_no_saver_functions() -> None:
    one = saved_model(nodes=[], function_nodes=[], functions=SAVER, objects=b"o")
    assert code_op(one) is None
    assert code_op(one + saved_model(nodes=[], function_nodes=[], objects=b"o")) is not None


def test_a_field_number_that_protobuf_would_cut_is_damage() -> None:
    hidden = bytes([0x92, 0x80, 0x80, 0x80, 0x10, 0x00])  # 2 << 3 | 2, and a 33rd bit
    with pytest.raises(ValueError, match="32 bits"):
        code_op(hidden)


def test_a_real_saved_model_has_no_code(data: Path) -> None:
    content = (data / "digits_savedmodel" / "saved_model.pb").read_bytes()
    assert code_op(content) is None
    renamed = content.replace(b"\x12\x06Conv2D", b"\x12\x06PyFunc")
    assert str(code_op(renamed)).startswith("a PyFunc op (")

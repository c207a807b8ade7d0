"""Reading .tflite files: right values from good ones, one clear error from all others."""

import random
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from devicekit.errors import LoadError
from devicekit.graph.arena import plan_arena
from devicekit.graph.macs import macs, parameters
from devicekit.graph.read import MAX_BYTES, read_constant, read_graph, read_graph_bytes
from devicekit.predict.memory import plan_memory
from devicekit.predict.roofline import precision_of
from devicekit.predict.work import unpredictable, work_of

DATA = Path(__file__).parent.parent / "data" / "tflite"


def test_reads_ops_versions_options_and_tensors() -> None:
    graph = read_graph(DATA / "cnn_float32.tflite")
    names = " ".join(op.name for op in graph.main.ops)
    assert names == "CONV_2D DEPTHWISE_CONV_2D CONV_2D ADD MAX_POOL_2D RESHAPE FULLY_CONNECTED SOFTMAX"
    stem = graph.main.ops[0]
    assert (stem.options["stride_w"], stem.options["stride_h"], stem.version) == (2, 2, 1)
    weights = graph.main.tensors[stem.inputs[1]]
    assert (weights.shape, weights.dtype, weights.data_bytes) == ((8, 3, 3, 3), "float32", 8 * 27 * 4)
    assert graph.input_tensors["image"].shape == (1, 12, 12, 3)
    assert graph.output_tensors["y"].shape == (1, 5)
    assert graph.size_bytes == (DATA / "cnn_float32.tflite").stat().st_size
    assert graph.min_runtime_version == "1.5.0"


def test_reads_quantization() -> None:
    graph = read_graph(DATA / "cnn_int8.tflite")
    image = graph.input_tensors["image"]
    assert (image.dtype, image.zero_point) == ("int8", (-128,))
    assert image.scale[0] == pytest.approx(1 / 255, rel=0.01)
    stem = graph.main.tensors[graph.main.ops[0].inputs[1]]
    assert len(stem.scale) == 8 and stem.quantized_dimension == 0


def test_reads_an_open_batch() -> None:
    image = read_graph(DATA / "cnn_dynamic_batch.tflite").input_tensors["image"]
    assert image.is_dynamic
    assert (image.shape, image.shape_signature) == ((1, 12, 12, 3), (-1, 12, 12, 3))


def test_reads_flex_and_custom_ops_by_their_own_names() -> None:
    flex = read_graph(DATA / "flex.tflite").main.ops[0]
    custom = read_graph(DATA / "custom.tflite").main.ops[0]
    assert (flex.name, flex.label, flex.is_flex) == ("CUSTOM", "FlexMatrixInverse", True)
    assert (custom.name, custom.label, custom.is_flex) == ("CUSTOM", "MatrixInverse", False)


def test_reads_variables_and_missing_inputs_of_an_lstm() -> None:
    graph = read_graph(DATA / "lstm.tflite")
    lstm = graph.main.ops[0]
    assert lstm.name == "UNIDIRECTIONAL_SEQUENCE_LSTM"
    assert -1 in lstm.inputs
    assert any(tensor.is_variable for tensor in graph.main.tensors)


def test_constant_data_is_what_the_file_holds() -> None:
    path = DATA / "cnn_float32.tflite"
    graph = read_graph(path)
    weights = graph.main.tensors[graph.main.ops[0].inputs[1]]
    data = read_constant(path, weights)
    values = struct.unpack("<216f", data)
    assert data in path.read_bytes() and len(set(values)) == 216
    limit = (6 / (27 + 72)) ** 0.5  # Glorot's, which Keras drew them from
    assert 0.9 * limit < max(values) <= limit
    assert read_constant(path, graph.input_tensors["image"]) == b""


def test_reading_loads_no_runtime() -> None:
    code = (
        "import sys; from pathlib import Path; from devicekit.graph.read import read_graph;"
        "read_graph(Path(sys.argv[1]));"
        "maps = Path('/proc/self/maps'); text = maps.read_text() if maps.exists() else '';"
        "assert 'LiteRt' not in text and 'ai_edge_litert' not in sys.modules, 'the runtime was loaded'"
    )
    subprocess.run([sys.executable, "-c", code, str(DATA / "cnn_int8.tflite")], check=True)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "bad.tflite: is empty (0 bytes); expected a .tflite file"),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 64, "bad.tflite: not a .tflite (no TFL3 identifier at byte 4)"),
        (b"\x1c\0\0\0TFL3", "bad.tflite: corrupt at the header"),
    ],
)
def test_refuses_what_is_no_tflite(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "bad.tflite"
    path.write_bytes(content)
    with pytest.raises(LoadError) as caught:
        read_graph(path)
    assert caught.value.message == f"{tmp_path}/{message}"
    assert caught.value.remedy and caught.value.exit_code == 3


def test_refuses_a_missing_file_and_a_directory(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="no such file"):
        read_graph(tmp_path / "none.tflite")
    with pytest.raises(LoadError, match="is a directory"):
        read_graph(tmp_path)


def test_refuses_more_than_2_gib_without_reading_it(tmp_path: Path) -> None:
    path = tmp_path / "big.tflite"
    with path.open("wb") as file:
        file.truncate(MAX_BYTES + 1)  # sparse: takes no disk
    with pytest.raises(LoadError, match=r"has 2\.0 GiB; expected at most 2 GiB"):
        read_graph(path)


def test_says_where_a_file_is_corrupt() -> None:
    content = bytearray((DATA / "cnn_float32.tflite").read_bytes())
    graph = read_graph_bytes(bytes(content), Path("m.tflite"))
    inputs = struct.pack("<I3i", 3, *graph.main.ops[0].inputs)
    at = bytes(content).index(inputs)
    content[at + 4 : at + 8] = struct.pack("<i", 999)
    with pytest.raises(LoadError) as caught:
        read_graph_bytes(bytes(content), Path("m.tflite"))
    tensors = len(graph.main.tensors)
    assert caught.value.message == (
        f"m.tflite: corrupt at subgraph 0, op 0: its inputs name tensor 999 of {tensors}"
    )


@pytest.mark.timeout(300)  # a file that keeps the reader busy for ever is found
@pytest.mark.parametrize("name", ["cnn_float32", "cnn_int8", "lstm", "flex"])
def test_mutated_files_are_read_and_analysed_or_refused_without_hanging(name: str) -> None:
    """500 mutations of each file: bits flipped, 32-bit words overwritten, the end cut off."""
    original = (DATA / f"{name}.tflite").read_bytes()
    generator = random.Random(name)
    refused = 0
    for _ in range(500):
        content = _mutated(original, generator)
        try:
            graph = read_graph_bytes(content, Path("mutated.tflite"))
            (
                macs(graph),
                parameters(graph),
                plan_arena(graph),
                plan_memory(graph),
                plan_memory(graph, "builtin"),
            )
            plan_arena(graph, "tflm"), work_of(graph), unpredictable(graph), precision_of(graph)
        except LoadError as error:
            assert error.message.startswith("mutated.tflite: ")
            refused += 1
    assert refused > 50, "the mutations hit nothing"


def _mutated(original: bytes, generator: random.Random) -> bytes:
    content = bytearray(original)
    for _ in range(generator.choice([1, 1, 4, 16])):
        kind = generator.randrange(3)
        at = generator.randrange(len(content) - 4)
        if kind == 0:
            content[at] ^= 1 << generator.randrange(8)
        elif kind == 1:
            word = generator.choice([0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, generator.getrandbits(32)])
            content[at // 4 * 4 : at // 4 * 4 + 4] = struct.pack("<I", word)
        else:
            del content[max(at, 16) :]
            content.extend(b"\0" * 8)
    return bytes(content)


@pytest.mark.timeout(60)  # walking two thousand million entries takes longer
def test_a_list_that_claims_more_than_the_file_is_refused_without_walking_it() -> None:
    content = bytearray((DATA / "cnn_float32.tflite").read_bytes())
    graph = read_graph_bytes(bytes(content), Path("m.tflite"))
    at = bytes(content).index(struct.pack("<I4i", 4, *graph.input_tensors["image"].shape))
    content[at : at + 4] = struct.pack("<I", 0x7FFFFFFF)
    with pytest.raises(LoadError, match="a list of 2147483647 entries is more than the file holds"):
        read_graph_bytes(bytes(content), Path("m.tflite"))

"""How far predictions are off: models that were drawn up for this, each measured in a clean process.

Medium-sized networks of every kind, in recipes of every kind. Prints mean and worst errors of must-have and
peak memory, where the limit lies from which a model runs, arenas against the interpreter's addresses, and
times.
"""

import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
MIB = 2**20
RECIPES = ("float32", "float16", "dynamic_int8", "int8")
Say = Callable[..., None]


def networks(keras: Any) -> Iterator[tuple[str, Any]]:
    """Yields (name, model): convolutions, recurrent cells, attention, audio."""
    layers = keras.layers

    def conv(x: Any, filters: int, kernel: Any = 3, strides: int = 1) -> Any:
        x = layers.Conv2D(filters, kernel, strides=strides, padding="same", use_bias=False)(x)
        return layers.ReLU()(layers.BatchNormalization()(x))

    def attention(x: Any, heads: int) -> Any:
        width = int(x.shape[-1])
        y = layers.LayerNormalization()(x)
        x = layers.Add()([x, layers.MultiHeadAttention(heads, width // heads)(y, y)])
        y = layers.Dense(4 * width, activation="gelu")(layers.LayerNormalization()(x))
        return layers.Add()([x, layers.Dense(width)(y)])

    image = layers.Input((96, 96, 3), batch_size=1)
    x = image
    for filters in (64, 128, 256, 512):
        x = layers.MaxPooling2D()(conv(conv(x, filters), filters))
    yield "vgg", keras.Model(image, layers.Dense(100)(layers.GlobalAveragePooling2D()(x)))
    x = conv(image, 32, 7, 2)
    for filters in (64, 128, 256):
        shortcut = layers.Conv2D(filters, 1, strides=2)(x)
        x = layers.ReLU()(layers.Add()([shortcut, conv(conv(x, filters, 3, 2), filters)]))
    yield "residual", keras.Model(image, layers.Dense(100)(layers.GlobalAveragePooling2D()(x)))
    x = conv(image, 48, 3, 2)
    for filters in (96, 192, 384):
        x = layers.DepthwiseConv2D(5, strides=2, padding="same")(x)
        gate = layers.Dense(int(x.shape[-1]), activation="sigmoid")(layers.GlobalAveragePooling2D()(x))
        x = conv(layers.Multiply()([x, layers.Reshape((1, 1, int(x.shape[-1])))(gate)]), filters, 1)
    yield "gated", keras.Model(image, layers.Dense(500)(layers.GlobalAveragePooling2D()(x)))
    down = conv(image, 32)
    middle = conv(layers.MaxPooling2D()(down), 64)
    up = layers.Conv2DTranspose(32, 2, strides=2)(conv(middle, 128))
    merged = conv(layers.Concatenate()([down, up]), 32)
    yield "segmenter", keras.Model(image, layers.Conv2D(4, 1, activation="sigmoid")(merged))
    x = conv(image, 64, 5, 4)
    branches = [conv(x, 96, 1), conv(conv(x, 64, 1), 128), conv(conv(conv(x, 32, 1), 64), 64)]
    x = layers.Concatenate()([*branches, layers.AveragePooling2D(3, 1, padding="same")(x)])
    yield "branched", keras.Model(image, layers.Dense(1000)(layers.Flatten()(conv(x, 64, 3, 2))))
    values = layers.Input((784,), batch_size=1)
    x = values
    for units in (2048, 1024, 512):
        x = layers.Dense(units, activation="relu")(x)
    yield "perceptron", keras.Model(values, layers.Dense(10)(x))
    series = layers.Input((24, 64), batch_size=1)
    x = layers.LSTM(256, return_sequences=True, unroll=True)(series)
    yield "lstm", keras.Model(series, layers.Dense(32)(layers.LSTM(256, unroll=True)(x)))
    yield "gru", keras.Model(series, layers.Dense(32)(layers.GRU(384, unroll=True)(series)))
    both = layers.Bidirectional(layers.GRU(160, return_sequences=True, unroll=True))(series)
    yield "bidirectional", keras.Model(series, layers.Dense(32)(both))
    frames = layers.Input((8, 32, 32, 3), batch_size=1)
    x = layers.TimeDistributed(layers.Conv2D(32, 3, strides=2, activation="relu"))(frames)
    x = layers.LSTM(128, unroll=True)(layers.TimeDistributed(layers.Flatten())(x))
    yield "video", keras.Model(frames, layers.Dense(16)(x))
    tokens = layers.Input((64, 256), batch_size=1)
    x = tokens
    for _ in range(4):
        x = attention(x, 4)
    yield "encoder", keras.Model(tokens, layers.Dense(128)(layers.GlobalAveragePooling1D()(x)))
    x = layers.Reshape((144, 192))(layers.Conv2D(192, 8, strides=8)(image))
    for _ in range(3):
        x = attention(x, 3)
    yield "vision_transformer", keras.Model(image, layers.Dense(100)(layers.GlobalAveragePooling1D()(x)))
    words = layers.Input((48,), dtype="int32", batch_size=1)
    x = attention(attention(layers.Embedding(8000, 192)(words), 6), 6)
    yield "language", keras.Model(words, layers.Dense(2000)(layers.GlobalAveragePooling1D()(x)))
    x = layers.Reshape((36, 256))(conv(conv(image, 64, 3, 4), 256, 3, 4))
    for _ in range(3):
        y = layers.Permute((2, 1))(layers.LayerNormalization()(x))
        y = layers.Permute((2, 1))(layers.Dense(36)(layers.Dense(128, activation="gelu")(y)))
        x = layers.Add()([x, layers.Dense(256)(layers.Dense(1024, activation="gelu")(layers.Add()([x, y])))])
    yield "mixer", keras.Model(image, layers.Dense(100)(layers.GlobalAveragePooling1D()(x)))
    signal = layers.Input((16000,), batch_size=1)
    x = layers.Reshape((16000, 1))(signal)
    for filters in (32, 64, 128, 256):
        x = layers.Conv1D(filters, 9, strides=4, padding="same", activation="relu")(x)
    yield "waveform", keras.Model(signal, layers.Dense(35)(layers.GlobalAveragePooling1D()(x)))

    x = layers.MelSpectrogram(fft_length=512, sequence_stride=256, sampling_rate=16000, num_mel_bins=80)(
        signal
    )
    x = layers.Reshape((*(int(n) for n in x.shape[1:]), 1))(x)
    for filters in (64, 64, 128):
        x = layers.DepthwiseConv2D(3, padding="same")(conv(x, filters, 3, 2))
    yield "spectrogram", keras.Model(signal, layers.Dense(35)(layers.GlobalAveragePooling2D()(x)))
    mel = layers.Input((98, 64, 1), batch_size=1)
    x = conv(mel, 172, (10, 4), 2)
    for _ in range(4):
        x = conv(layers.DepthwiseConv2D(3, padding="same")(x), 172, 1)
    yield "keywords", keras.Model(mel, layers.Dense(12)(layers.GlobalAveragePooling2D()(x)))


def build(folder: Path) -> None:
    """Writes folder/NAME.RECIPE.tflite of every network; runs in a process of its own."""
    os.environ.update(KERAS_BACKEND="tensorflow", TF_CPP_MIN_LOG_LEVEL="3")
    import keras

    from devicekit.convert.source import convert_source
    from devicekit.pipeline.screening import SECOND_SOURCE
    from devicekit.quantize.build import build as quantize

    for name, model in networks(keras):
        made = folder / name
        if list(folder.glob(f"{name}.*.tflite")):
            continue
        made.mkdir()
        model.save(made / "model.keras")
        source = convert_source(made / "model.keras")
        result = quantize(
            source.float_path,
            list(RECIPES),
            data=None,
            out_dir=made,
            second_source=SECOND_SOURCE,
            evaluation_s=0.1,
        )
        for one in result.candidates:
            if one.path:
                one.path.rename(folder / f"{name}.{one.recipe}.tflite")
        shutil.rmtree(made)


def memory(say: Say) -> None:
    """Must-have and peak RSS, the arena against the interpreter's addresses, RLIMIT_DATA's threshold, times.

    DEVICEKIT_BENCH_MODELS names a folder to keep the models in, for the next run.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(os.environ.get("DEVICEKIT_BENCH_MODELS") or scratch)
        folder.mkdir(exist_ok=True)
        subprocess.run([sys.executable, __file__, str(folder)], check=True, capture_output=True)
        files = sorted(folder.glob("*.tflite"))
        arenas(say, files)
        for kernel in ("xnnpack", "builtin"):
            growth(say, kernel, files)
        thresholds(say, files)
    predict_time(say)


def arenas(say: Say, files: Sequence[Path]) -> None:
    from devicekit.graph.arena import plan_arena
    from devicekit.graph.read import read_graph

    sys.path.insert(0, str(ROOT))
    from tests.graph.addresses import misplaced

    exact = [path for path in files if plan_arena(read_graph(path)).exact]
    wrong = [path.name for path in exact if misplaced(path)]
    text = f"{len(exact)} of {len(files)} files planned as exact (goal 98 %), "
    text += f"wrong: {', '.join(wrong) or 'none'}"
    say("arena", text, met=len(exact) >= 0.98 * len(files) and not wrong)


def growth(say: Say, kernel: str, files: Sequence[Path]) -> None:
    """Must-have and peak RSS of each file, predicted and measured in a fresh process."""
    import devicekit
    from devicekit.errors import MeasurementError
    from devicekit.profile.lookup import load_profile

    profile = load_profile("raspberrypi4")
    delegate = "none" if kernel == "builtin" else "xnnpack"
    target = profile.model_copy(
        update={
            "runtime": profile.runtime.model_copy(update={"threads": 1, "delegate": delegate}),
            "limits": profile.limits.model_copy(update={"memory_mib": 4096}),
        }
    )
    found: dict[str, list[tuple[str, str, int, int]]] = {"must-have": [], "peak RSS": []}
    for path in files:
        try:
            actual = devicekit.measure(path, profile=target, threads=1).memory
            predicted = devicekit.predict(path, target, threads=1).memory
        except MeasurementError as error:
            print(f"        {path.name}: {error.message}", flush=True)
            continue
        for what, expected, seen in (
            ("must-have", predicted.must_have_bytes, actual.must_have_bytes),
            ("peak RSS", predicted.peak_rss_bytes, actual.peak_rss_bytes),
        ):
            if expected is not None and seen:
                found[what].append((path.name, predicted.evidence, expected - seen, seen))
    for what, rows in found.items():
        for kind in ("predicted", "simulated"):
            report(say, f"{kernel}, {what}", kind, [row for row in rows if row[1] == kind])


def report(say: Say, title: str, kind: str, rows: Sequence[tuple[str, str, int, int]]) -> None:
    if not rows:
        return
    errors = [(abs(off) / seen, off, name) for name, _, off, seen in rows]
    outside = [name for share, off, name in errors if share > 0.1 and abs(off) > MIB]
    mean, worst = 100 * statistics.mean(share for share, _, _ in errors), max(errors)
    goal = 8 if title.startswith("builtin") else 4
    text = (
        f"{title}, {len(errors)} {kind}: mean error {mean:.1f} % (goal {goal}), worst {100 * worst[0]:.1f} % "
    )
    text += f"({worst[2]}, {worst[1] / MIB:+.2f} MiB); beyond 10 % and 1 MiB: {', '.join(outside) or 'none'}"
    say("memory", text, met=mean <= goal and not outside)


def thresholds(say: Say, files: Sequence[Path]) -> None:
    """Bisects the memory limit from which each file runs, against its predicted must-have memory."""
    from devicekit.device.local import LocalDevice
    from devicekit.errors import MeasurementError
    from devicekit.graph.read import read_graph
    from devicekit.measurement import Plan
    from devicekit.predict.memory import plan_memory
    from devicekit.runner.measure import RunnableModel, measure_model

    ratios = []
    for path in files:
        graph = read_graph(path)
        needed = plan_memory(graph).must_have_bytes
        if needed is None:
            continue

        def runs(limit: float, path: Path = path, sha256: str = graph.sha256) -> bool:
            plan = Plan(memory_bytes=int(limit), warmup_runs=0, warmup_s=0, min_runs=1, min_s=0)
            device = LocalDevice()
            try:
                measure_model(device, RunnableModel(path, sha256), plan)
            except MeasurementError:
                return False
            finally:
                device.close()
            return True

        low, high = 0.7 * needed, 1.5 * needed
        while high - low > 0.01 * needed:
            middle = (low + high) / 2
            low, high = (low, middle) if runs(middle) else (middle, high)
        ratios.append((high / needed - 1, path.name))
    within = sum(-0.01 <= ratio <= 0.2 for ratio, _ in ratios)
    low, high = min(ratios), max(ratios)
    text = (
        f"RLIMIT_DATA: runs from {100 * low[0]:+.0f} % ({low[1]}) to {100 * high[0]:+.0f} % ({high[1]}) of "
    )
    text += f"predicted must-have; {within} of {len(ratios)} within -0 / +20 %"
    say("limit", text, met=within == len(ratios))


def predict_time(say: Say) -> None:
    """The whole process of `devicekit predict` on a MobileNetV2, the median of nine."""
    with tempfile.TemporaryDirectory() as scratch:
        code = (
            "import os; os.environ['KERAS_BACKEND'] = 'tensorflow'; import keras, tensorflow as tf;"
            "m = keras.applications.MobileNetV2(weights=None);"
            "c = tf.lite.TFLiteConverter.from_keras_model(m).convert();"
            f"open({scratch!r} + '/m.tflite', 'wb').write(c)"
        )
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
        argv = [
            str(Path(sys.executable).parent / "devicekit"),
            "predict",
            f"{scratch}/m.tflite",
            "-p",
            "pixel3",
            "-q",
        ]
        times = []
        for _ in range(9):
            start = time.perf_counter()
            subprocess.run(argv, check=True, capture_output=True)
            times.append(time.perf_counter() - start)
        median = statistics.median(times)
        text = f"MobileNetV2: {median:.2f} s whole process (goal 0.6), best {min(times):.2f}"
        say("predict", text, met=median < 0.6)


if __name__ == "__main__":
    build(Path(sys.argv[1]))

"""Writes models whose layers need the remedies for signals and numerics: `make_signal_models.py FOLDER`.

Beside each NAME.keras lies NAME.npz: "x", samples [n, ...], and "y", what Keras makes of them.
"""

import os
import sys
from pathlib import Path

os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"

import keras
import numpy as np
import tensorflow as tf

folder = Path(sys.argv[1])
layers, ops = keras.layers, keras.ops
generator = np.random.default_rng(0)


def save(name, inputs, outputs, samples):
    model = keras.Model(inputs, outputs, name=name)
    model.save(folder / f"{name}.keras")
    rows = [np.asarray(model(sample[None])) for sample in samples]
    np.savez(folder / f"{name}.npz", x=samples, y=np.concatenate(rows))


signal = keras.Input((4000,), name="signal")
mel = layers.MelSpectrogram(
    num_mel_bins=20, sequence_length=400, fft_length=400, sequence_stride=160, name="mel"
)(signal)
scores = layers.Dense(3, name="scores")(layers.GlobalAveragePooling1D()(mel))
save("mel", signal, scores, generator.normal(size=(4, 4000)).astype(np.float32))

mel = layers.MelSpectrogram(num_mel_bins=20, fft_length=256, sequence_stride=128, name="mel")(signal)
save("native_mel", signal, mel, generator.normal(size=(4, 4000)).astype(np.float32))

image = keras.Input((12, 20), name="image")
real, _ = ops.fft2((image, ops.zeros_like(image)))
save("fourier_mixing", image, layers.Dense(4)(real + image), generator.normal(size=(4, 12, 20)))

tags = keras.Input((5,), dtype="int32", name="tags")
encoded = layers.CategoryEncoding(12, output_mode="multi_hot", name="encoded")(tags)
save("tags", tags, layers.Dense(3)(encoded), generator.integers(0, 12, (4, 5)).astype(np.int32))

pose = keras.Input((3, 3), name="pose")
turned = ops.arctan(ops.linalg.inv(pose + 4 * ops.eye(3)) @ pose) + ops.erfinv(ops.tanh(pose))
save("pose", pose, turned, generator.normal(size=(4, 3, 3)).astype(np.float32))


class Cepstrum(tf.Module):
    @tf.function(input_signature=[tf.TensorSpec((1, 2000), tf.float32, name="signal")])
    def __call__(self, signal):
        power = tf.abs(tf.signal.stft(signal, 400, 160, fft_length=480))
        mel = tf.matmul(power, tf.signal.linear_to_mel_weight_matrix(20, 241, 16000, 80.0, 7600.0))
        return {"mfcc": tf.signal.mfccs_from_log_mel_spectrograms(tf.math.log(mel + 1e-6))[..., :13]}


cepstrum = Cepstrum()
tf.saved_model.save(cepstrum, str(folder / "cepstrum"), signatures=cepstrum.__call__)
samples = generator.normal(size=(4, 2000)).astype(np.float32)
rows = [cepstrum(sample[None])["mfcc"].numpy() for sample in samples]
np.savez(folder / "cepstrum.npz", x=samples, y=np.concatenate(rows))

"""Cases for probe.py: Fourier transforms, and what stands between them."""

import keras
import numpy as np
import tensorflow as tf

rfft, real, imag = tf.signal.rfft, tf.math.real, tf.math.imag
WEIGHTS = np.random.default_rng(0).normal(size=(1, 8, 9)) * (1 + 0.5j)
WEIGHTS = WEIGHTS.astype(np.complex64)


def parts(z):
    return real(z), imag(z)


def turned(x):
    """Real values -> complex ones with something in both parts."""
    return tf.cast(x, tf.complex64) * (1 - 0.5j)


def spectrum(function):
    """A case for a function of complex [1, 8, 9] that comes from LiteRT's own RFFT of 16 points."""
    return (lambda x: parts(function(rfft(x))), (1, 8, 16))


def mfcc(length):
    def front_end(x):
        power = tf.abs(tf.signal.stft(x, 400, 160, fft_length=length))
        mel = tf.matmul(
            power, tf.signal.linear_to_mel_weight_matrix(40, length // 2 + 1, 16000, 80.0, 7600.0)
        )
        return tf.signal.mfccs_from_log_mel_spectrograms(tf.math.log(mel + 1e-6))[..., :13]

    return (front_end, (1, 2000))


def there_and_back(x):
    return tf.signal.inverse_stft(tf.signal.stft(x, 256, 128), 256, 128)


POINTS = (1, 2, 3, 12, 80, 257, 400, 1000, 3000)

CASES = {
    **{f"rfft of {n}": (lambda x: parts(rfft(x)), (1, 2, n)) for n in POINTS},
    **{f"fft of {n}": (lambda x: parts(tf.signal.fft(turned(x))), (1, 2, n)) for n in POINTS},
    **{f"ifft of {n}": (lambda x: parts(tf.signal.ifft(turned(x))), (1, 2, n)) for n in POINTS},
    **{f"irfft of {n}": (lambda x, n=n: tf.signal.irfft(turned(x), [n]), (1, 2, n // 2 + 1)) for n in POINTS},
    "fft2d": (lambda x: parts(tf.signal.fft2d(turned(x))), (1, 12, 20)),
    "fft3d": (lambda x: parts(tf.signal.fft3d(turned(x))), (1, 6, 4, 5)),
    "ifft2d": (lambda x: parts(tf.signal.ifft2d(turned(x))), (1, 12, 20)),
    "rfft2d": (lambda x: parts(tf.signal.rfft2d(x)), (1, 12, 20)),
    "rfft2d of 2^n": (lambda x: tf.abs(tf.signal.rfft2d(x)), (1, 16, 8)),
    "irfft2d": (lambda x: tf.signal.irfft2d(turned(x), [12, 20]), (1, 12, 11)),
    "irfft3d": (lambda x: tf.signal.irfft3d(turned(x), [6, 4, 5]), (1, 6, 4, 3)),
    "cropped": (lambda x: tf.abs(tf.raw_ops.RFFT(input=x, fft_length=[12])), (1, 20)),
    "prime": (lambda x: tf.abs(rfft(x)), (1, 4001)),
    "complex input": (lambda z: tf.abs(z + 1), tf.TensorSpec((1, 4), tf.complex64)),
    "complex output": (lambda x: tf.signal.fft(turned(x)), (1, 12)),
    "stft of 2^n": (lambda x: tf.abs(tf.signal.stft(x, 256, 128)), (1, 1024)),
    "stft of 400": (lambda x: tf.abs(tf.signal.stft(x, 400, 160, fft_length=400)), (1, 1024)),
    **{
        f"rfft of {n} in float64": (
            lambda x: tf.cast(tf.abs(rfft(tf.cast(x, tf.float64))), tf.float32),
            (1, n),
        )
        for n in (12, 16)
    },
    "both": (lambda x: (tf.abs(rfft(x)), tf.abs(rfft(x[..., :12]))), (1, 16)),
    "inverse stft": (there_and_back, (1, 1024)),
    "mfcc of 2^n": mfcc(512),
    "mfcc of 400": mfcc(400),
    "log spectrum": (lambda x: tf.math.log(tf.abs(rfft(x)) + 1e-6), (1, 200)),
    "dct": (tf.signal.dct, (1, 40)),
    "idct": (lambda x: tf.signal.idct(x, norm="ortho"), (1, 40)),
    "mdct": (lambda x: tf.signal.mdct(x, 32), (1, 128)),
    "keras fft": (lambda x, y: keras.ops.fft((x, y)), (1, 12), (1, 12)),
    "keras fft2": (lambda x, y: keras.ops.fft2((x, y)), (1, 4, 12), (1, 4, 12)),
    "keras ifft2": (lambda x, y: keras.ops.ifft2((x, y)), (1, 4, 12), (1, 4, 12)),
    "keras rfft": (keras.ops.rfft, (1, 12)),
    "keras irfft": (lambda x, y: keras.ops.irfft((x, y)), (1, 12), (1, 12)),
    "keras stft": (lambda x: keras.ops.stft(x, 400, 160, 400), (1, 1024)),
    "keras istft": (lambda x, y: keras.ops.istft((x, y), 256, 128, 256), (1, 6, 129), (1, 6, 129)),
    "angle": (lambda x: tf.math.angle(rfft(x)), (1, 12)),
    "angle of 2^n": (lambda x: tf.math.angle(rfft(x)), (1, 16)),
    "abs": (lambda x: tf.abs(rfft(x) + 1), (1, 16)),
    "add": spectrum(lambda z: z + WEIGHTS),
    "sub": spectrum(lambda z: z - WEIGHTS),
    "neg": spectrum(lambda z: -z),
    "conj": spectrum(tf.math.conj),
    "mul": spectrum(lambda z: -z * WEIGHTS),
    "div": spectrum(lambda z: z / WEIGHTS),
    "square": spectrum(lambda z: tf.square(z) + 1),
    "exp": spectrum(lambda z: tf.exp(z * 0.01)),
    "polar": spectrum(lambda z: tf.complex(tf.abs(z), 0.0) * tf.exp(tf.complex(0.0, tf.math.angle(z)))),
    "matmul": spectrum(lambda z: tf.matmul(z, WEIGHTS, transpose_b=True)),
    "adjoint": spectrum(lambda z: tf.matmul(z, WEIGHTS, adjoint_a=True)),
    "einsum": spectrum(lambda z: tf.einsum("bij,bkj->bik", z, WEIGHTS)),
    "where": spectrum(lambda z: tf.where(tf.abs(z) > 1, z, tf.zeros_like(z))),
    "reshape": spectrum(lambda z: tf.reshape(z, (1, 72)) + 1),
    "transpose": spectrum(lambda z: tf.transpose(z, (0, 2, 1))),
    "slice": spectrum(lambda z: z[:, :, 2:]),
    "concat": spectrum(lambda z: tf.concat([z, -z], -1)),
    "pad": spectrum(lambda z: tf.pad(z, [[0, 0], [0, 0], [1, 1]])),
    "stack": spectrum(lambda z: tf.stack([z, z])),
    "unstack": spectrum(lambda z: tf.unstack(z, axis=1)[0]),
    "split": spectrum(lambda z: tf.split(z, 2, 1)[0]),
    "sum": spectrum(lambda z: tf.reduce_sum(z, -1)),
    "mean": spectrum(lambda z: tf.reduce_mean(z, -1)),
    "gather": spectrum(lambda z: tf.gather(z, [1, 0], axis=1)),
    "shape": spectrum(lambda z: tf.ones(tf.shape(-z), tf.complex64) + z),
    "cast": (lambda x: tf.cast(-rfft(x), tf.float32), (1, 16)),
}

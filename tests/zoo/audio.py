"""Audio and Fourier transforms inside the model."""

from tests.zoo import custom


def _classified(keras, layers, signal, x):
    x = layers.Reshape((*(int(size) for size in x.shape[1:]), 1))(x)
    x = layers.Conv2D(6, 3, strides=2, activation="relu")(x)
    return keras.Model(signal, layers.Dense(4, name="classes")(layers.GlobalAveragePooling2D()(x)))


def spectrogram(keras, layers):
    signal = layers.Input((1024,), name="signal")
    return _classified(keras, layers, signal, custom.Spectrogram()(signal))


def spectrogram_odd(keras, layers):
    """A frame of 100 samples: no power of two."""
    signal = layers.Input((1000,), name="signal")
    return _classified(keras, layers, signal, custom.Spectrogram(100, 50, 100)(signal))


def log_mel(keras, layers):
    signal = layers.Input((1024,), name="signal")
    return _classified(keras, layers, signal, custom.LogMel()(custom.Spectrogram()(signal)))


def mfcc(keras, layers):
    signal = layers.Input((1024,), name="signal")
    x = custom.Cepstrum()(custom.LogMel()(custom.Spectrogram()(signal)))
    return _classified(keras, layers, signal, x)


def mel_spectrogram(keras, layers):
    """Keras 3 alone has the layer."""
    signal = layers.Input((1024,), name="signal")
    x = layers.MelSpectrogram(
        fft_length=128, sequence_stride=64, sampling_rate=8000, num_mel_bins=16, max_freq=4000
    )(signal)
    return _classified(keras, layers, signal, layers.Rescaling(1 / 40)(x))


def fft_2d(keras, layers):
    image = layers.Input((8, 8, 1), name="image")
    x = layers.Conv2D(4, 3, activation="relu")(custom.Spectrum2D()(image))
    return keras.Model(image, layers.Dense(3, name="classes")(layers.Flatten()(x)))


def fft_filter(keras, layers):
    signal = layers.Input((64,), name="signal")
    return keras.Model(signal, layers.Dense(3, name="y")(custom.InverseSpectrum()(signal)))


def keyword_spotter(keras, layers):
    """Log mel bands, separable convolutions, a GRU: a wake word detector."""
    signal = layers.Input((1024,), name="signal")
    x = custom.LogMel()(custom.Spectrogram()(signal))
    x = layers.BatchNormalization()(layers.SeparableConv1D(12, 3, activation="relu")(x))
    return keras.Model(signal, layers.Dense(4, activation="softmax", name="words")(layers.GRU(8)(x)))

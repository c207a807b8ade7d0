"""The custom layers and functions of the zoo: what its models need as `--custom-objects`.

`import keras` means whichever Keras saves or loads the model: the kit sees to it, and `build.py` too.
"""

import keras
import tensorflow as tf

register = keras.saving.register_keras_serializable("zoo")


class Scale(keras.layers.Layer):
    """Multiplies each channel by a trained weight, through a sine. Not registered: many are not."""

    def build(self, shape):
        self.scale = self.add_weight(name="scale", shape=(int(shape[-1]),), initializer="ones")

    def call(self, inputs):
        return tf.sin(inputs * self.scale)


@register
class RootMeanSquareNorm(keras.layers.Layer):
    def build(self, shape):
        self.gamma = self.add_weight(name="gamma", shape=(int(shape[-1]),), initializer="ones")

    def call(self, inputs):
        return inputs * tf.math.rsqrt(tf.reduce_mean(inputs**2, axis=-1, keepdims=True) + 1e-6) * self.gamma


@register
class Positions(keras.layers.Layer):
    """Adds a trained embedding of the position to a sequence."""

    def build(self, shape):
        self.table = self.add_weight(name="table", shape=(int(shape[1]), int(shape[2])))

    def call(self, inputs):
        return inputs + self.table


@register
class ClassToken(keras.layers.Layer):
    """Puts a trained token before a sequence."""

    def build(self, shape):
        self.token = self.add_weight(name="token", shape=(1, 1, int(shape[-1])))

    def call(self, inputs):
        return tf.concat([tf.repeat(self.token, tf.shape(inputs)[0], axis=0), inputs], axis=1)


@register
class Spectrogram(keras.layers.Layer):
    """Magnitudes of a short-time Fourier transform: [samples] to [frames, fft / 2 + 1]."""

    def __init__(self, frame=128, step=64, fft=128, **kwargs):
        super().__init__(**kwargs)
        self.frame, self.step, self.fft = frame, step, fft

    def call(self, inputs):
        return tf.abs(tf.signal.stft(inputs, self.frame, self.step, self.fft))

    def get_config(self):
        return {**super().get_config(), "frame": self.frame, "step": self.step, "fft": self.fft}


@register
class LogMel(keras.layers.Layer):
    """Logarithm of mel bands: a spectrogram [frames, bins] to [frames, bands]."""

    def __init__(self, bands=16, rate=8000, **kwargs):
        super().__init__(**kwargs)
        self.bands, self.rate = bands, rate

    def call(self, inputs):
        matrix = tf.signal.linear_to_mel_weight_matrix(
            self.bands, int(inputs.shape[-1]), self.rate, 80.0, 3600.0
        )
        return tf.math.log(tf.matmul(inputs, matrix) + 1e-3)

    def get_config(self):
        return {**super().get_config(), "bands": self.bands, "rate": self.rate}


@register
class Cepstrum(keras.layers.Layer):
    """The first mel-frequency cepstral coefficients: [frames, bands] to [frames, count]."""

    def __init__(self, count=10, **kwargs):
        super().__init__(**kwargs)
        self.count = count

    def call(self, inputs):
        return tf.signal.mfccs_from_log_mel_spectrograms(inputs)[..., : self.count]

    def get_config(self):
        return {**super().get_config(), "count": self.count}


@register
class Spectrum2D(keras.layers.Layer):
    """Magnitudes of a two-dimensional Fourier transform over the first two axes of an image."""

    def call(self, inputs):
        planes = tf.cast(tf.transpose(inputs, [0, 3, 1, 2]), tf.complex64)
        return tf.transpose(tf.abs(tf.signal.fft2d(planes)), [0, 2, 3, 1]) / 16.0


@register
class InverseSpectrum(keras.layers.Layer):
    """Filters a signal in the frequency domain: RFFT, weights, inverse RFFT."""

    def build(self, shape):
        self.weight = self.add_weight(name="weight", shape=(int(shape[-1]) // 2 + 1,))

    def call(self, inputs):
        spectrum = tf.signal.rfft(inputs) * tf.cast(self.weight, tf.complex64)
        return tf.signal.irfft(spectrum, [int(inputs.shape[-1])])


@register
class Doubling(keras.layers.Layer):
    """Doubles a vector until its length exceeds 10: a while loop that depends on the data."""

    def call(self, inputs):
        def is_short(x):
            return tf.reduce_max(tf.norm(x, axis=-1)) < 10.0

        return tf.while_loop(is_short, lambda x: [x * 2.0], [inputs + 0.01])[0]


@register
class Branches(keras.layers.Layer):
    """Takes one of two paths by the mean of its input: a condition that depends on the data."""

    def call(self, inputs):
        is_bright = tf.reduce_mean(inputs) > 0.5
        return tf.cond(is_bright, lambda: tf.tanh(inputs), lambda: inputs * 0.5 + 1.0)


@register
class Inverse(keras.layers.Layer):
    """Inverts the 4 x 4 matrix that is made of its input, made regular first."""

    def call(self, inputs):
        matrix = tf.reshape(inputs, [-1, 4, 4]) + 3.0 * tf.eye(4)
        return tf.reshape(tf.linalg.inv(matrix), [-1, 16])


@register
class Sampling(keras.layers.Layer):
    """Draws from the normal distribution that a variational encoder describes."""

    def call(self, inputs):
        mean, log_variance = inputs
        return mean + tf.exp(0.5 * log_variance) * tf.random.normal(tf.shape(mean))


@register
class Detections(keras.layers.Layer):
    """Non-maximum suppression: boxes [n, 4] and scores [n, classes] to the best `count`."""

    def __init__(self, count=5, **kwargs):
        super().__init__(**kwargs)
        self.count = count

    def call(self, inputs):
        boxes, scores = inputs
        found = tf.image.combined_non_max_suppression(
            boxes[:, :, None, :], scores, self.count, self.count, iou_threshold=0.5, score_threshold=0.3
        )
        return tf.concat([found.nmsed_boxes, found.nmsed_scores[..., None]], axis=-1)

    def get_config(self):
        return {**super().get_config(), "count": self.count}


@register
class OddOperators(keras.layers.Layer):
    """Operators that few models have: roll, cumulated sums, remainders, arctangent, argmax."""

    def call(self, inputs):
        rolled = tf.roll(inputs, shift=2, axis=-1)
        summed = tf.cumsum(inputs, axis=-1) / 8.0
        angle = tf.atan2(inputs, rolled + 0.5)
        best = tf.cast(tf.argmax(inputs, axis=-1), tf.float32)[..., None] / 8.0
        odd = tf.math.floormod(inputs * 3.0, 1.0) + tf.where(inputs > rolled, angle, summed)
        return tf.concat([odd, tf.broadcast_to(best, tf.shape(inputs))], axis=-1)


@register
class Best(keras.layers.Layer):
    """The three largest values and their places, as floats."""

    def call(self, inputs):
        values, places = tf.math.top_k(inputs, 3)
        return tf.concat([values, tf.cast(places, tf.float32) / 8.0], axis=-1)


@register
class Einsum(keras.layers.Layer):
    """A bilinear form of two trained tensors, by einsum."""

    def build(self, shape):
        self.core = self.add_weight(name="core_kernel", shape=(int(shape[-1]), 4, 6))

    def call(self, inputs):
        return tf.einsum("btc,cdf,bsd->btsf", inputs, self.core, inputs[..., :4]) / 4.0


@register
class HighRank(keras.layers.Layer):
    """Shuffles blocks of an image through a tensor of seven dimensions (pixel shuffle)."""

    def call(self, inputs):
        blocks = tf.reshape(inputs, [-1, 4, 4, 4, 2, 2, 3])
        return tf.reshape(tf.transpose(blocks, [0, 1, 4, 2, 5, 3, 6]), [-1, 8, 8, 12])


@register
class Pythonic(keras.layers.Layer):
    """Calls Python from the graph: no device can."""

    def call(self, inputs):
        outputs = tf.numpy_function(lambda x: x * x, [inputs], tf.float32)
        outputs.set_shape(inputs.shape)
        return outputs

    def compute_output_shape(self, shape):
        return shape


@register
class MinimalCell(keras.layers.Layer):
    """A recurrent cell of one's own: a leaky integrator."""

    def __init__(self, units=8, **kwargs):
        super().__init__(**kwargs)
        self.units = self.state_size = self.output_size = units

    def build(self, shape):
        self.kernel = self.add_weight(name="kernel", shape=(int(shape[-1]), self.units))
        self.recurrent = self.add_weight(name="recurrent_kernel", shape=(self.units, self.units))

    def call(self, inputs, states):
        state = 0.5 * states[0] + 0.5 * tf.tanh(
            tf.matmul(inputs, self.kernel) + tf.matmul(states[0], self.recurrent)
        )
        return state, [state]

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@register
class Gate(keras.Model):
    """A block as a subclassed model: a dense layer times its own gate."""

    def __init__(self, units=8, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.value = keras.layers.Dense(units, name="value")
        self.gate = keras.layers.Dense(units, activation="sigmoid", name="gate")

    def call(self, inputs):
        return self.value(inputs) * self.gate(inputs)

    def get_config(self):
        return {"name": self.name, "units": self.units}


@register
class Subclassed(keras.Model):
    """A whole model as a class, without a functional graph."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.first = keras.layers.Dense(12, activation="relu", name="first")
        self.block = Gate(8, name="block")
        self.head = keras.layers.Dense(3, name="head")

    def call(self, inputs):
        return self.head(self.block(self.first(inputs)))


@register
def softsign_squared(x):
    return tf.math.softsign(x) * tf.abs(x)


@register
def exact_gelu(x):
    """The gelu of many transformers' code, spelled with erf."""
    return 0.5 * x * (1.0 + tf.math.erf(x / 1.4142135623730951))

"""Recurrent networks of all kinds."""


def simple_rnn(keras, layers):
    series = layers.Input((6, 4), name="series")
    return keras.Model(series, layers.Dense(3, name="y")(layers.SimpleRNN(12)(series)))


def lstm(keras, layers):
    series = layers.Input((6, 4), name="series")
    return keras.Model(series, layers.Dense(3, activation="softmax", name="y")(layers.LSTM(16)(series)))


def stacked_lstm(keras, layers):
    return keras.Sequential(
        [
            layers.Input((6, 4), name="series"),
            layers.LSTM(16, return_sequences=True, dropout=0.1),
            layers.LSTM(12, recurrent_dropout=0.1),
            layers.Dense(3, name="y"),
        ]
    )


def gru(keras, layers):
    series = layers.Input((6, 4), name="series")
    return keras.Model(series, layers.Dense(3, name="y")(layers.GRU(16)(series)))


def gru_long(keras, layers):
    """More steps than anybody unrolls."""
    series = layers.Input((40, 4), name="series")
    return keras.Model(series, layers.Dense(3, name="y")(layers.GRU(8)(series)))


def gru_reset_before(keras, layers):
    series = layers.Input((6, 4), name="series")
    x = layers.GRU(12, reset_after=False, return_sequences=True)(series)
    return keras.Model(series, layers.Dense(3, name="y")(layers.GRU(8, go_backwards=True)(x)))


def bidirectional_lstm(keras, layers):
    series = layers.Input((6, 4), name="series")
    x = layers.Bidirectional(layers.LSTM(10, return_sequences=True))(series)
    x = layers.Bidirectional(layers.LSTM(6), merge_mode="sum")(x)
    return keras.Model(series, layers.Dense(3, name="y")(x))


def bidirectional_gru(keras, layers):
    series = layers.Input((6, 4), name="series")
    x = layers.Bidirectional(layers.GRU(10))(series)
    return keras.Model(series, layers.Dense(3, name="y")(x))


def lstm_unrolled(keras, layers):
    series = layers.Input((6, 4), name="series")
    return keras.Model(series, layers.Dense(3, name="y")(layers.LSTM(12, unroll=True)(series)))


def lstm_any_length(keras, layers):
    series = layers.Input((None, 4), name="series")
    x = layers.LSTM(12, return_sequences=True)(series)
    return keras.Model(series, layers.Dense(3, name="y")(layers.GlobalMaxPooling1D()(x)))


def lstm_masked(keras, layers):
    series = layers.Input((6, 4), name="series")
    x = layers.LSTM(12)(layers.Masking(0.0)(series))
    return keras.Model(series, layers.Dense(3, name="y")(x))


def lstm_stateful(keras, layers):
    series = layers.Input(batch_shape=(1, 6, 4), name="series")
    return keras.Model(series, layers.Dense(3, name="y")(layers.LSTM(12, stateful=True)(series)))


def lstm_states(keras, layers):
    """Streaming: the states go in and come out."""
    series = layers.Input((1, 4), name="series")
    hidden, carry = layers.Input((8,), name="hidden"), layers.Input((8,), name="carry")
    x, hidden_out, carry_out = layers.LSTM(8, return_state=True)(series, initial_state=[hidden, carry])
    outputs = [
        layers.Dense(3, name="y")(x),
        layers.Reshape((8,), name="hidden_out")(hidden_out),
        layers.Reshape((8,), name="carry_out")(carry_out),
    ]
    return keras.Model([series, hidden, carry], outputs)


def stacked_cells(keras, layers):
    series = layers.Input((6, 4), name="series")
    x = layers.RNN([layers.LSTMCell(8), layers.GRUCell(6)])(series)
    return keras.Model(series, layers.Dense(3, name="y")(x))


def custom_cell(keras, layers):
    from tests.zoo import custom

    series = layers.Input((6, 4), name="series")
    return keras.Model(series, layers.Dense(3, name="y")(layers.RNN(custom.MinimalCell(8))(series)))


def conv_lstm(keras, layers):
    frames = layers.Input((4, 8, 8, 2), name="frames")
    x = layers.ConvLSTM2D(4, 3, padding="same", return_sequences=False)(frames)
    return keras.Model(frames, layers.Conv2D(1, 1, name="map")(x))


def cnn_lstm(keras, layers):
    frames = layers.Input((4, 12, 12, 1), name="frames")
    x = layers.TimeDistributed(layers.Conv2D(6, 3, strides=2, activation="relu"))(frames)
    x = layers.TimeDistributed(layers.GlobalAveragePooling2D())(x)
    return keras.Model(frames, layers.Dense(3, name="y")(layers.LSTM(8)(x)))


def time_distributed(keras, layers):
    series = layers.Input((10, 6), name="series")
    x = layers.TimeDistributed(layers.Dense(8, activation="relu"))(series)
    x = layers.TimeDistributed(layers.BatchNormalization())(x)
    return keras.Model(series, layers.TimeDistributed(layers.Dense(2), name="y")(x))


def seq2seq(keras, layers):
    source, target = layers.Input((6, 4), name="source"), layers.Input((4, 3), name="target")
    _, hidden, carry = layers.LSTM(10, return_state=True)(source)
    x = layers.LSTM(10, return_sequences=True)(target, initial_state=[hidden, carry])
    return keras.Model([source, target], layers.Dense(3, activation="softmax", name="y")(x))


def seq2seq_gru(keras, layers):
    source = layers.Input((6, 4), name="source")
    x = layers.RepeatVector(5)(layers.GRU(10)(source))
    x = layers.GRU(8, return_sequences=True)(x)
    return keras.Model(source, layers.TimeDistributed(layers.Dense(2), name="y")(x))


def lstm_attention(keras, layers):
    series = layers.Input((6, 4), name="series")
    x = layers.LSTM(8, return_sequences=True)(series)
    weights = layers.Softmax(axis=1)(layers.Dense(1)(x))
    x = layers.Flatten()(layers.Dot(axes=1)([weights, x]))
    return keras.Model(series, layers.Dense(3, name="y")(x))


def crnn(keras, layers):
    """Reads a line of text from an image: convolutions, then a bidirectional LSTM over columns."""
    image = layers.Input((8, 24, 1), name="image")
    x = layers.MaxPooling2D((2, 2))(layers.Conv2D(8, 3, padding="same", activation="relu")(image))
    x = layers.Reshape((12, 32))(layers.Permute((2, 1, 3))(x))
    x = layers.Bidirectional(layers.LSTM(8, return_sequences=True))(x)
    return keras.Model(image, layers.Dense(6, activation="softmax", name="letters")(x))

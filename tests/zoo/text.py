"""Words, categories and their tables."""

WORDS = ("the", "cat", "dog", "sat", "on", "a", "mat", "red", "blue", "ran")


def embedding_pool(keras, layers):
    words = layers.Input((12,), dtype="int32", name="words")
    x = layers.GlobalAveragePooling1D()(layers.Embedding(200, 16)(words))
    return keras.Model(words, layers.Dense(3, activation="softmax", name="classes")(x))


def text_cnn(keras, layers):
    words = layers.Input((16,), dtype="int32", name="words")
    x = layers.Embedding(200, 12)(words)
    pooled = [layers.GlobalMaxPooling1D()(layers.Conv1D(6, n, activation="relu")(x)) for n in (2, 3, 4)]
    return keras.Model(words, layers.Dense(3, name="classes")(layers.Concatenate()(pooled)))


def embedding_masked_lstm(keras, layers):
    words = layers.Input((6,), dtype="int32", name="words")
    x = layers.LSTM(12)(layers.Embedding(100, 8, mask_zero=True)(words))
    return keras.Model(words, layers.Dense(3, name="classes")(x))


def word_tagger(keras, layers):
    words = layers.Input((6,), dtype="int32", name="words")
    x = layers.Bidirectional(layers.LSTM(8, return_sequences=True))(layers.Embedding(100, 8)(words))
    return keras.Model(words, layers.Dense(5, activation="softmax", name="tags")(x))


def skip_gram(keras, layers):
    """Two words into one table, their dot product out."""
    left, right = (layers.Input((1,), dtype="int32", name=name) for name in ("word", "context"))
    table = layers.Embedding(100, 12)
    vectors = [layers.Flatten()(table(word)) for word in (left, right)]
    return keras.Model([left, right], layers.Dot(axes=1, normalize=True, name="similarity")(vectors))


def recommender(keras, layers):
    user, item = (layers.Input((1,), dtype="int32", name=name) for name in ("user", "item"))
    x = [layers.Flatten()(layers.Embedding(60, 8)(one)) for one in (user, item)]
    x = layers.Dense(12, activation="relu")(layers.Concatenate()(x))
    return keras.Model([user, item], layers.Dense(1, activation="sigmoid", name="rating")(x))


def string_lookup(keras, layers):
    word = layers.Input((1,), dtype="string", name="word")
    index = layers.StringLookup(vocabulary=list(WORDS))(word)
    x = layers.Flatten()(layers.Embedding(len(WORDS) + 1, 6)(index))
    return keras.Model(word, layers.Dense(3, name="classes")(x))


def text_vectorization(keras, layers):
    text = layers.Input((1,), dtype="string", name="text")
    index = layers.TextVectorization(vocabulary=list(WORDS), output_sequence_length=8)(text)
    x = layers.GlobalAveragePooling1D()(layers.Embedding(len(WORDS) + 2, 8)(index))
    return keras.Model(text, layers.Dense(3, name="classes")(x))


def bag_of_words(keras, layers):
    text = layers.Input((1,), dtype="string", name="text")
    counts = layers.TextVectorization(vocabulary=list(WORDS), output_mode="multi_hot")(text)
    return keras.Model(text, layers.Dense(3, name="classes")(layers.Dense(8, activation="relu")(counts)))


def integer_lookup(keras, layers):
    code = layers.Input((1,), dtype="int64", name="code")
    index = layers.IntegerLookup(vocabulary=[3, 5, 7, 8], num_oov_indices=1)(code)
    x = layers.Flatten()(layers.Embedding(5, 6)(index))
    return keras.Model(code, layers.Dense(3, name="classes")(x))


def hashing(keras, layers):
    code = layers.Input((1,), dtype="int64", name="code")
    x = layers.Flatten()(layers.Embedding(8, 6)(layers.Hashing(num_bins=8)(code)))
    return keras.Model(code, layers.Dense(3, name="classes")(x))


def category_encoding(keras, layers):
    day, tags = (
        layers.Input((1,), dtype="int32", name="day"),
        layers.Input((3,), dtype="int32", name="tags"),
    )
    one = layers.CategoryEncoding(num_tokens=7, output_mode="one_hot")(day)
    many = layers.CategoryEncoding(num_tokens=10, output_mode="multi_hot")(tags)
    x = layers.Dense(8, activation="relu")(layers.Concatenate()([one, many]))
    return keras.Model([day, tags], layers.Dense(2, name="y")(x))


def discretization(keras, layers):
    age = layers.Input((1,), name="age")
    bucket = layers.Discretization(bin_boundaries=[18.0, 30.0, 45.0, 65.0])(age)
    x = layers.Flatten()(layers.Embedding(5, 6)(bucket))
    return keras.Model(age, layers.Dense(2, name="y")(x))


def wide_and_deep(keras, layers):
    """Tabular data: numbers, a bucketed number and a category."""
    numbers = layers.Input((4,), name="numbers")
    age, place = layers.Input((1,), name="age"), layers.Input((1,), dtype="int32", name="place")
    bucket = layers.Discretization(bin_boundaries=[18.0, 40.0, 65.0], output_mode="one_hot")(age)
    scaled = layers.Normalization(mean=[0.5] * 4, variance=[0.1] * 4)(numbers)
    deep = layers.Concatenate()([scaled, layers.Flatten()(layers.Embedding(20, 4)(place))])
    deep = layers.Dense(8, activation="relu")(deep)
    x = layers.Concatenate()([deep, bucket])
    return keras.Model([numbers, age, place], layers.Dense(1, activation="sigmoid", name="y")(x))

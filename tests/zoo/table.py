"""The table of the zoo: name -> what builds it, what it is, and what the kit must be told."""

from collections.abc import Mapping
from dataclasses import dataclass, field

# What is drawn for an input: floats or integers within (low, high), or texts made of these words.
Range = tuple[float, float] | tuple[str, ...]

WORDS = ("the", "cat", "dog", "sat", "on", "a", "mat", "red", "bird", "flew")
TEXT = (" ", *WORDS, "Cat,", "DOG!", "it's")  # with a space: sentences of these words
# Sixteen rounding steps of a half type (10 and 7 bits behind the point).
FLOAT16, BFLOAT16 = 16 * 2.0**-10, 16 * 2.0**-7
AUDIO: Mapping[str, Range] = {"signal": (-1, 1)}


@dataclass(frozen=True)
class Entry:
    """One architecture.

    `build` is "module:function" here, called with (keras, layers). `ranges` says what inputs take, 0..1
    where it does not. `shapes` fixes free sizes (with the batch of 1). `custom` and `trust` are whether the
    kit gets `--custom-objects custom.py` and `--trust`. `no_h5` and `no_keras` are why there is no such
    file. `random_outputs` are compared with nothing. `refused` is what the kit calls the layer that no
    device can run: it must refuse the model and say so. `twin` builds the same in float32 for a model in
    half precision, whose own outputs may be `rounding` away from that. `one_by_one` is for models whose
    outputs depend on what else is in the batch; the others are recorded in one batch, as trained: at batch
    1 Keras 3 computes some sums wrongly. `padded` ends each sample with zeros of a length of its own, as
    masks expect. One that `is_stateful` keeps a state from one sample to the next: they are one sequence.
    """

    build: str
    what: str
    ranges: Mapping[str, Range] = field(default_factory=dict)
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    custom: bool = False
    trust: bool = False
    is_recurrent: bool = False
    no_h5: str = ""
    no_keras: str = ""
    random_outputs: tuple[str, ...] = ()
    refused: str = ""
    one_by_one: bool = False
    twin: str = ""
    rounding: float = 0.0
    padded: bool = False
    is_stateful: bool = False

    @property
    def takes_text(self) -> bool:
        return any(isinstance(choice[0], str) for choice in self.ranges.values())


def _rnn(build: str, what: str, **options: object) -> Entry:
    return Entry(f"rnn:{build}", what, is_recurrent=True, **options)  # type: ignore[arg-type]


ZOO: Mapping[str, Entry] = {
    # cnn.py
    "mlp": Entry("cnn:mlp", "dense layers, dropout"),
    "cnn": Entry("cnn:cnn", "convolutions, batch norm, pooling"),
    "mobilenet_v1": Entry("cnn:mobilenet_v1", "depthwise separable convolutions, ReLU6"),
    "mobilenet_v2": Entry("cnn:mobilenet_v2", "inverted residuals"),
    "mobilenet_v3": Entry("cnn:mobilenet_v3", "hard swish, squeeze and excite"),
    "efficientnet": Entry("cnn:efficientnet", "swish, squeeze and excite, inverted residuals"),
    "resnet": Entry("cnn:resnet", "residual blocks"),
    "densenet": Entry("cnn:densenet", "concatenated blocks"),
    "inception": Entry("cnn:inception", "parallel branches, merge layers"),
    "squeeze_excite": Entry("cnn:squeeze_excite", "separable convolution, channel gate"),
    "unet": Entry("cnn:unet", "U-Net with transposed convolutions"),
    "grouped_conv": Entry("cnn:grouped_conv", "grouped convolutions"),
    "shufflenet": Entry("cnn:shufflenet", "channel shuffle between grouped convolutions"),
    "dilated": Entry("cnn:dilated", "dilated convolutions, also depthwise; PReLU"),
    "detector": Entry("cnn:detector", "one-stage detector, raw boxes and scores"),
    "feature_pyramid": Entry("cnn:feature_pyramid", "nearest and bilinear upsampling"),
    "autoencoder": Entry("cnn:autoencoder", "nested encoder and decoder, ELU, SELU"),
    "generator": Entry("cnn:generator", "GAN generator: noise to image", {"noise": (-2, 2)}),
    "dynamic_image": Entry(
        "cnn:dynamic_image", "free image size, fixed by --shape", shapes={"photo": (1, 24, 24, 3)}
    ),
    "conv3d": Entry("cnn:conv3d", "3D convolutions, MaxPooling3D"),
    "conv3d_average": Entry("cnn:conv3d_average", "3D convolution, average and global 3D pooling"),
    "conv3d_transpose": Entry("cnn:conv3d_transpose", "3D transposed convolution"),
    "conv1d": Entry("cnn:conv1d", "1D convolutions over a signal", AUDIO),
    "tcn": Entry("cnn:tcn", "causal dilated convolutions with residuals"),
    "wavenet": Entry("cnn:wavenet", "gated causal convolutions", {"series": (-1, 1)}),
    "conv1d_unet": Entry("cnn:conv1d_unet", "1D U-Net with a transposed convolution", AUDIO),
    "locally_connected": Entry(
        "cnn:locally_connected", "locally connected layer", no_keras="Keras 3 has no such layer"
    ),
    # rnn.py
    "simple_rnn": _rnn("simple_rnn", "SimpleRNN"),
    "lstm": _rnn("lstm", "LSTM"),
    "stacked_lstm": _rnn("stacked_lstm", "two LSTMs with dropout"),
    "gru": _rnn("gru", "GRU"),
    "gru_long": _rnn("gru_long", "GRU over 40 steps"),
    "gru_reset_before": _rnn("gru_reset_before", "GRU, reset before; a second one backwards"),
    "bidirectional_lstm": _rnn("bidirectional_lstm", "two bidirectional LSTMs"),
    "bidirectional_gru": _rnn("bidirectional_gru", "bidirectional GRU"),
    "lstm_unrolled": _rnn("lstm_unrolled", "unrolled LSTM"),
    "lstm_any_length": _rnn(
        "lstm_any_length", "LSTM over a free length, fixed by --shape", shapes={"series": (1, 10, 4)}
    ),
    "lstm_masked": _rnn("lstm_masked", "LSTM behind a mask", padded=True),
    "lstm_stateful": _rnn("lstm_stateful", "stateful LSTM, batch of 1", one_by_one=True, is_stateful=True),
    "lstm_states": _rnn("lstm_states", "one LSTM step, states in and out", ranges={"hidden": (-1, 1)}),
    "stacked_cells": _rnn("stacked_cells", "RNN over an LSTM cell and a GRU cell"),
    "custom_cell": _rnn("custom_cell", "RNN over a cell of one's own", custom=True),
    "conv_lstm": _rnn("conv_lstm", "ConvLSTM2D"),
    "cnn_lstm": _rnn("cnn_lstm", "convolution for each frame, then an LSTM"),
    "time_distributed": Entry("rnn:time_distributed", "dense layers for each time step"),
    "seq2seq": _rnn("seq2seq", "encoder and decoder LSTM"),
    "seq2seq_gru": _rnn("seq2seq_gru", "encoder and decoder GRU"),
    "lstm_attention": _rnn("lstm_attention", "attention over an LSTM's outputs"),
    "crnn": _rnn("crnn", "convolutions, then a bidirectional LSTM over columns"),
    # attention.py
    "dot_attention": Entry("attention:dot_attention", "dot-product attention"),
    "additive_attention": Entry("attention:additive_attention", "additive attention"),
    "transformer_encoder": Entry(
        "attention:transformer_encoder", "transformer encoder over words", {"words": (0, 49)}, custom=True
    ),
    "transformer_decoder": Entry(
        "attention:transformer_decoder", "causal and cross attention", {"words": (0, 49)}, custom=True
    ),
    "vit": Entry("attention:vit", "vision transformer with a class token", custom=True),
    "mixer": Entry("attention:mixer", "MLP mixer"),
    "conformer": Entry("attention:conformer", "attention and depthwise convolution over time"),
    "channel_and_space": Entry("attention:channel_and_space", "attention over channels and places"),
    "llama": Entry("attention:llama", "RMS norm, gated feed-forward layer", {"words": (0, 39)}, custom=True),
    "grouped_query_attention": Entry(
        "attention:grouped_query_attention",
        "grouped query attention, RMS norm",
        no_h5="tf_keras has no such layer",
    ),
    # text.py
    "embedding_pool": Entry("text:embedding_pool", "embedding, average", {"words": (0, 199)}),
    "text_cnn": Entry("text:text_cnn", "embedding, convolutions of three sizes", {"words": (0, 199)}),
    "embedding_masked_lstm": Entry(
        "text:embedding_masked_lstm",
        "masked embedding, LSTM",
        {"words": (1, 99)},
        is_recurrent=True,
        padded=True,
    ),
    "word_tagger": Entry("text:word_tagger", "bidirectional LSTM", {"words": (0, 99)}, is_recurrent=True),
    "skip_gram": Entry(
        "text:skip_gram", "one shared embedding, cosine", {"word": (0, 99), "context": (0, 99)}
    ),
    "recommender": Entry("text:recommender", "two embeddings", {"user": (0, 59), "item": (0, 59)}),
    "string_lookup": Entry("text:string_lookup", "StringLookup, embedding", {"word": WORDS}),
    "text_vectorization": Entry("text:text_vectorization", "TextVectorization, embedding", {"text": TEXT}),
    "bag_of_words": Entry("text:bag_of_words", "TextVectorization to a multi-hot", {"text": TEXT}),
    "integer_lookup": Entry("text:integer_lookup", "IntegerLookup, embedding", {"code": (0, 9)}),
    "hashing": Entry("text:hashing", "Hashing, embedding", {"code": (0, 1000)}),
    "category_encoding": Entry(
        "text:category_encoding", "one-hot and multi-hot CategoryEncoding", {"day": (0, 6), "tags": (0, 9)}
    ),
    "discretization": Entry("text:discretization", "Discretization, embedding", {"age": (0, 99)}),
    "wide_and_deep": Entry(
        "text:wide_and_deep", "numbers, buckets and a category", {"age": (0, 99), "place": (0, 19)}
    ),
    # audio.py
    "spectrogram": Entry("audio:spectrogram", "short-time Fourier transform", AUDIO, custom=True),
    "spectrogram_odd": Entry("audio:spectrogram_odd", "the same with frames of 100", AUDIO, custom=True),
    "log_mel": Entry("audio:log_mel", "log mel bands", AUDIO, custom=True),
    "mfcc": Entry("audio:mfcc", "mel-frequency cepstral coefficients", AUDIO, custom=True),
    "mel_spectrogram": Entry(
        "audio:mel_spectrogram", "Keras 3's MelSpectrogram", AUDIO, no_h5="tf_keras has no such layer"
    ),
    "fft_2d": Entry("audio:fft_2d", "two-dimensional Fourier transform", custom=True),
    "fft_filter": Entry("audio:fft_filter", "RFFT, weights, inverse RFFT", AUDIO, custom=True),
    "keyword_spotter": Entry(
        "audio:keyword_spotter", "log mel bands, GRU", AUDIO, custom=True, is_recurrent=True
    ),
    # structure.py
    "multi_input_output": Entry("structure:multi_input_output", "two inputs, two outputs"),
    "dict_input_output": Entry("structure:dict_input_output", "dicts of inputs and outputs"),
    "nested": Entry("structure:nested", "a Sequential within a model within a model"),
    "shared": Entry("structure:shared", "one layer used three times"),
    "siamese": Entry("structure:siamese", "one tower for two images"),
    "subclassed": Entry(
        "structure:subclassed",
        "a subclassed model without a graph",
        shapes={"inputs": (1, 8)},
        custom=True,
        no_h5="HDF5 holds no subclassed model",
    ),
    "subclassed_block": Entry("structure:subclassed_block", "a subclassed block in a graph", custom=True),
    "custom_layer": Entry("structure:custom_layer", "an unregistered layer", custom=True),
    "custom_activation": Entry("structure:custom_activation", "a registered activation", custom=True),
    "lambda_layer": Entry("structure:lambda_layer", "a Lambda layer", trust=True),
    "operators": Entry("structure:operators", "operators on symbolic tensors, slicing"),
    "while_loop": Entry(
        "structure:while_loop", "a loop that depends on the data", custom=True, one_by_one=True
    ),
    "condition": Entry(
        "structure:condition", "a branch that depends on the data", custom=True, one_by_one=True
    ),
    "variational": Entry(
        "structure:variational", "a random draw within", custom=True, random_outputs=("drawn",)
    ),
    "dueling": Entry("structure:dueling", "dueling value network"),
    "new_axis": Entry("structure:new_axis", "an axis added by indexing, RepeatVector"),
    "broadcast_sum": Entry("structure:broadcast_sum", "a sum that broadcasts along the last axis"),
    "experts": Entry("structure:experts", "mixture of experts"),
    "high_rank": Entry("structure:high_rank", "pixel shuffle through seven dimensions", custom=True),
    "py_function": Entry(
        "structure:py_function", "a Python function within", custom=True, refused="python (Pythonic)"
    ),
    # preprocessing.py
    "rescaling": Entry("preprocessing:rescaling", "Rescaling, Normalization", {"image": (0, 255)}),
    "rescaling_integers": Entry("preprocessing:rescaling_integers", "uint8 image", {"image": (0, 255)}),
    "normalization": Entry("preprocessing:normalization", "adapted Normalization", {"columns": (0, 60)}),
    "resizing_bilinear": Entry("preprocessing:resizing_bilinear", "bilinear Resizing"),
    "resizing_nearest": Entry("preprocessing:resizing_nearest", "nearest Resizing"),
    "resizing_bicubic": Entry("preprocessing:resizing_bicubic", "bicubic Resizing"),
    "upsampling_bicubic": Entry("preprocessing:upsampling_bicubic", "bicubic UpSampling2D"),
    "center_crop": Entry("preprocessing:center_crop", "CenterCrop"),
    "augmentation": Entry("preprocessing:augmentation", "six Random* layers, noise"),
    # numeric.py
    "mixed_float16": Entry(
        "numeric:mixed_float16", "mixed_float16 policy", twin="numeric:small_cnn", rounding=FLOAT16
    ),
    "mixed_bfloat16": Entry(
        "numeric:mixed_bfloat16", "mixed_bfloat16 policy", twin="numeric:small_cnn", rounding=BFLOAT16
    ),
    "float16_lstm": Entry(
        "numeric:float16_lstm",
        "LSTM, mixed_float16 policy",
        is_recurrent=True,
        twin="numeric:small_lstm",
        rounding=FLOAT16,
    ),
    "float64": Entry("numeric:float64", "float64 throughout"),
    "activations": Entry("numeric:activations", "nine activations"),
    "gelu_erf": Entry("numeric:gelu_erf", "GELU spelled with erf", custom=True),
    "norms": Entry("numeric:norms", "group, layer and unit norm"),
    "spectral_norm": Entry("numeric:spectral_norm", "spectral norm around a convolution"),
    "matrix_inverse": Entry("numeric:matrix_inverse", "matrix inverse", custom=True),
    "suppression": Entry("numeric:suppression", "non-maximum suppression", custom=True),
    "odd_operators": Entry("numeric:odd_operators", "roll, cumsum, floormod, atan2, argmax", custom=True),
    "top_k": Entry("numeric:top_k", "largest values and their places", custom=True),
    "einsum": Entry("numeric:einsum", "einsum of three tensors", custom=True),
}

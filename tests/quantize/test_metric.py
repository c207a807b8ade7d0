"""predict_function: what the user's --eval function is given."""

import numpy as np

from devicekit.quantize.metric import predict_function


def test_predict_takes_and_gives_the_bare_array_where_there_is_one() -> None:
    predict = predict_function(lambda arrays: {"y": arrays["x"] * 2}, ("x",))
    np.testing.assert_array_equal(predict(np.ones(3)), np.full(3, 2.0))
    np.testing.assert_array_equal(predict({"x": np.ones(3)}), np.full(3, 2.0))

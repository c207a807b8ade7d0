"""find_scores: which outputs rank classes and which the labels are about; accuracy on them."""

import numpy as np
import pytest

from devicekit.errors import UsageError
from devicekit.quantize.scores import Scores, find_scores, hits

RNG = np.random.default_rng(0)
LABELS = np.arange(10)
EMBEDDING = RNG.normal(size=(10, 64)).astype(np.float32)
LOGITS = RNG.normal(size=(10, 10)).astype(np.float32)
PROBABILITIES = (np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True)).astype(np.float32)
SIGMOIDS = (1 / (1 + np.exp(-LOGITS))).astype(np.float32)
BINARY = LABELS % 2


def found(outputs: dict[str, np.ndarray], labels: np.ndarray | None) -> tuple[tuple[str, ...], str | None]:
    scores = find_scores(outputs, labels, source="calib.npz")
    return scores.ranked, scores.labelled


def refusal(outputs: dict[str, np.ndarray], labels: np.ndarray) -> tuple[str, str]:
    with pytest.raises(UsageError) as caught:
        find_scores(outputs, labels, source="calib.npz")
    return caught.value.message, caught.value.remedy


def test_probabilities_rank_classes_and_an_embedding_before_them_does_not() -> None:
    outputs = {"embedding": EMBEDDING, "classes": PROBABILITIES}
    assert found(outputs, None) == (("classes",), None)
    assert found(outputs, LABELS) == (("classes",), "classes")


def test_every_output_of_probabilities_ranks() -> None:
    assert found({"a": PROBABILITIES, "b": PROBABILITIES[:, ::-1]}, None) == (("a", "b"), None)


@pytest.mark.parametrize("values", [LOGITS, SIGMOIDS], ids=["logits", "sigmoids"])
def test_the_only_vector_ranks_classes_where_there_are_labels(values: np.ndarray) -> None:
    assert found({"y": values}, None) == ((), None)
    assert found({"y": values}, LABELS) == (("y",), "y")


def test_sigmoids_beside_an_embedding_take_the_labels() -> None:
    assert found({"embedding": EMBEDDING, "y": SIGMOIDS}, LABELS) == (("y",), "y")


def test_one_probability_beside_an_embedding_takes_labels_of_0_and_1() -> None:
    assert found({"embedding": EMBEDDING, "y": SIGMOIDS[:, :1]}, BINARY) == ((), "y")


def test_labels_go_to_the_output_with_enough_classes() -> None:
    two = np.tile(np.array([[0.25, 0.75]], np.float32), (10, 1))
    assert found({"is_cat": two, "breed": PROBABILITIES}, LABELS) == (("is_cat", "breed"), "breed")


def test_labels_that_fit_two_classifiers_are_refused() -> None:
    message, remedy = refusal({"a": PROBABILITIES, "b": PROBABILITIES}, LABELS)
    assert message == "calib.npz: y: fits 2 outputs of scores: a, b; expected one"
    assert remedy == "leave y out, and score with --eval file.py:function"


@pytest.mark.parametrize(("label", "span"), [(77, "0..77"), (-1, "-1..8"), (10, "0..10")])
@pytest.mark.parametrize("values", [PROBABILITIES, SIGMOIDS, LOGITS], ids=["softmax", "sigmoid", "logits"])
def test_labels_out_of_range_are_refused(label: int, span: str, values: np.ndarray) -> None:
    message, remedy = refusal({"y": values}, np.array([*range(9), label]))
    assert message == f"calib.npz: y: found labels {span}, expected 0..9: the output y has 10 classes"
    assert remedy == "correct y, or leave it out and score with --eval file.py:function"


@pytest.mark.parametrize(
    "values", [np.ones((10, 4, 2), "f4"), np.full((10, 1), 7, "f4"), np.ones((10, 2), "i4")]
)
def test_labels_are_unused_where_no_output_holds_scores(values: np.ndarray) -> None:
    assert found({"y": values}, BINARY) == ((), None)


def share_hit(outputs: dict[str, np.ndarray], scores: Scores) -> float:
    found = hits(outputs, scores)
    assert found is not None
    return float(found.mean())


def test_accuracy_is_the_share_of_labels_hit_by_their_output() -> None:
    outputs = {"embedding": EMBEDDING, "y": np.eye(10, dtype="f4")}
    labels = np.array([0, 1, 2, 3, 4, 5, 6, 7, 0, 0])
    assert share_hit(outputs, Scores(("y",), "y", labels)) == 0.8
    assert hits(outputs, Scores(("y",))) is None


def test_accuracy_of_one_probability_splits_at_one_half() -> None:
    outputs = {"y": np.array([[0.4], [0.6]], "f4")}
    assert share_hit(outputs, Scores((), "y", np.array([0, 1]))) == 1.0


def test_the_first_samples_keep_their_labels() -> None:
    first = Scores(("y",), "y", LABELS).first(3)
    assert first.labels is not None and first.labels.tolist() == [0, 1, 2]
    assert Scores(("y",)).first(3) == Scores(("y",))

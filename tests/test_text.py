from devicekit.text import nearest


def test_nearest_ignores_case_and_keeps_the_known_spelling() -> None:
    assert nearest("conv_2D", ["CONV_2D", "ADD"]) == "CONV_2D"


def test_nothing_near_is_none() -> None:
    assert nearest("zzz", ["float32"]) is None
    assert nearest("", ["float32"]) is None
    assert nearest("x" * 100_000, ["x" * 100_000]) is None

"""The exception tree: messages are interface, exit codes are documented."""

import pytest

from devicekit import errors


def all_errors() -> list[type[errors.DevicekitError]]:
    found, pending = [], [errors.DevicekitError]
    while pending:
        cls = pending.pop()
        found.append(cls)
        pending += cls.__subclasses__()
    return found


@pytest.mark.parametrize(
    ("branch", "code"),
    [
        (errors.UsageError, 2),
        (errors.ProfileError, 2),
        (errors.RecipeError, 2),
        (errors.ModelError, 3),
        (errors.DeviceError, 4),
        (errors.MeasurementError, 5),
        (errors.GateFailed, 6),
        (errors.StoreError, 7),
    ],
)
def test_every_branch_keeps_its_exit_code(branch: type[errors.DevicekitError], code: int) -> None:
    assert all(cls.exit_code == code for cls in all_errors() if issubclass(cls, branch))


def test_a_profile_error_lists_all_its_problems() -> None:
    problems = [
        errors.Problem("limits.memory_mib", "is 0", "must be above 0"),
        errors.Problem("limits.memory_mb", "unknown key", "must be one of the schema's", "memory_mib"),
    ]
    error = errors.ProfileError("p.toml", problems, remedy="fix them")
    assert error.message == (
        "p.toml has 2 problems\n"
        "  p.toml: limits.memory_mib: is 0, must be above 0\n"
        "  p.toml: limits.memory_mb: unknown key, must be one of the schema's; did you mean memory_mib?"
    )


def test_json_keeps_class_message_remedy_and_exit_code() -> None:
    error = errors.OutOfMemory("m.tflite", limit_bytes=48 * 2**20, where="init")
    copy = errors.from_json(error.to_json())
    assert type(copy) is errors.OutOfMemory
    assert copy.to_json() == error.to_json()
    assert copy.message == "m.tflite needs more than 48 MiB (during init)"


def test_an_unknown_kind_from_another_version_is_still_an_error() -> None:
    copy = errors.from_json({"kind": "FromTheFuture", "message": "m", "remedy": "r"})
    assert (type(copy), copy.message, copy.remedy) == (errors.DevicekitError, "m", "r")

"""The errors that cross module borders. Constructors take facts; the class words them.

DevicekitError                      exit
├── UsageError                         2
├── ProfileError                       2
│   └── FleetError
├── RecipeError                        2
├── ModelError                         3
│   ├── LoadError
│   ├── ConvertError
│   │   └── Unsupported
│   ├── UntrustedModel
│   └── DoesNotFit
├── DeviceError                        4
│   ├── NoDevice
│   ├── NotUnique
│   ├── Unauthorized
│   ├── HostKeyRefused
│   ├── Offline
│   ├── Lost (transient)
│   ├── Busy
│   └── DeviceFull
├── MeasurementError                   5
│   ├── OutOfMemory
│   ├── TimedOut
│   ├── UnreadableOutput
│   └── WrongOutput
├── GateFailed                         6
└── StoreError                         7
    ├── NewerStore
    └── StoreFull
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from devicekit.finding import Finding


class DevicekitError(Exception):
    """What went wrong (`message`), and the one thing to do about it (`remedy`)."""

    exit_code = 1
    transient = False

    def __init__(self, message: str, *, remedy: str) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy

    @property
    def kind(self) -> str:
        return type(self).__name__

    def to_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "message": self.message,
            "remedy": self.remedy,
            "exit_code": self.exit_code,
        }


class UsageError(DevicekitError):
    """The command line, or a file that the user named on it, asks for something that cannot be."""

    exit_code = 2


@dataclass(frozen=True)
class Problem:
    """One mistake in a TOML file: `key` is dotted, `expected` what is right ("" where `nearest` says so)."""

    key: str
    found: str
    expected: str
    nearest: str | None = None

    def __str__(self) -> str:
        hint = f"; did you mean {self.nearest}?" if self.nearest else ""
        where = f"{self.key}: " if self.key else ""
        return f"{where}{', '.join(filter(None, (self.found, self.expected)))}{hint}"


class ProfileError(DevicekitError):
    """A profile that cannot be found, or whose file has problems: all of them, not the first."""

    exit_code = 2

    def __init__(self, file: str, problems: Iterable[Problem], *, remedy: str) -> None:
        self.file = file
        self.problems = tuple(problems)
        lines = [f"{file}: {problem}" for problem in self.problems]
        count = f"{file} has {len(lines)} problems\n  " if len(lines) > 1 else ""
        super().__init__(count + "\n  ".join(lines), remedy=remedy)

    def to_json(self) -> dict[str, Any]:
        return {**super().to_json(), "problems": [asdict(problem) for problem in self.problems]}


class UnknownProfile(ProfileError):
    """No profile of that name in the library, and no file at that path."""

    def __init__(self, name: str, *, nearest: str | None, count: int) -> None:
        hint = f"; did you mean {nearest}?" if nearest else ""
        DevicekitError.__init__(
            self, f'no profile "{name}"{hint}', remedy=f"`devicekit profile list` shows all {count}"
        )
        self.file, self.problems = name, ()


class FleetError(ProfileError):
    """A fleet file with mistakes: all of them."""

    def __init__(self, file: str, problems: Iterable[Problem]) -> None:
        super().__init__(file, problems, remedy=f"correct {file}, run it again")


class RecipeError(DevicekitError):
    """A recipe that does not exist."""

    exit_code = 2

    def __init__(self, name: str, *, known: Iterable[str], nearest: str | None = None) -> None:
        hint = f"; did you mean {nearest}?" if nearest else ""
        super().__init__(f'no recipe "{name}"{hint}', remedy=f"choose from: {', '.join(known)}")


class ModelError(DevicekitError):
    exit_code = 3


class LoadError(ModelError):
    """A model file that cannot be read: what was found in it, and what was expected."""

    def __init__(self, path: str, *, found: str, expected: str = "", remedy: str) -> None:
        self.path = path
        expected = f"; expected {expected}" if expected else ""
        super().__init__(f"{path}: {found}{expected}", remedy=remedy)


class ConvertError(ModelError):
    """The model loads, but no correct .tflite comes out."""

    def __init__(self, path: str, *, found: str, remedy: str) -> None:
        self.path = path
        super().__init__(f"{path} does not convert: {found}", remedy=remedy)


class Unsupported(ConvertError):
    """Ops that LiteRT has no kernel for: one finding per Keras layer and op."""

    def __init__(self, path: str, *, findings: Sequence[Finding]) -> None:
        self.findings = tuple(findings)
        lines = [f"layer {one.layer}: {one.detail}" if one.layer else one.detail for one in findings]
        if len(findings) == 1:
            super().__init__(path, found=lines[0], remedy=findings[0].remedy)
            return
        advice = [f"{line}\n    → {one.remedy}" for line, one in zip(lines, findings, strict=True)]
        super().__init__(
            path,
            found=f"{len(findings)} problems\n  " + "\n  ".join(advice),
            remedy="change these layers; where the device's runtime has Flex, set ops.flex in its profile",
        )

    def to_json(self) -> dict[str, Any]:
        return {**super().to_json(), "path": self.path, "findings": [one.to_json() for one in self.findings]}


class UntrustedModel(ModelError):
    """Loading the file would run code that it carries, or do what `danger` says.

    `made_by` is what wrote it ("Keras 2.15"), `stand_in` the function that --custom-objects may define for
    its Lambda layer.
    """

    def __init__(
        self,
        path: str,
        *,
        carries: str,
        made_by: str = "",
        stand_in: str | None = None,
        danger: str = "runs code stored in the file",
    ) -> None:
        self.path = path
        better = f"define {stand_in}(inputs) in a file for --custom-objects" if stand_in else ""
        super().__init__(
            f"{path}{f' ({made_by})' if made_by else ''} contains {carries}: loading it {danger}",
            remedy="if you trust where it came from: add --trust; "
            f"better: {better or 're-save it with a registered layer'}",
        )


class DoesNotFit(ModelError):
    """No candidate keeps within the profile: the nearest miss, and what would make it fit."""

    def __init__(self, model: str, profile: str, *, nearest_miss: str, remedy: str) -> None:
        super().__init__(f"{model} does not fit {profile}: {nearest_miss}", remedy=remedy)


class DeviceError(DevicekitError):
    exit_code = 4


class NoDevice(DeviceError):
    def __init__(self, address: str, *, found: str, remedy: str) -> None:
        super().__init__(f"{address}: {found}", remedy=remedy)


class NotUnique(DeviceError):
    def __init__(self, candidates: Iterable[str]) -> None:
        names = list(candidates)
        super().__init__(
            f"{len(names)} devices match: {', '.join(names)}", remedy=f"name one: --device {names[0]}"
        )


class Unauthorized(DeviceError):
    def __init__(self, address: str, *, remedy: str) -> None:
        super().__init__(f"{address} is unauthorized", remedy=remedy)


class HostKeyRefused(DeviceError):
    """An SSH host shows a key that known_hosts does not have (`is_new`), or another than it has."""

    def __init__(self, host: str, *, found: str, is_new: bool) -> None:
        changed = f"if you know why, run `ssh-keygen -R '{host}'` and then use --accept-new-host-key"
        new = "compare it with the one on the board's console, then run it again with --accept-new-host-key"
        super().__init__(f"{host} is refused: {found}", remedy=new if is_new else changed)


class Offline(DeviceError):
    def __init__(self, address: str, *, remedy: str) -> None:
        super().__init__(f"{address} is offline", remedy=remedy)


class Lost(DeviceError):
    transient = True

    def __init__(self, address: str, *, during: str) -> None:
        super().__init__(
            f"{address} was lost during {during}", remedy="check the cable or network, run it again"
        )


class Busy(DeviceError):
    def __init__(self, address: str, *, holder: str) -> None:
        super().__init__(
            f"{address} is in use by {holder}", remedy="wait for it to end, or name another device"
        )


class NotReady(DeviceError):
    """A device is too hot to be measured, or its battery is too low."""

    def __init__(self, address: str, *, found: str, waited_s: float) -> None:
        waited = f" after {waited_s:.0f} s of waiting" if waited_s else ""
        super().__init__(
            f"{address} is not ready{waited}: {found}",
            remedy="let it cool or charge and run it again, or allow more: --start-below, --min-battery",
        )


class DeviceFull(DeviceError):
    def __init__(self, address: str, *, needed_bytes: int, free_bytes: int) -> None:
        missing = (needed_bytes - free_bytes) / 2**20
        free = f"{free_bytes / 2**20:.1f} MiB free"
        super().__init__(
            f"{address} is full: {missing:.1f} MiB more are needed than the {free}",
            remedy="remove files from the device, run it again",
        )


class MeasurementError(DevicekitError):
    exit_code = 5


class OutOfMemory(MeasurementError):
    """The model needs more memory than the limit that was enforced.

    `needed_bytes` is its must-have memory without the limit, None where that is not known.
    """

    def __init__(self, model: str, *, limit_bytes: int, where: str, needed_bytes: int | None = None) -> None:
        self.limit_bytes = limit_bytes
        self.needed_bytes = needed_bytes
        limit = f"{limit_bytes / 2**20:.4g} MiB"
        needs = f"needs more than {limit}"
        if needed_bytes and needed_bytes > limit_bytes:
            needs = f"needs {needed_bytes / 2**20:.1f} MiB, the limit is {limit}"
        super().__init__(
            f"{model} {needs} (during {where})",
            remedy="try a smaller recipe (`devicekit deploy` tries them all), or raise limits.memory_mib",
        )


class DeviceOutOfMemory(MeasurementError):
    """The device's kernel ended the run for memory. Bytes are None where they are not known.

    `needed_bytes` is the model's must-have memory on this host, `available_bytes` what the device had before
    the model was loaded, `held_bytes` what the run held when it was ended.
    """

    def __init__(
        self,
        model: str,
        *,
        address: str,
        where: str,
        needed_bytes: int | None,
        available_bytes: int | None,
        held_bytes: int | None,
    ) -> None:
        facts = [
            f"{words} {size / 2**20:.0f} MiB"
            for words, size in (
                ("it needs", needed_bytes),
                ("available were", available_bytes),
                ("ended while it held", held_bytes),
            )
            if size is not None
        ]
        super().__init__(
            f"{model} ran out of memory on {address} during {where}"
            + (f": {', '.join(facts)}" if facts else ""),
            remedy="free memory there, or try a smaller recipe or model",
        )


class TimedOut(MeasurementError):
    def __init__(self, model: str, *, what: str, timeout_s: float) -> None:
        super().__init__(f"{model}: {what} took more than {timeout_s:g} s", remedy="raise --timeout")


class UnreadableOutput(MeasurementError):
    def __init__(self, what: str, *, found: str, remedy: str) -> None:
        super().__init__(f"{what}: {found}", remedy=remedy)


class WrongOutput(MeasurementError):
    """The device computes something else than the host."""

    def __init__(self, model: str, *, where: str, difference: str) -> None:
        super().__init__(
            f"{model}: outputs on {where} differ from the reference by {difference}",
            remedy="do not use these numbers: update the runtime on the device, or try --recipe float32",
        )


class GateFailed(DevicekitError):
    """A regression, a broken budget, or a device that is missing: `failures` in words."""

    exit_code = 6

    def __init__(self, failures: Sequence[str]) -> None:
        first = f": {failures[0]}" if len(failures) == 1 else ""
        count = f"{len(failures)} check{'' if len(failures) == 1 else 's'}"
        super().__init__(
            f"the gate failed {count}{first}",
            remedy="look at what failed; `devicekit fleet history MODEL --device D` shows when it began",
        )


class StoreError(DevicekitError):
    """The store of results cannot be opened, read or written, or lacks what was asked for."""

    exit_code = 7

    def __init__(self, store: str, *, found: str, remedy: str) -> None:
        super().__init__(f"the store {store}: {found}", remedy=remedy)


class NewerStore(StoreError):
    """A newer devicekit wrote the store."""

    def __init__(self, store: str, *, revision: str) -> None:
        super().__init__(
            store,
            found=f"a newer devicekit wrote it (schema {revision})",
            remedy="update devicekit, or name another store: --store FILE.db",
        )


class StoreFull(StoreError):
    """The disk under the store is full; what was filed before is kept."""

    def __init__(self, store: str) -> None:
        super().__init__(
            store,
            found="its disk is full; what was filed before is kept",
            remedy="free space there and run it again with --resume, or name another store: --store FILE.db",
        )


def from_json(document: Mapping[str, Any]) -> DevicekitError:
    """Returns the error that `to_json` wrote in another process, as the same class."""
    by_name: dict[str, type[DevicekitError]] = {}
    pending: list[type[DevicekitError]] = [DevicekitError]
    while pending:
        cls = pending.pop()
        by_name[cls.__name__] = cls
        pending.extend(cls.__subclasses__())
    cls = by_name.get(str(document["kind"]), DevicekitError)
    error = cls.__new__(cls)
    DevicekitError.__init__(error, str(document["message"]), remedy=str(document["remedy"]))
    if isinstance(error, Unsupported):
        error.path = str(document["path"])
        error.findings = tuple(Finding(**finding) for finding in document["findings"])
    return error

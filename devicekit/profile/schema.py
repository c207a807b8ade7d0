"""The keys of a profile, schema version 1: what a target device, with its runtime, can hold and run.

Each description names its unit; the reference of keys is generated from them (keys.py). Unknown keys are
errors. A fact that nobody gave is None, never a guess. Version history (`schema` on the first line of a file)
    1   first version
"""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, Strict

from devicekit.profile.label import runtime_label

Kind = Literal["android", "linux", "microcontroller"]
RuntimeName = Literal["litert", "tflite", "tflm"]
Delegate = Literal["xnnpack", "none", "gpu", "nnapi", "edgetpu"]
Preference = Literal["latency", "size", "quality"]
# numpy's names, and those that the .tflite schema adds (graph.model.Tensor.dtype).
Dtype = Literal[
    "float16", "float32", "float64", "bfloat16", "int2", "int4", "int8", "int16", "int32", "int64",
    "uint4", "uint8", "uint16", "uint32", "uint64", "bool", "complex64", "complex128",
    "string", "resource", "variant",
]  # fmt: skip
# A whole number stays one, so that it reads as it was written: 64, not 64.0.
Number = Annotated[float, AfterValidator(lambda value: int(value) if value.is_integer() else value)]
Text = Annotated[str, Field(min_length=1)]
# TOML's lists arrive as Python lists, which strict mode would not take for a tuple.
Texts = Annotated[tuple[Text, ...], Strict(False)]
SomeTexts = Annotated[tuple[Text, ...], Strict(False), Field(min_length=1)]
OpNames = Annotated[tuple[Annotated[str, Field(pattern=r"^[A-Z][A-Z0-9_]*$")], ...], Strict(False)]
Dtypes = Annotated[tuple[Dtype, ...], Strict(False)]
Clocks = Annotated[
    tuple[Annotated[int, Field(gt=0, le=100_000)], ...], Strict(False), Field(min_length=1, max_length=1024)
]


class Table(BaseModel):
    """A TOML table: immutable, unknown keys refused, no silent conversion ("4" is no number)."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Device(Table):
    """The hardware."""

    kind: Kind = Field(description="What it is: it decides transport and rules.")
    soc: Text | None = Field(None, description="System on chip, as its maker calls it.")
    abi: Text | None = Field(
        None, description="Instruction set: `ro.product.cpu.abi` on Android, `uname -m` on Linux."
    )
    cores: int | None = Field(None, gt=0, le=1024, description="CPU cores, count.")
    clocks_mhz: Clocks | None = Field(
        None, description="Highest clock of each CPU core, the fastest first, in MHz."
    )
    ram_mib: int | None = Field(None, gt=0, description="RAM as sold, in MiB.")
    ram_kib: int | None = Field(
        None,
        gt=0,
        description="RAM of a microcontroller, in KiB: its largest block, as an arena is one piece.",
    )
    flash_kib: int | None = Field(
        None, gt=0, description="Flash of a microcontroller, in KiB, firmware included."
    )
    os: Text | None = Field(None, description="Operating system and release, such as Android 15.")
    libc: Text | None = Field(
        None, description="C library and release, such as glibc 2.36: it decides which runtime loads."
    )


class Match(Table):
    """How an attached device is recognised: every key given must match, by one of its values."""

    adb_model: SomeTexts | None = Field(None, description="Android: `getprop ro.product.model`, equal.")
    adb_soc: SomeTexts | None = Field(None, description="Android: `getprop ro.soc.model`, equal.")
    adb_abi: SomeTexts | None = Field(None, description="Android: `getprop ro.product.cpu.abi`, equal.")
    device_tree_model: SomeTexts | None = Field(
        None, description="Linux: start of `/proc/device-tree/model` (revisions follow the name)."
    )
    machine: SomeTexts | None = Field(None, description="Linux: `uname -m`, equal.")


class Runtime(Table):
    """What runs the .tflite there. The same device with another runtime is another profile."""

    name: RuntimeName = Field(description="Runtime.")
    version: Text | None = Field(None, description="Release of the runtime, such as 2.3.0.")
    delegate: Delegate = Field(description="What computes: xnnpack, or none for the built-in kernels.")
    threads: int = Field(1, gt=0, le=1024, description="CPU threads, count.")
    cpus: Annotated[tuple[Annotated[int, Field(ge=0, le=1023)], ...], Strict(False)] | None = Field(
        None, description="CPUs to pin to, by their numbers on the device; absent: the fastest ones."
    )
    require_full_delegation: bool = Field(
        False, description="Whether a model must run on the delegate as a whole, no operator beside it."
    )

    @property
    def label(self) -> str:
        """Returns "LiteRT 2.3.0 CPU ×4"."""
        return runtime_label(self.name, self.version, delegate=self.delegate, threads=self.threads)


class Limits(Table):
    """Budgets: what one model may take there. Phones and boards need model_mib and memory_mib,
    microcontrollers model_kib and arena_kib; each may follow from the hardware by a share.
    """

    model_mib: Number | None = Field(None, gt=0, description="Size of the .tflite file, at most, in MiB.")
    memory_mib: Number | None = Field(
        None, gt=0, description="Must-have memory (anonymous, which nothing can reclaim), at most, in MiB."
    )
    latency_ms: Number | None = Field(
        None, gt=0, description="Median latency of one inference on the device, at most, in ms."
    )
    arena_kib: int | None = Field(
        None, gt=0, description="Tensor arena of a microcontroller, at most, in KiB."
    )
    model_kib: int | None = Field(
        None, gt=0, description="Flash of a microcontroller for the .tflite, at most, in KiB."
    )
    memory_of_ram: float | None = Field(
        None, gt=0, le=1, description="Gives memory_mib where it is absent: this share of device.ram_mib."
    )
    model_of_ram: float | None = Field(
        None, gt=0, le=1, description="Gives model_mib where it is absent: this share of device.ram_mib."
    )
    arena_of_ram: float | None = Field(
        None, gt=0, le=1, description="Gives arena_kib where it is absent: this share of device.ram_kib."
    )
    model_of_flash: float | None = Field(
        None, gt=0, le=1, description="Gives model_kib where it is absent: this share of device.flash_kib."
    )


class Ops(Table):
    """Which operators, by their names in the .tflite schema, the runtime takes."""

    allow: OpNames | None = Field(None, description="Only these operators; absent: all that are not denied.")
    deny: OpNames = Field((), description="Never these operators.")
    flex: bool = Field(False, description="Whether the runtime carries TensorFlow's own (Flex) operators.")
    custom: Texts = Field((), description="Custom operators that are registered there.")
    dtypes: Dtypes | None = Field(None, description="Only these tensor types; absent: all.")


class Quality(Table):
    """How far a quantized model may be from the float one, on evaluation data."""

    min_cosine: float = Field(0.98, ge=0, le=1, description="Cosine similarity of the outputs, at least.")
    min_top1_agreement: float = Field(
        0.98, ge=0, le=1, description="Share of samples with the same top class, 0..1, at least."
    )
    max_step: float = Field(
        0.125,
        gt=0,
        description="One step of a quantized output, as a share of how much it varies (its standard "
        "deviation), at most: where outputs measure different things, or lie far from 0.",
    )
    max_metric_drop: float = Field(
        0.01,
        ge=0,
        description="With labels or --eval, which then decide in place of the rest: how far the metric may "
        "drop below the float model's, as a share of that.",
    )


class Recipes(Table):
    """How to make the model fit."""

    try_: SomeTexts = Field(
        ("float32", "float16", "dynamic_int8", "int8"),
        alias="try",
        description="Recipes to build, in this order.",
    )
    prefer: Preference = Field("latency", description="What decides between candidates that all fit.")


WorkBin = Annotated[
    tuple[
        Literal["product", "conv", "depthwise", "other"],
        Annotated[int, Field(ge=0)],
        Annotated[int, Field(ge=0)],
        Annotated[int, Field(gt=0)],
    ],
    Strict(False),
]


class CalibrationRow(Table):
    """One measured model of a calibration."""

    model: Text = Field(description="The model's name, or its file's.")
    latency_ms: float = Field(gt=0, description="Its latency there, in ms.")
    source: Text = Field(description="Where the number comes from.")
    family: Text = Field(description="Architectures of one family are left out together in cross-validation.")
    residual: float = Field(
        description="log(predicted / measured) by a fit on the other rows: 0.05 is 5 % too long."
    )
    work: Annotated[tuple[WorkBin, ...], Strict(False), Field(min_length=1)] = Field(
        description="What the model computes: [kind, multiply-accumulates, bytes moved, operators]."
    )


class Calibration(Table):
    """What turns a model's work into a latency on this device, for one runtime, delegate and precision."""

    runtime: RuntimeName = Field(description="Runtime that the rows were measured with.")
    version: Text | None = Field(None, description="Its release; absent where the source does not say.")
    delegate: Delegate = Field(description="What computed: xnnpack, or none for the built-in kernels.")
    threads: int = Field(gt=0, le=1024, description="CPU threads of the rows, count.")
    precision: Text = Field(description="What the models compute on: float32, int8, dynamic_int8, …")
    product_us_per_mmac: float = Field(
        gt=0,
        description="Microseconds per million multiply-accumulates of matrix products and 1×1 convolutions.",
    )
    conv_us_per_mmac: float = Field(gt=0, description="The same of larger convolutions.")
    depthwise_us_per_mmac: float = Field(gt=0, description="The same of depthwise convolutions.")
    traffic_us_per_mib: float = Field(gt=0, description="Microseconds per MiB that an operator moves.")
    op_us: float = Field(gt=0, description="Microseconds per operator.")
    within_80: float = Field(
        gt=0, description="Half width of the 80 % interval: ± this much of the logarithm."
    )
    within_90: float = Field(gt=0, description="Half width of the 90 % interval.")
    family_within_80: float = Field(gt=0, description="The same for a model unlike the rows.")
    family_within_90: float = Field(gt=0, description="The same for a model unlike the rows.")
    ops: OpNames = Field((), description="Operators that the rows' models have.")
    rows: Annotated[tuple[CalibrationRow, ...], Strict(False), Field(min_length=3)] = Field(
        description="The measured models."
    )

    @property
    def label(self) -> str:
        """Returns "TFLite CPU ×4, float32"."""
        label = runtime_label(self.runtime, self.version, delegate=self.delegate, threads=self.threads)
        return f"{label}, {self.precision}"


class Profile(Table):
    """A profile, its `extends` resolved. `name`, `path`, `files` and `sha256` come from where it was read."""

    schema_version: Literal[1] = Field(alias="schema", description="Version of these keys, on top of a file.")
    needs_devicekit: Text | None = Field(
        None, description="First release of devicekit that reads this file; an older one names it."
    )
    title: Text | None = Field(None, description="The device's name for people.")
    extends: Text | None = Field(
        None, description="The profile that gives what this file does not: a name, or a .toml next to it."
    )
    device: Device
    match: Match = Match.model_construct()
    runtime: Runtime
    limits: Limits
    ops: Ops = Ops.model_construct()
    quality: Quality = Quality.model_construct()
    recipes: Recipes = Recipes.model_construct()
    calibration: Annotated[tuple[Calibration, ...], Strict(False)] = Field(
        (), description="How long models take there; written by `devicekit profile calibrate`."
    )
    sibling: Text | None = Field(
        None, description="A profile of the same generation whose calibration may stand in, labelled as such."
    )
    sources: dict[str, Text] = Field(
        {}, description='Dotted key -> where its value comes from; "assumption: …" where nobody measured.'
    )

    name: str = Field(description="The file's name without .toml.")
    path: Path = Field(description="The file.")
    files: tuple[str, ...] = Field(description="Names of the files it was resolved from, its own first.")
    sha256: str = Field(description="SHA-256 over all these files, in hex.")

    def to_json(self) -> dict[str, Any]:
        """Returns the profile JSON-ready, keys as in the TOML file."""
        return self.model_dump(mode="json", by_alias=True)


# Set by the reader, never by a file.
READ_FROM_PLACE = ("name", "path", "files", "sha256")

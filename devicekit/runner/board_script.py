"""Measures one .tflite through the runtime's shared library: Python >= 3.6, nothing but the standard library.

    python3 board_script.py lib=LIBRARY model=MODEL warmup=TINY_MODEL [key=value ...]

It prints one JSON document on stdout; whatever libraries print goes to stderr, as do lines
"phase NAME", the last of which says where a process that died was. Keys, with their defaults:

    prefix=           begins the names of the input files in0.bin, in1.bin, ... and of out0.bin, out1.bin, ...
                      (outputs of the first inference) and later0.bin, ... (of the one that later= says)
    in=NAME           (repeated) the i-th names the input that in<i>.bin is for, by signature or tensor name;
                      an input without a file is all zeros
    threads=1         kernel=xnnpack (or builtin)   cpus= (such as 0,1; empty: not pinned)
    memory=0          bytes of private memory that the model may add to the base; 0: no limit
    warmup_runs=3     warmup_s=0.2   runs=50   min_s=0.5   max_s=30   max_runs=10000
    rate=0            inferences to start per second; 0: each right after the last
    later=3           the inference, from 1, whose outputs are kept too: an app does not run a model but once
    trace_s=0         seconds between readings of heat and clocks during the repeats; 0: none

Warm-up and repeats go on until both their count and their seconds are reached; `max_s` and `max_runs` end
the repeats whatever the count. With a trace they last `max_s`, and samples beyond `max_runs` are thinned:
every second one goes, and from then on ("stride") every second run is kept, and so on; "at_ms" says when
each began. Times are nanoseconds, memory is kB as in /proc/self/status.

`memory` is enforced by RLIMIT_DATA: the private writable memory that this process has once the runtime is
loaded and warmed (the base), plus the budget, plus the stacks of the threads to come. What is reserved but
never touched counts too: models failed up to 0.7 MiB above their anonymous pages, one of them 1.1 (25 models,
1 thread, x86_64), a thread that is not started leaves its stack of 1 MiB to the model.

A failure is {"error": words, "phase": ..., "status": the library's code or null} and an exit code:
2 usage, 3 library, 4 model refused, 5 input does not match, 6 inference failed, 7 out of memory.
The calls were run with LiteRT 2.3.0 and TfLite C 2.9 on x86_64.
"""

# Few imports, and json and hashlib only where needed: what they load would be part of the base.
import array
import ctypes
import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import IO, Any

try:
    import resource
except ImportError:  # Windows
    resource = None  # type: ignore[assignment]

SCHEMA = 1
USAGE, LIBRARY, REFUSED, BAD_INPUT, INVOKE, OUT_OF_MEMORY = 2, 3, 4, 5, 6, 7
STACK_BYTES = 1 << 20
REQUIRED = ("lib", "model", "warmup")
DEFAULTS = {
    "prefix": "",
    "threads": 1,
    "kernel": "xnnpack",
    "cpus": "",
    "memory": 0,
    "warmup_runs": 3,
    "warmup_s": 0.2,
    "runs": 50,
    "min_s": 0.5,
    "max_s": 30.0,
    "max_runs": 10000,
    "rate": 0.0,
    "trace_s": 0.0,
    "later": 3,
}  # type: dict[str, Any]


class Failure(Exception):
    """Ends the run with `code`; `status` is what the library returned, None where it was not asked."""

    def __init__(self, code: int, words: str, status: "int | None" = None) -> None:
        Exception.__init__(self, words)
        self.code = code
        self.status = status


class Port:
    """An input or output: its two names, its element type (TfLite's number), its shape and size."""

    def __init__(self, name: str, tensor: str, type_id: int, dims: "list[int]") -> None:
        self.name = name
        self.tensor = tensor
        self.type_id = type_id
        self.dims = dims
        self.bytes = 0

    def describe(self) -> "dict[str, object]":
        return {
            "name": self.name,
            "tensor": self.tensor,
            "type": self.type_id,
            "dims": self.dims,
            "bytes": self.bytes,
        }


# --- the LiteRT C API ---------------------------------------------------------------------------------------


class LiteRt:
    """libLiteRt.so, 2.1.6 or later."""

    api = "litert"
    version = None  # no symbol tells it: the caller knows the package

    def __init__(self, lib: ctypes.CDLL) -> None:
        self.lib = lib
        self.environment = ctypes.c_void_p()
        self.check(LIBRARY, "CreateEnvironment", 0, None, ctypes.byref(self.environment))

    def check(self, code: int, function: str, *args: object) -> None:
        status = getattr(self.lib, "LiteRt" + function)(*args)
        if status:
            raise Failure(code, "LiteRt%s fails" % function, status)

    def pointer(self, code: int, function: str, *args: object) -> ctypes.c_void_p:
        """Returns the object that the function stores through its last parameter."""
        result = ctypes.c_void_p()
        self.check(code, function, *args, ctypes.byref(result))
        return result

    def size(self, code: int, function: str, *args: object) -> int:
        result = ctypes.c_size_t()
        self.check(code, function, *args, ctypes.byref(result))
        return result.value

    def text(self, function: str, *args: object) -> str:
        result = ctypes.c_char_p()
        self.check(REFUSED, function, *args, ctypes.byref(result))
        return (result.value or b"").decode("utf-8", "replace")

    def options(self, threads: int, kernel: str) -> ctypes.c_void_p:
        """Options are opaque TOML texts: the functions that write them are not exported."""
        text = "num_threads = %d\n" % threads
        if kernel == "builtin":
            text += 'kernel_mode = "builtin"\n'
        libc = ctypes.CDLL(None)
        libc.strdup.restype = ctypes.c_void_p
        payload = ctypes.c_void_p(libc.strdup(text.encode()))
        options = self.pointer(LIBRARY, "CreateOptions")
        cpu = 1
        self.check(LIBRARY, "SetOptionsHardwareAccelerators", options, cpu)
        opaque = self.pointer(LIBRARY, "CreateOpaqueOptions", b"xnnpack", payload, libc.free)
        self.check(LIBRARY, "AddOpaqueOptions", options, opaque)
        return options

    def open(self, path: str, threads: int, kernel: str) -> "LiteRtModel":
        return LiteRtModel(self, path, threads, kernel)


class LiteRtModel:
    """A compiled model with its buffers: `call(*args)` is one inference and returns 0."""

    def __init__(self, runtime: LiteRt, path: str, threads: int, kernel: str) -> None:
        self.runtime = runtime
        environment = runtime.environment
        self.model = runtime.pointer(REFUSED, "CreateModelFromFile", environment, os.fsencode(path))
        options = runtime.options(threads, kernel)
        self.compiled = runtime.pointer(REFUSED, "CreateCompiledModel", environment, self.model, options)
        self.index, signature = self._main_signature()
        self.tensors = set()  # type: set[int | None]
        self.inputs, self._in = self._ports(signature, "Input")
        self.outputs, self._out = self._ports(signature, "Output")
        self.call = runtime.lib.LiteRtRunCompiledModel
        index, ins, outs = (ctypes.c_size_t(n) for n in (self.index, len(self._in), len(self._out)))
        self.args = (self.compiled, index, ins, self._in, outs, self._out)

    def _main_signature(self) -> "tuple[int, ctypes.c_void_p]":
        """The signature of the first subgraph; a file without any gets a made-up one."""
        runtime, zero = self.runtime, ctypes.c_size_t(0)
        main = runtime.pointer(REFUSED, "GetModelSubgraph", self.model, zero)
        for index in range(runtime.size(REFUSED, "GetNumModelSignatures", self.model)):
            number = ctypes.c_size_t(index)
            signature = runtime.pointer(REFUSED, "GetModelSignature", self.model, number)
            if runtime.pointer(REFUSED, "GetSignatureSubgraph", signature).value == main.value:
                return index, signature
        raise Failure(REFUSED, "no signature runs the main subgraph")

    def _ports(self, signature: ctypes.c_void_p, side: str) -> "tuple[list[Port], Any]":
        count = self.runtime.size(REFUSED, "GetNumSignature%ss" % side, signature)
        ports = []
        buffers = (ctypes.c_void_p * count)()
        for index in range(count):
            port, buffer = self._port(signature, side, ctypes.c_size_t(index))
            ports.append(port)
            buffers[index] = buffer.value
        return ports, buffers

    def _port(
        self, signature: ctypes.c_void_p, side: str, index: ctypes.c_size_t
    ) -> "tuple[Port, ctypes.c_void_p]":
        runtime = self.runtime
        tensor = runtime.pointer(REFUSED, "GetSignature%sTensorByIndex" % side, signature, index)
        if side == "Output" and tensor.value in self.tensors:  # LiteRT 2.3.0 leaves its buffer unwritten
            raise Failure(REFUSED, "an input is returned as an output")
        self.tensors.add(tensor.value)
        kind = (ctypes.c_int32 * 20)()  # element type; rank in the low 7 bits; 8 dims; 8 strides
        runtime.check(REFUSED, "GetRankedTensorType", tensor, kind)
        last = 2 + (kind[1] & 0x7F)
        for dim in range(2, last):
            kind[dim] = abs(kind[dim])  # -1 is a dynamic dimension: the runtime runs it as 1
        name = runtime.text("GetSignature%sName" % side, signature, index)
        port = Port(name, runtime.text("GetTensorName", tensor), kind[0], list(kind[2:last]))
        which = ctypes.c_size_t(self.index)
        asked = "GetCompiledModel%sBufferRequirements" % side
        needs = runtime.pointer(REFUSED, asked, self.compiled, which, index)
        create = "CreateManagedTensorBufferFromRequirements"
        buffer = runtime.pointer(REFUSED, create, runtime.environment, kind, needs)
        port.bytes = runtime.size(REFUSED, "GetTensorBufferPackedSize", buffer)
        return port, buffer

    def feed(self, index: int, path: "str | None") -> None:
        buffer = ctypes.c_void_p(self._in[index])
        fill(self._lock(buffer, 1), self.inputs[index], path)
        self.runtime.check(INVOKE, "UnlockTensorBuffer", buffer)

    def save(self, index: int, path: str) -> None:
        buffer = ctypes.c_void_p(self._out[index])
        write(self._lock(buffer, 0), self.outputs[index], path)
        self.runtime.check(INVOKE, "UnlockTensorBuffer", buffer)

    def _lock(self, buffer: ctypes.c_void_p, mode: int) -> "int | None":
        address = ctypes.c_void_p()
        self.runtime.check(INVOKE, "LockTensorBuffer", buffer, ctypes.byref(address), mode)
        return address.value


# --- the classic TfLite C API -------------------------------------------------------------------------------


class TfLite:
    """A library that exports TfLiteInterpreterCreate: libLiteRtRuntimeCApi.so 1.4 and 2.0 on aarch64."""

    api = "tflite"
    POINTERS = (
        "ModelCreateFromFile",
        "InterpreterOptionsCreate",
        "InterpreterCreate",
        "InterpreterGetInputTensor",
        "InterpreterGetOutputTensor",
        "TensorData",
        "XNNPackDelegateCreate",
    )

    def __init__(self, lib: ctypes.CDLL) -> None:
        self.lib = lib
        for name in self.POINTERS:
            if hasattr(lib, "TfLite" + name):
                getattr(lib, "TfLite" + name).restype = ctypes.c_void_p
        for name in ("TfLiteTensorName", "TfLiteVersion"):
            getattr(lib, name).restype = ctypes.c_char_p
        lib.TfLiteTensorByteSize.restype = ctypes.c_size_t
        self.version = lib.TfLiteVersion().decode()

    def pointer(self, function: str, *args: object) -> ctypes.c_void_p:
        result = ctypes.c_void_p(getattr(self.lib, "TfLite" + function)(*args))
        if not result:
            raise Failure(REFUSED, "TfLite%s fails" % function)
        return result

    def open(self, path: str, threads: int, kernel: str) -> "TfLiteModel":
        return TfLiteModel(self, path, threads, kernel)


class XnnpackOptions(ctypes.Structure):
    """TfLiteXNNPackDelegateOptions, returned by value: starts with the threads; larger than any version."""

    _fields_ = [("num_threads", ctypes.c_int32), ("rest", ctypes.c_char * 1020)]


class TfLiteModel:
    """An interpreter with its tensors: `call(*args)` is one inference and returns 0."""

    def __init__(self, runtime: TfLite, path: str, threads: int, kernel: str) -> None:
        self.lib = lib = runtime.lib
        self.model = runtime.pointer("ModelCreateFromFile", os.fsencode(path))
        options = runtime.pointer("InterpreterOptionsCreate")
        lib.TfLiteInterpreterOptionsSetNumThreads(options, threads)
        if kernel == "xnnpack" and hasattr(lib, "TfLiteXNNPackDelegateCreate"):
            lib.TfLiteXNNPackDelegateOptionsDefault.restype = XnnpackOptions
            chosen = lib.TfLiteXNNPackDelegateOptionsDefault()
            chosen.num_threads = threads
            delegate = runtime.pointer("XNNPackDelegateCreate", ctypes.byref(chosen))
            lib.TfLiteInterpreterOptionsAddDelegate(options, delegate)
        self.interpreter = runtime.pointer("InterpreterCreate", self.model, options)
        status = lib.TfLiteInterpreterAllocateTensors(self.interpreter)
        if status:
            raise Failure(REFUSED, "TfLiteInterpreterAllocateTensors fails", status)
        self.inputs = self._ports("Input")
        self.call = lib.TfLiteInterpreterInvoke
        self.args = (self.interpreter,)

    @property
    def outputs(self) -> "list[Port]":
        """With a dynamic batch, sizes are 0 before the first inference: ask after it."""
        return self._ports("Output")

    def _ports(self, side: str) -> "list[Port]":
        count = getattr(self.lib, "TfLiteInterpreterGet%sTensorCount" % side)(self.interpreter)
        ports = []
        for index in range(count):
            tensor = self._tensor(side, index)
            rank = self.lib.TfLiteTensorNumDims(tensor)
            dims = [self.lib.TfLiteTensorDim(tensor, dim) for dim in range(rank)]
            name = (self.lib.TfLiteTensorName(tensor) or b"").decode("utf-8", "replace")
            port = Port(name, name, self.lib.TfLiteTensorType(tensor), dims)
            port.bytes = self.lib.TfLiteTensorByteSize(tensor)
            ports.append(port)
        return ports

    def _tensor(self, side: str, index: int) -> ctypes.c_void_p:
        get = getattr(self.lib, "TfLiteInterpreterGet%sTensor" % side)
        return ctypes.c_void_p(get(self.interpreter, index))

    def feed(self, index: int, path: "str | None") -> None:
        fill(self.lib.TfLiteTensorData(self._tensor("Input", index)), self.inputs[index], path)

    def save(self, index: int, path: str) -> None:
        write(self.lib.TfLiteTensorData(self._tensor("Output", index)), self.outputs[index], path)


def open_library(path: str) -> "LiteRt | TfLite":
    try:
        lib = ctypes.CDLL(path)
    except OSError as error:
        raise Failure(LIBRARY, str(error)) from error
    return TfLite(lib) if hasattr(lib, "TfLiteInterpreterCreate") else LiteRt(lib)


# --- inputs and outputs, without a copy in this process's own memory ----------------------------------------


def fill(address: "int | None", port: Port, path: "str | None") -> None:
    """Copies the file, or zeros, into the tensor."""
    if path is None:
        if address:
            ctypes.memset(address, 0, port.bytes)
        return
    found = os.path.getsize(path)
    if found != port.bytes:
        raise Failure(BAD_INPUT, "input %s takes %d bytes, its file has %d" % (port.name, port.bytes, found))
    with open(path, "rb", buffering=0) as file:
        file.readinto(_memory(address, port.bytes))


def write(address: "int | None", port: Port, path: str) -> None:
    with open(path, "wb", buffering=0) as file:
        file.write(_memory(address, port.bytes))


def _memory(address: "int | None", size: int) -> memoryview:
    if not address or not size:
        return memoryview(bytearray())
    return memoryview((ctypes.c_char * size).from_address(address)).cast("B")


# --- this process: limits and readings ----------------------------------------------------------------------


def memory_now() -> "dict[str, int]":
    """Returns memory in kB and threads as /proc/self/status has them; without /proc the peak alone.

    What is mapped now is taken from smaps_rollup (Linux 4.14), which counts it: in status a thread's last 64
    pages may be missing, 256 kB of each (seen on an arm64 kernel 6.1: a model of 0.5 MiB showed none).
    """
    found = _proc_numbers(
        "/proc/self/status",
        ("VmRSS", "VmHWM", "RssAnon", "RssFile", "VmSize", "VmData", "VmSwap", "Threads"),
    )
    if not found:
        if resource is None:
            return {}
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return {"VmHWM": peak // 1024 if sys.platform == "darwin" else peak}
    counted = _proc_numbers("/proc/self/smaps_rollup", ("Rss", "Anonymous"))
    if len(counted) == 2:
        rss, anonymous = counted["Rss"], counted["Anonymous"]
        found.update(VmRSS=rss, RssAnon=anonymous, RssFile=rss - anonymous)
        found["VmHWM"] = max(found.get("VmHWM", 0), rss)
    return found


def _proc_numbers(path: str, wanted: "tuple[str, ...]") -> "dict[str, int]":
    """Returns the numbers of lines such as "VmRSS:  1234 kB"; {} where there is no such file."""
    try:
        with open(path) as file:
            pairs = [line.split(":", 1) for line in file]
        return {pair[0]: int(pair[1].split()[0]) for pair in pairs if pair[0] in wanted}
    except (OSError, ValueError, IndexError):
        return {}


def available_kb() -> "int | None":
    """Returns the memory that could be had without swapping, in kB; None where Linux does not say."""
    try:
        with open("/proc/meminfo") as file:
            return next((int(line.split()[1]) for line in file if line.startswith("MemAvailable:")), None)
    except OSError:
        return None


def conditions() -> "dict[str, object]":
    """Returns what may disturb a measurement, as far as this machine tells."""
    cores = []
    for name, folder in _folders("/sys/devices/system/cpu", "cpu"):
        khz = _first_line(folder + "/cpufreq/scaling_cur_freq")
        if khz:
            cores.append([name, _first_line(folder + "/cpufreq/scaling_governor"), int(khz)])
    zones = {}
    for name, folder in _folders("/sys/class/thermal", "thermal_zone"):
        reading = _first_line(folder + "/temp")
        if reading:
            zones[_first_line(folder + "/type") or name] = int(reading) / 1000.0
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else None
    return {"load_average": load, "cpufreq": cores or None, "temperature_c": zones or None}


def _folders(parent: str, prefix: str) -> "list[tuple[str, str]]":
    """Returns (name, path) of cpu0, cpu1, ... in `parent`."""
    try:
        names = [name for name in os.listdir(parent) if name[len(prefix) :].isdigit()]
    except OSError:
        return []
    return [(name, os.path.join(parent, name)) for name in sorted(names) if name.startswith(prefix)]


def _first_line(path: str) -> "str | None":
    try:
        with open(path) as file:
            return file.readline().strip()
    except OSError:
        return None


def pin(cpus: str) -> "str | None":
    """Pins this process to CPUs such as "0,1"; returns None, or why it could not."""
    if not hasattr(os, "sched_setaffinity"):
        return "%s has no sched_setaffinity" % sys.platform
    try:
        os.sched_setaffinity(0, {int(cpu) for cpu in cpus.split(",")})
    except (OSError, ValueError) as error:
        return str(error)
    return None


def limit_memory(budget: int, stacks: int) -> "str | None":
    """Lets private memory grow by `budget` bytes and `stacks`; returns None, or why it could not."""
    now = memory_now().get("VmData")
    if resource is None or now is None:
        return "%s has no RLIMIT_DATA on private memory" % sys.platform
    limit = now * 1024 + budget + stacks
    try:
        most = resource.getrlimit(resource.RLIMIT_DATA)[1]
        resource.setrlimit(resource.RLIMIT_DATA, (limit, most))
    except (OSError, ValueError) as error:
        return str(error)
    return None


def lift_limit() -> None:
    """Gives this script room again to tell what happened."""
    if resource is not None and hasattr(resource, "RLIMIT_DATA"):
        most = resource.getrlimit(resource.RLIMIT_DATA)[1]
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def thread_stack() -> int:
    """Makes the stacks of threads to come small, as they count as private memory; returns their size."""
    if resource is None:
        return 0
    libc = ctypes.CDLL(None)
    attributes = ctypes.create_string_buffer(256)  # pthread_attr_t: 56 bytes on x86_64, 64 on aarch64
    size = ctypes.c_size_t(STACK_BYTES)
    if hasattr(libc, "pthread_setattr_default_np"):  # glibc
        libc.pthread_attr_init(attributes)
        libc.pthread_attr_setstacksize(attributes, size)
        if libc.pthread_setattr_default_np(attributes) == 0:
            return STACK_BYTES
    soft = resource.getrlimit(resource.RLIMIT_STACK)[0]
    return 8 << 20 if soft == resource.RLIM_INFINITY else soft


def die_with_parent() -> None:
    """Has Linux kill this process when the one that started it ends, however that ends."""
    if sys.platform.startswith("linux"):
        libc = ctypes.CDLL(None)
        pr_set_pdeathsig, sigkill = 1, 9  # linux/prctl.h
        if hasattr(libc, "prctl"):
            libc.prctl(pr_set_pdeathsig, ctypes.c_ulong(sigkill), 0, 0, 0)


def settle() -> None:
    """Gives freed memory back and starts VmHWM anew, so that growth from here on is the model's."""
    libc = ctypes.CDLL(None) if os.name == "posix" else None
    if libc and hasattr(libc, "malloc_trim"):
        libc.malloc_trim(0)
    _try_to_write("/proc/self/clear_refs", "5")


def _try_to_write(path: str, text: str) -> None:
    try:
        with open(path, "w") as file:
            file.write(text)
    except OSError:
        pass


# --- the measurement ----------------------------------------------------------------------------------------


class Run:
    """One measurement: `document` grows while `phase` advances."""

    def __init__(self, request: "dict[str, Any]") -> None:
        self.request = request
        self.phase = "start"
        # Touched now, so that they are part of the base.
        self.samples = array.array("q", bytes(8 * request["max_runs"]))
        self.starts = array.array("q", bytes(8 * request["max_runs"] if request["trace_s"] else 0))
        self.document = {
            "schema": SCHEMA,
            "python": ".".join(str(part) for part in sys.version_info[:3]),
            "cpu_count": os.cpu_count(),
            "threads": request["threads"],
            "kernel": request["kernel"],
            "mem_start": memory_now(),
            "before": conditions(),
        }  # type: dict[str, Any]

    def enter(self, phase: str) -> None:
        self.phase = phase
        sys.stderr.write("phase %s\n" % phase)
        sys.stderr.flush()

    def measure(self, open_runtime: "Any") -> None:
        """`open_runtime(path)` gives a runtime such as LiteRt; interpreter_script.py brings another."""
        runtime = self.base(open_runtime)
        request, document, samples = self.request, self.document, self.samples
        self.enter("init")
        start = clock()
        model = runtime.open(request["model"], request["threads"], request["kernel"])
        document["init_ns"] = clock() - start
        document["mem_init"] = memory_now()
        self.enter("inputs")
        self.feed(model)
        self.enter("first")
        self.repeat(model, 1, 0, clock())
        document["first_ns"] = samples[0]
        document["mem_first"] = memory_now()
        # Both now and later, for a model with a state (a fused LSTM) computes something else the next time.
        self.save(model, "out")
        self.enter("warmup")
        self.feed(model)
        self.repeat(model, request["later"] - 1, 0, 1 << 62)
        self.save(model, "later")
        most = int(request["max_s"] * 1e9)
        self.enter("warmup")
        start = clock()
        count = self.repeat(model, request["warmup_runs"], request["warmup_s"], start + most)
        document["warmup"] = {"count": count, "ns": clock() - start}
        self.enter("measure")
        if request["trace_s"]:
            count = self.sustain(model, clock(), most)
        else:
            count = self.repeat(model, request["runs"], request["min_s"], clock() + most)
        document["mem_end"] = memory_now()
        document["after"] = conditions()
        document["ns"] = list(samples[:count])
        document["inputs"] = [port.describe() for port in model.inputs]
        document["outputs"] = [port.describe() for port in model.outputs]

    def save(self, model: "Any", side: str) -> None:
        self.enter("outputs")
        for index in range(len(model.outputs)):
            model.save(index, self.request["prefix"] + "%s%d.bin" % (side, index))

    def base(self, open_runtime: "Any") -> "Any":
        """Returns the runtime, loaded and warmed; from here on the memory limit holds."""
        request, document = self.request, self.document
        threads = request["threads"]
        if request["cpus"]:
            document["cpus_reason"] = pin(request["cpus"])
        if hasattr(os, "sched_getaffinity"):
            document["cpus"] = sorted(os.sched_getaffinity(0))
        _try_to_write("/proc/self/oom_score_adj", "1000")
        stacks = (threads - 1) * thread_stack()
        self.enter("library")
        start = clock()
        runtime = open_runtime(request["lib"])
        document.update(api=runtime.api, version=runtime.version, load_ns=clock() - start)
        document["mem_lib"] = memory_now()
        self.enter("base")
        # Kept open until the end: pages that it freed would hide a part of the model's.
        self.warm = runtime.open(request["warmup"], threads, request["kernel"])
        self.repeat(self.warm, 3, 0, clock() + 10**9)
        settle()
        document["mem_base"] = memory_now()
        if request["memory"]:
            document["memory_reason"] = limit_memory(request["memory"], stacks)
        sys.stderr.write("available %s\n" % available_kb())
        return runtime

    def feed(self, model: "Any") -> None:
        named = list(self.request["in"])
        for index, port in enumerate(model.inputs):
            place = next((n for n in (port.name, port.tensor) if n in named), None)
            if place is None and len(named) == len(model.inputs) == 1:
                place = named[0]
            if place is None and named:
                raise Failure(BAD_INPUT, "no file is given for input %s" % port.name)
            file = None if place is None else "in%d.bin" % named.index(place)
            model.feed(index, file and self.request["prefix"] + file)

    def repeat(self, model: "Any", runs: int, seconds: float, deadline: int) -> int:
        """Fills `samples` until both `runs` and `seconds` are reached, or `deadline`; returns the count."""
        call, args, samples, now = model.call, model.args, self.samples, clock
        most = len(samples)
        enough = now() + int(seconds * 1e9)
        gap, due = self.gap_ns, now()
        count = 0
        while True:
            if gap:
                due = wait_until(due) + gap
            start = now()
            status = call(*args)
            end = now()
            if status:
                raise Failure(INVOKE, "inference fails", status)
            samples[count] = end - start
            count += 1
            if (count >= runs and end >= enough) or count >= most or end >= deadline:
                return count

    def sustain(self, model: "Any", begin: int, most_ns: int) -> int:
        """Runs for `most_ns`, keeps samples of all of it, and reads heat and clocks now and then."""
        call, args, samples, starts, now = model.call, model.args, self.samples, self.starts, clock
        every, gap, due = int(self.request["trace_s"] * 1e9), self.gap_ns, begin
        readings, next_reading = [], begin
        count, done, stride, end = 0, 0, 1, begin
        while end - begin < most_ns:
            if end >= next_reading:
                readings.append(dict(conditions(), at_ms=(end - begin) // 1000000))
                next_reading += every
            if gap:
                due = wait_until(due) + gap
            start = now()
            status = call(*args)
            end = now()
            if status:
                raise Failure(INVOKE, "inference fails", status)
            done += 1
            if done % stride:
                continue
            if count == len(samples):  # every second one goes
                count //= 2
                samples[:count], starts[:count] = samples[1 : 2 * count : 2], starts[1 : 2 * count : 2]
                stride *= 2
                continue
            samples[count], starts[count] = end - start, start - begin
            count += 1
        at_ms = [start // 1000000 for start in starts[:count]]
        self.document.update(runs=done, stride=stride, at_ms=at_ms, trace=readings)
        return count

    @property
    def gap_ns(self) -> int:
        """Returns the time from one start to the next; 0: none is kept."""
        return int(1e9 / self.request["rate"]) if self.request["rate"] else 0


def wait_until(due: int) -> int:
    """Sleeps until `due`; returns that, or now where it has passed, so that what is late is not caught up."""
    left = due - clock()
    if left <= 0:
        return due - left
    time.sleep(left / 1e9)
    return due


def clock_3_6() -> int:
    return int(time.perf_counter() * 1e9)


clock = getattr(time, "perf_counter_ns", clock_3_6)


def parse(arguments: "list[str]") -> "dict[str, Any]":
    """Returns the request; raises Failure for what is not known."""
    request = dict(DEFAULTS)  # type: dict[str, Any]
    request["in"] = []
    for argument in arguments:
        key, separator, value = argument.partition("=")
        if key == "in":
            request["in"].append(value)
        elif separator and (key in DEFAULTS or key in REQUIRED):
            try:
                request[key] = type(DEFAULTS.get(key, ""))(value)
            except ValueError:
                raise Failure(USAGE, "%s is no number: %s" % (key, value)) from None
        else:
            raise Failure(USAGE, "unknown argument: %s" % argument)
    for key in REQUIRED:
        if key not in request:
            raise Failure(USAGE, "%s= is missing" % key)
    return request


def main(arguments: "list[str]", open_runtime: "Any" = open_library) -> int:
    """Runs the request and prints its document; returns the exit code."""
    die_with_parent()
    out = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what libraries print on stdout must not mix with the document
    code = 0
    document = {"schema": SCHEMA}  # type: dict[str, Any]
    run = None
    try:
        run = Run(parse(arguments))
        document = run.document
        run.measure(open_runtime)
    except Failure as failure:
        code = failure.code
        document.update(error=str(failure), status=failure.status)
    except MemoryError:
        code = OUT_OF_MEMORY
        document.update(error="out of memory", status=None)
    lift_limit()
    if code:
        document["phase"] = run.phase if run else "start"
    send(out, document)
    return code


def send(out: "IO[str]", document: "dict[str, Any]") -> None:
    import json  # after the measurement

    json.dump(document, out)
    out.write("\n")
    out.flush()


if __name__ == "__main__":
    exit_code = main(sys.argv[1:])
    sys.stderr.flush()
    os._exit(exit_code)  # the library's own clean-up is not what is measured

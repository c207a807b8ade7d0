#!/usr/bin/env python3
"""An adbd in Python that can misbehave on purpose.  Standard library only.

    adbd_sim.py ROOT [--port P] [faults]

Listens on 127.0.0.1 and speaks the adb protocol to any adb client (`adb
connect 127.0.0.1:P`).  ROOT is the device's storage: /data, /sdcard, /system,
/default.prop, /etc/devicekit-fake and /proc/meminfo of the device are
ROOT/data and so on.  It is filled on the first start; tests may change it at
any time.  One line of JSON on stdout says which port was taken.

Commands run on this host.  With bubblewrap they see the device's folders at
their place; without it (--isolation none) paths such as /data/... are replaced
in the command text, which is enough for `chmod 755 /data/local/tmp/x` but not
for absolute paths inside a pushed script.

In a test, use it directly:

    with Device(tmp_path, drop_after=2_000_000) as device:
        ...  # adb connect 127.0.0.1:{device.port}

Not there: TLS pairing, compression, jdwp, framebuffer, reverse, terminals.
"""

import argparse
import base64
import contextlib
import errno
import json
import os
import re
import select
import shutil
import signal
import socket
import stat
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

VERSION = 0x01000001  # from this version on, data checksums are not verified
MAX_PAYLOAD = 1024 * 1024
HEADER = struct.Struct("<6I")
AUTH_TOKEN, AUTH_SIGNATURE = 1, 2
STAT_V2 = struct.Struct("<IQQIIIIQqqq")
# Packet types of the shell protocol, version 2.
SHELL_STDIN, SHELL_STDOUT, SHELL_STDERR, SHELL_EXIT, SHELL_CLOSE_STDIN = range(5)

DEFAULT_PROPS = """\
ro.product.model=Pixel 7
ro.product.manufacturer=Google
ro.product.brand=google
ro.product.name=panther
ro.product.device=panther
ro.product.cpu.abi=arm64-v8a
ro.product.cpu.abilist=arm64-v8a
ro.soc.manufacturer=Google
ro.soc.model=GS201
ro.build.version.release=14
ro.build.version.sdk=34
ro.serialno=SIM0001
sys.boot_completed=1
"""
BATTERY = """\
Current Battery Service state:
  AC powered: false
  USB powered: true
  status: 2
  health: 2
  present: true
  level: 85
  scale: 100
  voltage: 4215
  temperature: 285
  technology: Li-ion
"""
THERMAL = """\
IsStatusOverride: false
Thermal Status: 0
HAL Ready: true
Current temperatures from HAL:
\tTemperature{mValue=38.0, mType=0, mName=BIG, mStatus=0}
\tTemperature{mValue=31.4, mType=3, mName=VIRTUAL-SKIN, mStatus=0}
"""
MEMINFO = """\
MemTotal:        7812345 kB
MemFree:          912345 kB
MemAvailable:    3912345 kB
"""
GETPROP = r"""#!/bin/sh
file=$DEVICE_ROOT/default.prop
if [ -z "$1" ]; then
    sed -n 's/^\([^#=][^=]*\)=\(.*\)$/[\1]: [\2]/p' "$file" | sort
    exit
fi
while IFS='=' read -r name value; do
    if [ "$name" = "$1" ]; then
        echo "$value"
        exit
    fi
done < "$file"
echo "$2"
"""
DUMPSYS = """#!/bin/sh
file=$DEVICE_ROOT/etc/devicekit-fake/$1.txt
if [ -f "$file" ]; then
    cat "$file"
else
    echo "Can't find service: $1" >&2
fi
"""
# Device paths that lead into ROOT.
DEVICE_PATHS = ("data", "sdcard", "system", "default.prop", "etc/devicekit-fake")


class LinkDropped(Exception):
    """The connection ends here, by --drop-after."""


# --- authentication ----------------------------------------------------------


def load_public_keys(path):
    """Return [(modulus, exponent)] from a file of adbkey.pub lines."""
    keys = []
    if not os.path.exists(path):
        return keys
    for line in Path(path).read_text().splitlines():
        if not line.strip():
            continue
        blob = base64.b64decode(line.split()[0])
        words = struct.unpack_from("<I", blob)[0]
        size = words * 4
        # words, n0inv, modulus, R^2, exponent; all little-endian
        modulus = int.from_bytes(blob[8 : 8 + size], "little")
        exponent = struct.unpack_from("<I", blob, 8 + 2 * size)[0]
        keys.append((modulus, exponent))
    return keys


def signature_matches(key, signature, token):
    """Check a PKCS#1 v1.5 signature; adb signs the token as if it were a SHA-1."""
    modulus, exponent = key
    size = (modulus.bit_length() + 7) // 8
    asn1 = bytes.fromhex("3021300906052b0e03021a05000414") + token
    expected = b"\0\1" + b"\xff" * (size - 3 - len(asn1)) + b"\0" + asn1
    value = pow(int.from_bytes(signature, "big"), exponent, modulus)
    return value.to_bytes(size, "big") == expected


# --- connection and streams --------------------------------------------------


class Stream:
    """One service opened by the client: blocking read and write with flow control."""

    def __init__(self, connection, local_id, remote_id):
        self.connection = connection
        self.local_id = local_id
        self.remote_id = remote_id
        self.closed = False
        self._buffer = bytearray()
        self._changed = threading.Condition()
        self._may_write = threading.Semaphore(0)

    # called by the connection's reader
    def feed(self, data):
        """Take in what the client wrote."""
        with self._changed:
            self._buffer += data
            self._changed.notify_all()

    def acknowledge(self):
        """The client took our last packet."""
        self._may_write.release()

    def peer_closed(self):
        """The client, or the link, is gone: wake every waiter."""
        with self._changed:
            self.closed = True
            self._changed.notify_all()
        self._may_write.release()

    # called by the service
    def read(self, count):
        """Return exactly count bytes, or raise EOFError."""
        with self._changed:
            while len(self._buffer) < count:
                if self.closed:
                    raise EOFError
                self._changed.wait()
            data = bytes(self._buffer[:count])
            del self._buffer[:count]
            return data

    def read_some(self):
        """Return what is there, at least one byte; b'' at the end."""
        with self._changed:
            while not self._buffer and not self.closed:
                self._changed.wait()
            data = bytes(self._buffer)
            self._buffer.clear()
            return data

    def wait_closed(self):
        """Block until the client closes the stream."""
        with self._changed:
            while not self.closed:
                self._changed.wait()

    def write(self, data):
        """Send data; each packet waits for the client's acknowledgement."""
        size = self.connection.max_payload
        for start in range(0, len(data), size):
            if self.closed:
                raise BrokenPipeError
            self.connection.send(b"WRTE", self.local_id, self.remote_id, data[start : start + size])
            self._may_write.acquire()

    def close(self):
        """Close from our side, once."""
        if self.connection.streams.pop(self.local_id, None) is not None:
            self.connection.send(b"CLSE", self.local_id, self.remote_id)


class Connection:
    """One client connection: packets in, packets out."""

    def __init__(self, device, sock):
        self.device = device
        self.sock = sock
        self.streams = {}
        self.max_payload = 4096
        self._next_id = 1
        self._online = False
        self._checksums = True
        self._token = os.urandom(20)
        self._payload_bytes = 0
        self._send_lock = threading.Lock()

    def send(self, command, arg0, arg1, data=b""):
        """Send one packet.  A broken link is noticed by the reader, not here."""
        number = int.from_bytes(command, "little")
        checksum = sum(data) & 0xFFFFFFFF if self._checksums or command in (b"CNXN", b"AUTH") else 0
        packet = HEADER.pack(number, arg0, arg1, len(data), checksum, number ^ 0xFFFFFFFF) + data
        try:
            self._count(len(data))
            with self._send_lock:
                self.sock.sendall(packet)
        except (OSError, LinkDropped):
            self.abort()

    def abort(self):
        """Cut the link at once; the reader then ends by itself."""
        with contextlib.suppress(OSError):
            self.sock.shutdown(socket.SHUT_RDWR)

    def run(self):
        """Handle packets until the link is gone."""
        try:
            while True:
                self._handle(*self._receive())
        except (EOFError, OSError, LinkDropped):
            pass
        for stream in list(self.streams.values()):
            stream.peer_closed()
        self.abort()
        self.sock.close()
        self.device.connections.discard(self)

    def _count(self, size):
        self._payload_bytes += size
        limit = self.device.drop_after
        if limit is not None and self._payload_bytes > limit:
            raise LinkDropped

    def _receive_exactly(self, count):
        data = bytearray()
        while len(data) < count:
            piece = self.sock.recv(min(count - len(data), 1 << 20))
            if not piece:
                raise EOFError
            data += piece
        return bytes(data)

    def _receive(self):
        number, arg0, arg1, size, _, magic = HEADER.unpack(self._receive_exactly(HEADER.size))
        if magic != number ^ 0xFFFFFFFF or size > MAX_PAYLOAD:
            raise EOFError
        data = self._receive_exactly(size)
        self._count(size)
        if self.device.latency_ms:
            time.sleep(self.device.latency_ms / 1000)
        return number.to_bytes(4, "little"), arg0, arg1, data

    def _handle(self, command, arg0, arg1, data):
        if command == b"CNXN":
            self.max_payload = min(arg1, MAX_PAYLOAD)
            self._checksums = arg0 < VERSION  # old clients still verify them
            if self.device.auth is None:
                self._accept()
            else:
                self.send(b"AUTH", AUTH_TOKEN, 0, self._token)
        elif command == b"AUTH":
            self._authenticate(arg0, data)
        elif not self._online:
            pass
        elif command == b"OPEN":
            stream = Stream(self, self._next_id, arg0)
            self._next_id += 1
            self.streams[stream.local_id] = stream
            name = data.rstrip(b"\0").decode("utf-8", "replace")
            threading.Thread(target=self._serve, args=(stream, name), daemon=True).start()
        elif command == b"OKAY":
            if arg1 in self.streams:
                self.streams[arg1].acknowledge()
        elif command == b"WRTE":
            if arg1 in self.streams:
                self.streams[arg1].feed(data)
                self.send(b"OKAY", arg1, arg0)
            else:
                self.send(b"CLSE", 0, arg0)
        elif command == b"CLSE":
            stream = self.streams.pop(arg1, None)
            if stream:
                stream.peer_closed()
                self.send(b"CLSE", stream.local_id, stream.remote_id)

    def _authenticate(self, kind, data):
        # The third kind offers a public key: on a phone a dialog would appear.
        # Nobody answers it here, so the client stays "unauthorized".
        if kind != AUTH_SIGNATURE:
            return
        keys = load_public_keys(self.device.auth)
        if any(signature_matches(key, data, self._token) for key in keys):
            self._accept()
        else:
            self._token = os.urandom(20)
            self.send(b"AUTH", AUTH_TOKEN, 0, self._token)

    def _accept(self):
        self._online = True
        self.send(b"CNXN", VERSION, MAX_PAYLOAD, self.device.banner())

    def _serve(self, stream, name):
        self.device.note(name)
        service, arguments = find_service(self.device, name)
        if service is None:
            self.streams.pop(stream.local_id, None)
            self.send(b"CLSE", 0, stream.remote_id)
            return
        self.send(b"OKAY", stream.local_id, stream.remote_id)
        try:
            service(self.device, stream, *arguments)
        except (EOFError, BrokenPipeError):
            pass
        finally:
            stream.close()


# --- services ----------------------------------------------------------------


def find_service(device, name):
    """Return (function, arguments) for a service name such as `shell:ls`."""
    for pattern, function in SERVICES:
        match = re.fullmatch(pattern, name, re.S)
        if match and not (function is shell_v2 and not device.shell_v2):
            return function, match.groups()
    return None, ()


def end_process(process):
    """Kill a command with everything it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def shell_v1(device, stream, command):
    """`shell:` and `exec:`: one byte stream, no exit status."""
    if device.hangs(command):
        stream.wait_closed()
        return
    process = device.spawn(command, stderr=subprocess.STDOUT)

    def pump_input():
        try:
            while data := stream.read_some():
                process.stdin.write(data)
                process.stdin.flush()
            process.stdin.close()
        except OSError:
            pass
        if stream.closed:
            end_process(process)

    threading.Thread(target=pump_input, daemon=True).start()
    try:
        while data := os.read(process.stdout.fileno(), 65536):
            stream.write(data)
    finally:
        if stream.closed:
            end_process(process)
        process.wait()


def shell_v2(device, stream, command):
    """`shell,v2:`: framed stdout and stderr, then the exit status."""
    if device.hangs(command):
        stream.wait_closed()
        return
    process = device.spawn(command, stderr=subprocess.PIPE)

    def pump_input():
        try:
            while True:
                kind, size = struct.unpack("<BI", stream.read(5))
                data = stream.read(size)
                if kind == SHELL_STDIN:
                    process.stdin.write(data)
                    process.stdin.flush()
                elif kind == SHELL_CLOSE_STDIN:
                    process.stdin.close()
        except (EOFError, OSError, ValueError):
            pass
        if stream.closed:
            end_process(process)

    threading.Thread(target=pump_input, daemon=True).start()
    kinds = {process.stdout.fileno(): SHELL_STDOUT, process.stderr.fileno(): SHELL_STDERR}
    try:
        while kinds:
            for fd in select.select(list(kinds), [], [])[0]:
                data = os.read(fd, 32768)
                if data:
                    stream.write(struct.pack("<BI", kinds[fd], len(data)) + data)
                else:
                    del kinds[fd]
    finally:
        if stream.closed:
            end_process(process)
        status = process.wait()
    # A signal is reported as 128 + its number, as adbd does.
    status = 128 - status if status < 0 else status
    stream.write(struct.pack("<BIB", SHELL_EXIT, 1, status & 255))


def forward(_device, stream, port):
    """`tcp:PORT`: connect the stream to a port of this host (adb forward)."""
    try:
        sock = socket.create_connection(("127.0.0.1", int(port)))
    except OSError:
        return

    def pump_input():
        while data := stream.read_some():
            sock.sendall(data)
        sock.close()

    threading.Thread(target=pump_input, daemon=True).start()
    try:
        while data := sock.recv(65536):
            stream.write(data)
    except OSError:
        pass


def sync(device, stream):
    """`sync:`: file transfer (push, pull, stat, list)."""
    while True:
        command, size = struct.unpack("<4sI", stream.read(8))
        if command == b"QUIT":
            return
        path = stream.read(size).decode("utf-8", "surrogateescape")
        if command == b"STAT":
            stream.write(b"STAT" + stat_v1(device.host_path(path)))
        elif command in (b"STA2", b"LST2"):
            stream.write(command + stat_v2(device.host_path(path), command == b"STA2"))
        elif command in (b"LIST", b"LIS2"):
            sync_list(device, stream, path, command == b"LIS2")
        elif command == b"SEND":
            sync_send(device, stream, path)
        elif command == b"RECV":
            sync_receive(device, stream, path)
        else:
            sync_fail(stream, "unknown command")
            return


def sync_fail(stream, message):
    """Tell the client that the current file failed."""
    data = message.encode()
    stream.write(b"FAIL" + struct.pack("<I", len(data)) + data)


def stat_v1(path):
    """Mode, size and time of a file; zeros if there is none."""
    try:
        info = os.lstat(path)
    except OSError:
        return struct.pack("<3I", 0, 0, 0)
    return struct.pack("<3I", info.st_mode, min(info.st_size, 0xFFFFFFFF), int(info.st_mtime))


def stat_v2(path, follow):
    """The long form, with the error number."""
    try:
        info = os.stat(path) if follow else os.lstat(path)
    except OSError as error:
        return STAT_V2.pack(error.errno, *[0] * 10)
    return STAT_V2.pack(
        0,
        info.st_dev,
        info.st_ino,
        info.st_mode,
        info.st_nlink,
        info.st_uid,
        info.st_gid,
        info.st_size,
        int(info.st_atime),
        int(info.st_mtime),
        int(info.st_ctime),
    )


def sync_list(device, stream, path, long_form):
    """Send one entry per file of a folder, then DONE."""
    folder = device.host_path(path)
    try:
        names = [".", "..", *sorted(os.listdir(folder))]
    except OSError:
        names = []
    for name in names:
        full = os.path.join(folder, name)
        if not os.path.lexists(full):
            continue
        entry = b"DNT2" + stat_v2(full, False) if long_form else b"DENT" + stat_v1(full)
        raw = os.fsencode(name)
        stream.write(entry + struct.pack("<I", len(raw)) + raw)
    stream.write(b"DONE" + bytes(STAT_V2.size + 4 if long_form else 16))


def sync_send(device, stream, path_and_mode):
    """Receive a file or a symbolic link from the client (push)."""
    path, _, mode = path_and_mode.rpartition(",")
    mode = int(mode)
    target = device.host_path(path)
    room = device.free_bytes()
    output, error = None, None
    link_target = bytearray()
    try:
        os.makedirs(os.path.dirname(target), exist_ok=True)
        if not stat.S_ISLNK(mode):
            output = open(target, "wb")  # noqa: SIM115
    except OSError as problem:
        error = f"couldn't create file: {problem.strerror}"
    complete = False
    try:
        while True:
            command, size = struct.unpack("<4sI", stream.read(8))
            if command == b"DONE":
                mtime = size  # this packet has the file's time in that place
                break
            data = stream.read(size)
            if error:
                continue  # the client sends all of it in any case
            if output is None:
                link_target += data
            elif room is not None and output.tell() + size > room:
                error = f"write failed: {os.strerror(errno.ENOSPC)}"
            else:
                output.write(data)
        complete = not error
    finally:
        if output:
            output.close()
            if not complete:
                os.unlink(target)  # as adbd does, also when the link is lost
    if error:
        sync_fail(stream, error)
        return
    if output:
        # adbd copies the owner's bits to group and others
        bits = mode & 0o777
        bits |= bits >> 3 & 0o070
        bits |= bits >> 3 & 0o007
        os.chmod(target, bits)
        os.utime(target, (mtime, mtime))
    else:
        if os.path.lexists(target):
            os.unlink(target)
        os.symlink(link_target.rstrip(b"\0").decode(), target)
    stream.write(b"OKAY" + struct.pack("<I", 0))


def sync_receive(device, stream, path):
    """Send a file to the client (pull)."""
    try:
        with open(device.host_path(path), "rb") as source:
            while data := source.read(65536):
                stream.write(b"DATA" + struct.pack("<I", len(data)) + data)
    except IsADirectoryError:
        sync_fail(stream, "read failed: Is a directory")
    except FileNotFoundError:
        sync_fail(stream, "open failed: No such file or directory")
    else:
        stream.write(b"DONE" + struct.pack("<I", 0))


SERVICES = [
    (r"shell,v2[^:]*:(.*)", shell_v2),
    (r"shell:(.*)", shell_v1),
    (r"shell,raw[^:]*:(.*)", shell_v1),
    (r"exec:(.*)", shell_v1),
    (r"sync:", sync),
    (r"tcp:(\d+)", forward),
]


# --- the device --------------------------------------------------------------


class Device:
    """The emulated device.  Use as a context manager, or call start() and stop()."""

    def __init__(
        self,
        root,
        port=0,
        *,
        props=None,
        auth=None,
        drop_after=None,
        disk_full=None,
        latency_ms=0,
        shell_v2=True,
        hang_on=None,
        isolation="auto",
        log=None,
    ):
        self.root = os.path.realpath(root)
        self.port = port
        self.auth = auth
        self.drop_after = drop_after
        self.disk_full = disk_full
        self.latency_ms = latency_ms
        self.shell_v2 = shell_v2
        self.hang_on = re.compile(hang_on) if hang_on else None
        self.log = log
        self.opened = []  # names of all services opened so far
        self.connections = set()
        self._listener = None
        self._fill_root(props)
        if isolation == "auto":
            isolation = "bwrap" if self._bwrap_works() else "none"
        self.isolation = isolation

    def start(self):
        """Listen and serve in the background."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept_loop, daemon=True).start()
        return self

    def stop(self):
        """Stop listening and cut every connection, as if the cable was pulled."""
        with contextlib.suppress(OSError):  # stopped before
            # Closing alone would not wake the thread that waits in accept().
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in list(self.connections):
            connection.abort()

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        self.stop()

    def banner(self):
        """What the client learns about the device when it connects."""
        props = dict(
            line.split("=", 1)
            for line in Path(self.root, "default.prop").read_text().splitlines()
            if "=" in line and not line.startswith("#")
        )
        names = ("ro.product.name", "ro.product.model", "ro.product.device")
        features = "cmd,stat_v2,ls_v2,fixed_push_mkdir,fixed_push_symlink_timestamp"
        if self.shell_v2:
            features = "shell_v2," + features
        fields = [f"{name}={props.get(name, '')}" for name in names]
        return ("device::" + ";".join([*fields, "features=" + features])).encode()

    def note(self, service):
        """Remember (and log) that a service was opened."""
        self.opened.append(service)
        if self.log:
            with open(self.log, "a", encoding="utf-8") as log:
                log.write(json.dumps(service) + "\n")

    def hangs(self, command):
        """Shall this command never return?"""
        return bool(self.hang_on and self.hang_on.search(command))

    def host_path(self, path):
        """Map a device path into ROOT; whatever leads out of it does not exist."""
        full = os.path.realpath(os.path.join(self.root, path.lstrip("/")))
        if full != self.root and not full.startswith(self.root + os.sep):
            return os.path.join(self.root, "nonexistent", "outside")
        return full

    def free_bytes(self):
        """Room left on the device, or None for "no limit"."""
        if self.disk_full is None:
            return None
        used = 0
        for top in ("data", "sdcard"):
            for folder, _, names in os.walk(os.path.join(self.root, top)):
                used += sum(os.lstat(os.path.join(folder, name)).st_size for name in names)
        return max(0, self.disk_full - used)

    def spawn(self, command, **kwargs):
        """Start a shell command on the "device"."""
        environment = {
            "PATH": "/system/bin:/usr/bin:/bin",
            "HOME": "/",
            "DEVICE_ROOT": "",
            "TMPDIR": "/data/local/tmp",
        }
        folder = "/"
        if self.isolation == "bwrap":
            prefix = self._bwrap_command()
        else:
            prefix = []
            folder = self.root
            environment["DEVICE_ROOT"] = self.root
            environment["PATH"] = f"{self.root}/system/bin:/usr/bin:/bin"
            environment["TMPDIR"] = f"{self.root}/data/local/tmp"
            names = "|".join(map(re.escape, [*DEVICE_PATHS, "proc/meminfo"]))
            command = re.sub(
                rf"(?<![\w./-])/({names})(?![\w.-])", lambda match: f"{self.root}/{match[1]}", command
            )
        return subprocess.Popen(
            [*prefix, "/bin/sh", "-c", command or "exec /bin/sh"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=environment,
            cwd=folder,
            start_new_session=True,
            **kwargs,
        )

    def _bwrap_command(self):
        command = [
            "bwrap",
            "--proc",
            "/proc",
            "--dev",
            "/dev",
            "--tmpfs",
            "/tmp",
            "--die-with-parent",
            "--unshare-pid",
            "--ro-bind",
            "/usr",
            "/usr",
        ]
        for name in ("bin", "sbin", "lib", "lib64"):
            if os.path.exists("/" + name):
                command += ["--symlink", "usr/" + name, "/" + name]
        for name in DEVICE_PATHS:
            command += ["--bind", os.path.join(self.root, name), "/" + name]
        for name in sorted(os.listdir(os.path.join(self.root, "proc"))):
            command += ["--ro-bind", os.path.join(self.root, "proc", name), "/proc/" + name]
        return command

    def _bwrap_works(self):
        """Unprivileged sandboxes are switched off on some machines: try."""
        if not shutil.which("bwrap"):
            return False
        result = subprocess.run([*self._bwrap_command(), "/bin/true"], capture_output=True)
        return result.returncode == 0

    def _fill_root(self, props):
        for folder in ("data/local/tmp", "sdcard", "system/bin", "etc/devicekit-fake", "proc"):
            os.makedirs(os.path.join(self.root, folder), exist_ok=True)
        if props:
            shutil.copyfile(props, os.path.join(self.root, "default.prop"))
        files = {
            "default.prop": DEFAULT_PROPS,
            "etc/devicekit-fake/battery.txt": BATTERY,
            "etc/devicekit-fake/thermalservice.txt": THERMAL,
            "proc/meminfo": MEMINFO,
            "system/bin/getprop": GETPROP,
            "system/bin/dumpsys": DUMPSYS,
        }
        for name, text in files.items():
            path = Path(self.root, name)
            if not path.exists():
                path.write_text(text)
                path.chmod(0o755 if name.startswith("system/bin/") else 0o644)

    def _accept_loop(self):
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(self, sock)
            self.connections.add(connection)
            threading.Thread(target=connection.run, daemon=True).start()


def main():
    """Run one device until it is told to end."""
    parser = argparse.ArgumentParser(description="An adbd in Python that can misbehave on purpose.")
    parser.add_argument("root", help="folder that is the device's storage")
    parser.add_argument("--port", type=int, default=0, help="default: a free one")
    parser.add_argument("--props", metavar="FILE", help="NAME=VALUE lines for getprop")
    parser.add_argument(
        "--auth",
        metavar="PUBKEYFILE",
        help="accept only these keys (adbkey.pub lines, read at each connection)",
    )
    parser.add_argument(
        "--drop-after", type=int, metavar="BYTES", help="cut each connection after that much payload"
    )
    parser.add_argument(
        "--disk-full", type=int, metavar="BYTES", help="capacity of /data and /sdcard together, for pushes"
    )
    parser.add_argument("--latency-ms", type=float, default=0, help="wait before each packet")
    parser.add_argument(
        "--no-shell-v2",
        dest="shell_v2",
        action="store_false",
        help="an old device: no exit status, stderr mixed into stdout",
    )
    parser.add_argument(
        "--hang-on", metavar="PATTERN", help="a command that matches this regular expression never returns"
    )
    parser.add_argument("--isolation", choices=("auto", "bwrap", "none"), default="auto")
    parser.add_argument("--log", metavar="FILE", help="write each opened service to this file")
    options = vars(parser.parse_args())
    device = Device(options.pop("root"), **options).start()
    print(
        json.dumps(
            {"port": device.port, "root": device.root, "pid": os.getpid(), "isolation": device.isolation}
        ),
        flush=True,
    )
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    try:
        signal.pause()
    except KeyboardInterrupt:
        pass
    finally:
        device.stop()


if __name__ == "__main__":
    main()

"""Connecting to a device: by its address, one run at a time."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress

from devicekit.device.lock import held, locked
from devicekit.device.seam import Device
from devicekit.errors import Busy, UsageError
from devicekit.plugins import resolve

# What stands before the first ":" of an address -> what takes the address and returns a Device.
TRANSPORTS = {
    "host": "devicekit.device.local:LocalDevice",
    "adb": "devicekit.device.adb:adb_device",
    "adb+tcp": "devicekit.device.adb:remote_adb_device",
    "ssh": "devicekit.device.ssh:ssh_device",
    "fake": "devicekit.device.fake:fake_device",
}
LOCK_WAIT_S = 600.0


@contextmanager
def connect(
    address: str | Device,
    *,
    wait_s: float = LOCK_WAIT_S,
    keep: bool = False,
    accept_new_host_key: bool = False,
) -> Iterator[Device]:
    """Yields the device at `address`, locked against other runs of devicekit and closed at the end.

    `keep` leaves our files on it, `accept_new_host_key` takes that of an SSH host that is not known yet. A
    Device is yielded as it is: whoever made it closes it. Raises UsageError for an unknown kind of address,
    Busy where another run holds the device for more than `wait_s`.
    """
    if not isinstance(address, str):
        yield address
        return
    transport = transport_of(address)
    with ExitStack() as stack:
        stack.enter_context(locked(address, wait_s=wait_s))
        only_ssh = {"accept_new_host_key": True} if accept_new_host_key and kind_of(address) == "ssh" else {}
        device: Device = resolve(transport)(address, keep=keep, **only_ssh)
        stack.callback(device.close)
        if kind_of(address) not in ("host", "fake"):
            stack.enter_context(held(device, address, wait_s=wait_s))
        yield device


def refuse_unreachable(address: str | Device, *, accept_new_host_key: bool = False) -> None:
    """Raises what connecting raises now, so that it is said before long work.

    A busy device is one that answers. What an earlier run left there with `keep` stays.
    """
    if isinstance(address, str) and address != "host":
        with suppress(Busy), connect(address, wait_s=0.0, keep=True, accept_new_host_key=accept_new_host_key):
            pass


def kind_of(address: str) -> str:
    return address.partition(":")[0]


def transport_of(address: str) -> str:
    """Returns what reaches `address`, as "module:attr". Raises UsageError for an unknown kind."""
    kind = kind_of(address)
    if kind not in TRANSPORTS:
        raise UsageError(
            f'no transport for the address "{address}"',
            remedy="name a device as one of: auto, host, adb:SERIAL, adb+tcp://HOST:PORT/SERIAL, ssh://USER@HOST",
        )
    return TRANSPORTS[kind]

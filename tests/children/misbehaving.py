"""A child that does what the request says: the real process behind tests/test_child.py."""

import ctypes
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from devicekit.errors import ConvertError


def handle(request: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield {"pid": os.getpid()}
    match request["do"]:
        case "echo":
            print("a library prints on stdout")
            os.write(1, b"so does its C++ part\n")
            yield {"said": request["say"]}
        case "segfault":
            ctypes.string_at(0)
        case "sleep":
            grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            yield {"grandchild": grandchild.pid}
            time.sleep(600)
        case "eat memory":
            bytearray(request["bytes"])
        case "tell limit":
            import resource  # Unix only

            yield {"limit": resource.getrlimit(resource.RLIMIT_DATA)[0]}
        case "leave behind":
            grandchild = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
            yield {"grandchild": grandchild.pid}
            if request["then"] == "crash":
                os.abort()
            raise ConvertError("m.h5", found="a reason", remedy="do this")
        case "raise":
            print("a library explains", file=sys.stderr)
            raise ConvertError("m.h5", found="a reason", remedy="do this")
        case "traceback":
            raise KeyError("missing")

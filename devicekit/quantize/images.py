"""Images as people see them: upright, on white, in 8 bits; and what had to be done for that."""

import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devicekit.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif", ".tif", ".tiff"}
_ORIENTATION = 0x112  # the EXIF tag; 1 is upright
_TURNED = range(2, 9)
# What Pillow raises of damaged files of one format or another.
_DAMAGED = (OSError, ValueError, SyntaxError, EOFError, struct.error, zlib.error)
_DEEP = 65535  # the largest value of 16 bits
TURNED = "turned upright, as EXIF says"
ON_WHITE = "transparent: laid on white"
FROM_16_BITS = "brought from 16 to 8 bits"
FIRST_OF_MANY = "moving: the first picture taken"


def read_image(
    file: Path, *, height: int, width: int, channels: int
) -> tuple["NDArray[np.uint8]", tuple[str, ...]]:
    """Returns an image as uint8 [height, width, channels], RGB or grey, and what was done to it.

    Raises UsageError where it cannot be read.
    """
    import numpy as np
    from PIL import Image, ImageOps

    done = []
    try:
        with Image.open(file) as image:
            if getattr(image, "n_frames", 1) > 1 and image.format != "MPO":  # a camera's, with a preview
                done.append(FIRST_OF_MANY)
            if image.getexif().get(_ORIENTATION) in _TURNED:
                done.append(TURNED)
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I") or upright.mode == "F":
                upright, is_deep = _shallow(file, upright)
                done += [FROM_16_BITS] if is_deep else []
            if upright.has_transparency_data:
                upright = upright.convert("RGBA")
                if np.asarray(upright)[..., 3].min() < 255:
                    done.append(ON_WHITE)
                white = Image.new("RGBA", upright.size, "white")
                upright = Image.alpha_composite(white, upright)
            fitted = upright.convert("RGB" if channels == 3 else "L").resize((width, height))
    except (*_DAMAGED, Image.DecompressionBombError) as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0][:150]
        raise UsageError(
            f"{file.name}: is no readable image ({said})", remedy="remove or replace it"
        ) from error
    return np.asarray(fitted, np.uint8).reshape(height, width, channels), tuple(done)


def _shallow(file: Path, image: Any) -> tuple[Any, bool]:
    """Returns a grey image of more than 8 bits in 8, and whether it holds more; 32 bits may hold 0..255.

    Raises UsageError for floats, and for more than 16 bits.
    """
    import numpy as np
    from PIL import Image

    values = np.asarray(image)
    if image.mode == "F" or values.min() < 0 or values.max() > _DEEP:
        what = "floats" if image.mode == "F" else f"{values.min():g}..{values.max():g}"
        raise UsageError(
            f"{file.name}: holds {what}, expected 8 or 16 bits",
            remedy="give a .npz with the input as the model takes it",
        )
    is_deep = image.mode != "I" or bool(values.max() > 255)
    factor = 255 / _DEEP if is_deep else 1.0
    return Image.fromarray(np.round(values * factor).astype(np.uint8)), is_deep


def in_words(done: Sequence[tuple[str, ...]]) -> list[str]:
    """Returns a note for everything that was done to some images: "2 images turned upright, …"."""
    kinds = dict.fromkeys(kind for one in done for kind in one)
    counts = {kind: sum(kind in one for one in done) for kind in kinds}
    return [f"{count} image{'' if count == 1 else 's'} {kind}" for kind, count in counts.items()]

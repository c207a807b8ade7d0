"""Images as people see them: upright, on white, in 8 bits; and what had to be done for that."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from devicekit.errors import UsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SUFFIXES = {".png", ".jpg", ".jpeg", ".bmp", ".webp", ".gif"}
_ORIENTATION = 0x112  # the EXIF tag; 1 is upright
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
            if getattr(image, "n_frames", 1) > 1:
                done.append(FIRST_OF_MANY)
            if image.getexif().get(_ORIENTATION, 1) != 1:
                done.append(TURNED)
            upright = ImageOps.exif_transpose(image)
            if upright.mode.startswith("I") or upright.mode == "F":
                upright = _shallow(file, upright)
                done.append(FROM_16_BITS)
            if upright.has_transparency_data:
                upright = upright.convert("RGBA")
                if np.asarray(upright)[..., 3].min() < 255:
                    done.append(ON_WHITE)
                white = Image.new("RGBA", upright.size, "white")
                upright = Image.alpha_composite(white, upright)
            fitted = upright.convert("RGB" if channels == 3 else "L").resize((width, height))
    except (OSError, ValueError, Image.DecompressionBombError) as error:
        said = (str(error).strip().splitlines() or [type(error).__name__])[0][:150]
        raise UsageError(
            f"{file.name}: is no readable image ({said})", remedy="remove or replace it"
        ) from error
    return np.asarray(fitted, np.uint8).reshape(height, width, channels), tuple(done)


def _shallow(file: Path, image: Any) -> Any:
    """Returns a grey image of more than 8 bits in 8. Raises UsageError where it holds more than 16."""
    import numpy as np
    from PIL import Image

    values = np.asarray(image, np.float64)
    if values.min() < 0 or values.max() > _DEEP:
        raise UsageError(
            f"{file.name}: holds {values.min():g}..{values.max():g}, expected 8 or 16 bits",
            remedy="give a .npz with the input as the model takes it",
        )
    return Image.fromarray(np.round(values * (255 / _DEEP)).astype(np.uint8))


def in_words(done: Sequence[tuple[str, ...]]) -> list[str]:
    """Returns a note for everything that was done to some images: "2 images turned upright, …"."""
    kinds = dict.fromkeys(kind for one in done for kind in one)
    counts = {kind: sum(kind in one for one in done) for kind in kinds}
    return [f"{count} image{'' if count == 1 else 's'} {kind}" for kind, count in counts.items()]

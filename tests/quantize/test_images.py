"""Images of a folder: upright, on white, in 8 bits, in the range that the model takes; else it is said."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from devicekit.errors import UsageError
from devicekit.graph.model import Graph
from devicekit.graph.told import Told
from devicekit.quantize import images
from devicekit.quantize.samples import load_data

RAMP = np.linspace(0, 255, 8).astype("u1")


def save_turned(path: Path) -> None:
    exif = Image.Exif()
    exif[0x112] = 6  # to be turned by 90 degrees clockwise
    Image.fromarray(RAMP[:, None].repeat(8, 1).repeat(8, 0).repeat(8, 1)).save(path, exif=exif, quality=95)


def read(path: Path, channels: int = 1) -> tuple[np.ndarray, tuple[str, ...]]:
    return images.read_image(path, height=8, width=8, channels=channels)


def test_a_photograph_is_turned_as_it_is_seen(tmp_path: Path) -> None:
    save_turned(tmp_path / "turned.jpg")
    pixels, done = read(tmp_path / "turned.jpg")
    np.testing.assert_allclose(pixels[..., 0].mean(axis=0), RAMP[::-1], atol=4)
    assert done == (images.TURNED,)


@pytest.mark.parametrize("dtype", ["u2", "i4"])
def test_16_bits_keep_their_shades(dtype: str, tmp_path: Path) -> None:
    deep = np.linspace(0, 65535, 8).astype(dtype)[:, None].repeat(8, 1)
    Image.fromarray(deep).save(tmp_path / ("deep.png" if dtype == "u2" else "deep.tiff"))
    file = next(tmp_path.iterdir())
    pixels, done = read(file)
    np.testing.assert_allclose(pixels[..., 0].mean(axis=1), np.linspace(0, 255, 8), atol=1)
    assert done == (images.FROM_16_BITS,)


def test_more_than_16_bits_are_refused(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 0.5, np.float32)).save(tmp_path / "float.tiff")
    with pytest.raises(UsageError, match=r"float\.tiff: holds floats, expected 8 or 16 bits"):
        read(tmp_path / "float.tiff")
    Image.fromarray(np.full((8, 8), 10**6, np.int32)).save(tmp_path / "deep.tiff")
    with pytest.raises(UsageError, match=r"deep\.tiff: holds 1e\+06\.\.1e\+06, expected 8 or 16 bits"):
        read(tmp_path / "deep.tiff")


def test_32_bits_may_hold_bytes(tmp_path: Path) -> None:
    Image.fromarray(np.full((8, 8), 200, np.int32)).save(tmp_path / "bytes.tiff")
    pixels, done = read(tmp_path / "bytes.tiff")
    assert pixels.min() == pixels.max() == 200 and done == ()


def test_an_orientation_that_is_none_turns_nothing(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x112] = 0
    Image.fromarray(RAMP[None, :].repeat(8, 0)).save(tmp_path / "odd.png", exif=exif)
    pixels, done = read(tmp_path / "odd.png")
    np.testing.assert_array_equal(pixels[0, :, 0], RAMP)
    assert done == ()


def test_a_damaged_file_is_named_whatever_pillow_raises(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), "red").save(tmp_path / "broken.png")
    content = bytearray((tmp_path / "broken.png").read_bytes())
    content[36] = 0  # the length of its data: what follows is no chunk
    (tmp_path / "broken.png").write_bytes(content)
    with pytest.raises(UsageError, match=r"broken\.png: is no readable image \(broken PNG file"):
        read(tmp_path / "broken.png")


@pytest.mark.parametrize(("alpha", "red"), [(0, 255), (128, 127), (255, 0)])
def test_what_is_transparent_lies_on_white(alpha: int, red: int, tmp_path: Path) -> None:
    pixels = np.zeros((8, 8, 4), "u1")
    pixels[..., 3] = alpha
    Image.fromarray(pixels).save(tmp_path / "a.png")
    found, done = read(tmp_path / "a.png", channels=3)
    assert abs(int(found[0, 0, 0]) - red) <= 1
    assert done == (() if alpha == 255 else (images.ON_WHITE,))


def test_a_palette_with_a_transparent_colour_lies_on_white(tmp_path: Path) -> None:
    picture = Image.new("P", (8, 8), 0)
    picture.putpalette([10, 20, 30] * 256)
    picture.save(tmp_path / "p.png", transparency=0)
    found, done = read(tmp_path / "p.png", channels=3)
    assert found.min() == 255 and done == (images.ON_WHITE,)


def test_of_a_moving_picture_the_first_is_taken(tmp_path: Path) -> None:
    frames = [Image.new("L", (8, 8), value) for value in (10, 200)]
    frames[0].save(tmp_path / "m.gif", save_all=True, append_images=frames[1:])
    found, done = read(tmp_path / "m.gif")
    assert found.mean() == 10 and images.FIRST_OF_MANY in done


def test_a_folder_says_what_was_done_and_how_the_images_were_taken(
    tmp_path: Path, digits_graph: Graph
) -> None:
    for index in range(2):
        save_turned(tmp_path / f"turned{index}.jpg")
    Image.new("L", (8, 8), 255).save(tmp_path / "white.png")
    data = load_data(str(tmp_path), digits_graph)
    assert data.notes[0] == "2 images turned upright, as EXIF says"
    assert data.notes[1].startswith("images taken as 0..1: if the model was trained otherwise")
    assert data.name(2) == "white.png" and data.evaluation["image"].max() == 1.0


@pytest.mark.parametrize(
    ("told", "high"),
    [
        (Told((0.0,), (255.0,), "r", is_exact=True), 255.0),
        (Told((0.0,), (1.0,), "r", is_exact=True), 1.0),
        (Told((10.0,), (220.0,), "n", is_exact=False), 255.0),
        (Told((-0.1,), (1.1,), "n", is_exact=False), 1.0),
    ],
)
def test_images_come_in_the_range_that_the_model_tells(
    told: Told, high: float, tmp_path: Path, digits_graph: Graph
) -> None:
    for value in (0, 255):
        Image.new("L", (8, 8), value).save(tmp_path / f"{value}.png")
    data = load_data(str(tmp_path), digits_graph, told={"image": told})
    assert (data.evaluation["image"].min(), data.evaluation["image"].max()) == (0.0, high)
    assert data.notes[0] == f"images taken as 0..{high:g}, as the model itself tells ({told.by})"
    assert data.strays == {}

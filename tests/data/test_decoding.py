import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageOps

from tfcompress.data.decoding import decode_image, decoded
from tfcompress.errors import UserError


@pytest.fixture(scope="module")
def picture():
    y, x = np.mgrid[:40, :60]
    return Image.fromarray(np.stack([4 * x, 6 * y, 2 * x + 3 * y], -1).clip(0, 255).astype(np.uint8))


def saved(picture, kind, **options):
    content = io.BytesIO()
    picture.save(content, kind, **options)
    return content.getvalue()


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("JPEG", "RGB", {}),
        ("JPEG", "RGB", {"progressive": True, "subsampling": 0}),
        ("JPEG", "L", {}),
        *(("PNG", mode, {}) for mode in ("RGB", "RGBA", "L", "LA", "P", "1")),
    ],
)
def test_ordinary_pictures_have_the_values_of_tensorflow(picture, kind, mode, options):
    content = saved(picture.convert(mode), kind, **options)
    expected = tf.io.decode_image(content, channels=3, expand_animations=False)
    np.testing.assert_array_equal(decoded(content), expected)
    read = tf.data.Dataset.from_tensors(content).map(decode_image)
    assert read.element_spec.shape.as_list() == [None, None, 3]
    np.testing.assert_array_equal(next(read.as_numpy_iterator()), expected)


@pytest.mark.parametrize(
    ("kind", "mode", "options"),
    [
        ("BMP", "RGB", {}),
        ("BMP", "P", {}),
        ("BMP", "1", {}),
        ("GIF", "P", {}),
        ("WEBP", "RGB", {"lossless": True}),
        ("TIFF", "RGB", {}),
        ("TIFF", "RGB", {"compression": "tiff_lzw"}),
        ("TGA", "RGB", {}),
        ("PPM", "RGB", {}),
        ("JPEG2000", "RGB", {"irreversible": False}),
    ],
)
def test_other_formats_keep_every_pixel(picture, kind, mode, options):
    source = picture.convert(mode)
    np.testing.assert_array_equal(decoded(saved(source, kind, **options)), np.asarray(source.convert("RGB")))


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_the_first_picture_of_several_is_taken(picture, kind):
    several = saved(picture, kind, save_all=True, append_images=[Image.new("RGB", picture.size, "white")])
    first = saved(picture, kind)
    assert len(several) > len(first)
    np.testing.assert_allclose(decoded(several).astype(int), decoded(first).astype(int), atol=40)  # WebP loses some


def test_inks_become_the_colours_that_they_print(picture):
    content = saved(picture.convert("CMYK"), "JPEG", quality=100)
    np.testing.assert_allclose(decoded(content).astype(int), np.asarray(picture).astype(int), atol=8)


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_of_sixteen_bits_the_upper_eight_are_kept(kind):
    grey = np.arange(600, dtype=np.uint16).reshape(20, 30) * 109
    portable = b"P5 30 20 65535\n" + grey.astype(">u2").tobytes()  # which Pillow does not write
    found = decoded(portable if kind == "PPM" else saved(Image.fromarray(grey), kind))
    np.testing.assert_array_equal(found, np.repeat(grey[..., None] >> 8, 3, -1))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_turned_as_the_camera_was_held(picture, kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if kind == "WEBP" else {}
    content = saved(picture, kind, exif=exif, **options)
    expected = np.asarray(ImageOps.exif_transpose(Image.open(io.BytesIO(content))).convert("RGB"))
    assert expected.shape == ((40, 60, 3) if orientation < 5 else (60, 40, 3))
    # Pillow and TensorFlow round the colours of a JPEG differently.
    np.testing.assert_allclose(decoded(content).astype(int), expected.astype(int), atol=16 if kind == "JPEG" else 0)


def damaged_avif(picture):
    """A file whose head can be read, and the picture behind it not."""
    content = saved(picture, "AVIF")
    data = content.index(b"mdat") + 4
    return content[:data] + bytes(len(content) - data)


def test_damaged_files_are_refused(picture):
    grey = Image.fromarray(np.zeros((4, 4), np.float32))
    for content, message in [
        (b"no picture", "^cannot be decoded as JPEG, [^(]*; replace or remove it$"),
        (saved(picture, "TIFF")[:900], "cannot be decoded"),
        (saved(picture, "WEBP")[:-90], "cannot be decoded"),
        (damaged_avif(picture), "cannot be decoded as .* \\(Failed to decode frame 0: .*\\); replace or remove it"),
        (saved(grey, "TIFF"), r"\(its grey values have more than 16 bits\)"),
    ]:
        with pytest.raises(UserError, match=message):
            decoded(content)

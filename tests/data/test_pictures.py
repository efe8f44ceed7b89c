import numpy as np
import pytest

from tfcompress.data import pictures


@pytest.mark.parametrize(("height", "width", "cut"), [(16, 16, True), (18, 30, True), (19, 19, False), (15, 16, False)])
def test_the_middle_is_cut_out_of_pictures_of_nearly_the_right_size(height, width, cut):
    picture = np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)
    top, left = (height - 16) // 2, (width - 16) // 2
    middle = picture[top : top + 16, left : left + 16] / np.float32(255)
    expected = middle if cut else pictures.crop_and_resize(picture, 16).numpy()
    np.testing.assert_allclose(pictures.fit(picture, 16), expected, atol=1e-6)


def test_augmentations_keep_shape_and_label():
    image = np.random.default_rng(0).random((8, 8, 3), np.float32)
    for augment in (pictures.random_flip, pictures.random_shift(1)):
        results = [augment(image, 3, (0, number))[0].numpy() for number in range(20)]
        assert {result.shape for result in results} == {(8, 8, 3)}
        assert len({result.tobytes() for result in results}) > 1
        np.testing.assert_array_equal(augment(image, 3, (0, 1))[0], results[1])

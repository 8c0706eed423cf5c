import numpy as np
import pytest
from numpy.typing import NDArray

from endcap.sdk.testing import SampleItem, catalog
from endcap.trainers.content import LABELS
from endcap.trainers.content_kernel import content_factor


def likeness(*items: SampleItem) -> NDArray[np.float32]:
    factor = content_factor(catalog(items, []))
    kernel: NDArray[np.float32] = (factor @ factor.T).toarray()
    return kernel


def test_items_of_equal_texts_and_labels_are_as_alike_as_can_be() -> None:
    kernel = likeness(
        SampleItem("a", title="Red lamp", categories=("lights",)),
        SampleItem("b", title="Red lamp", categories=("lights",)),
    )

    np.testing.assert_allclose(kernel, np.full((2, 2), 1 + LABELS), rtol=1e-5)


def test_a_word_in_few_items_says_more_than_one_in_many() -> None:
    kernel = likeness(
        SampleItem("a", title="red goblet"),
        SampleItem("b", title="blue goblet"),
        SampleItem("c", title="red lamp"),
        SampleItem("d", title="red chair lamp"),
    )

    assert kernel[0, 1] > kernel[0, 2] > 0


def test_an_item_without_texts_and_labels_is_like_none() -> None:
    kernel = likeness(
        SampleItem("a", title="red lamp"), SampleItem("b", title=""), SampleItem("c", title="lamp")
    )

    assert kernel[1].tolist() == [0, 0, 0]


def test_words_of_one_item_alone_are_left_out() -> None:
    """Both have the word lamp; nobody else has chair, so it must not make the first less like the second."""
    kernel = likeness(SampleItem("a", title="lamp chair"), SampleItem("b", title="lamp"))

    assert kernel[0, 1] == pytest.approx(1)

"""The drawn world keeps its promises: same seed same scene, truth for every pixel, words that mean something."""

from functools import cache

import cv2
import numpy as np
import pytest

from lseg_serve.demo.scenes import Scene, draw_scene
from lseg_serve.demo.vocabulary import (
    CLASS_INDEX,
    COLOUR_INDEX,
    COLOURS,
    HELD_OUT_PAIRS,
    LABELS,
    NO_COLOUR,
    UnknownPhraseError,
    hypernyms,
    meaning,
    pairs_present,
    phrase_mask,
    words,
)

SMALL = (128, 96)

# Middle of the hue range of each strongly coloured word, in degrees.
HUES = {"red": 0, "orange": 27, "yellow": 49, "green": 145, "blue": 222, "purple": 281}


@cache
def scene(seed: int) -> Scene:
    return draw_scene(seed, SMALL)


def test_the_same_seed_draws_the_same_scene() -> None:
    first, second = draw_scene(7, (200, 150)), draw_scene(7, (200, 150))
    for name in ("image", "classes", "colours"):
        np.testing.assert_array_equal(getattr(first, name), getattr(second, name))


def test_another_seed_draws_another_scene() -> None:
    assert (scene(1).classes != scene(2).classes).any()


@pytest.mark.parametrize(
    "size",
    [(64, 64), (64, 2000), (2000, 64), (101, 333), (640, 479), (1201, 799)],
    ids=lambda size: f"{size[0]}x{size[1]}",
)
def test_any_size_and_aspect_is_drawn_exactly(size: tuple[int, int]) -> None:
    drawn = draw_scene(11, size)
    assert drawn.image.shape == (size[1], size[0], 3)
    assert drawn.classes.shape == drawn.colours.shape == (size[1], size[0])
    assert {plane.dtype for plane in (drawn.image, drawn.classes, drawn.colours)} == {np.dtype(np.uint8)}


def test_narrow_pictures_find_room_for_what_must_be_shown() -> None:
    for seed in (0, 1, 105):
        for size in ((64, 64), (76, 640), (640, 64)):
            assert draw_scene(seed, size, held_out="only").classes.shape == size[::-1]


@pytest.mark.parametrize("size", [(63, 64), (64, 2001)])
def test_a_size_out_of_bounds_is_refused(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="64 to 2000"):
        draw_scene(0, size)


def test_a_size_is_chosen_where_none_is_given() -> None:
    sizes = {draw_scene(seed).image.shape for seed in range(4)}
    assert len(sizes) == 4


def test_every_pixel_has_a_label_and_only_coloured_labels_have_a_colour() -> None:
    coloured = [index for index, label in enumerate(LABELS) if label.coloured]
    for seed in range(40):
        drawn = scene(seed)
        assert drawn.classes.max() < len(LABELS)
        assert ((drawn.colours < len(COLOURS)) | (drawn.colours == NO_COLOUR)).all()
        np.testing.assert_array_equal(drawn.colours != NO_COLOUR, np.isin(drawn.classes, coloured))


def test_every_label_is_in_enough_scenes_and_seen_well_where_it_is() -> None:
    counts = np.stack([np.bincount(scene(seed).classes.ravel(), minlength=len(LABELS)) for seed in range(150)])
    shares = counts / (SMALL[0] * SMALL[1])
    seen = shares > 0.002
    often = {label.name: float(value) for label, value in zip(LABELS, seen.mean(0), strict=True)}
    assert {name: share for name, share in often.items() if share < 0.08} == {}
    typical = {label.name: float(np.median(shares[seen[:, i], i])) for i, label in enumerate(LABELS)}
    assert {name: share for name, share in typical.items() if share < 0.005} == {}


def test_the_picture_has_the_hue_that_the_truth_says() -> None:
    """Pixels of a coloured thing that are themselves strongly coloured and well lit show the hue of its word."""
    agreeing = total = 0
    for seed in range(150):
        drawn = scene(seed)
        hsv = cv2.cvtColor(drawn.image, cv2.COLOR_RGB2HSV_FULL).astype(np.float32)
        for colour, hue in HUES.items():
            for label in ("car", "bus", "balloon", "umbrella"):
                mask = phrase_mask(f"{colour} {label}", drawn.classes, drawn.colours)
                strong = mask & (hsv[..., 1] > 130) & (hsv[..., 2] > 90)
                off = np.abs((hsv[..., 0][strong] * (360 / 255) - hue + 180) % 360 - 180)
                agreeing, total = agreeing + int((off < 30).sum()), total + off.size
    assert total > 10_000
    assert agreeing / total > 0.88


def test_held_out_pairs_are_never_drawn_for_training() -> None:
    for seed in range(150):
        assert not HELD_OUT_PAIRS & pairs_present(scene(seed).classes, scene(seed).colours).keys()


def test_held_out_scenes_show_a_held_out_pair_clearly() -> None:
    found: set[tuple[str, str]] = set()
    for seed in range(40):
        drawn = draw_scene(seed, SMALL, held_out="only")
        shown = HELD_OUT_PAIRS & pairs_present(drawn.classes, drawn.colours, 0.004).keys()
        assert shown
        found |= shown
    assert found == HELD_OUT_PAIRS


def test_each_half_of_a_held_out_pair_is_trained_in_other_pairs() -> None:
    trained = {(colour, label.name) for label in LABELS for colour in label.colours} - HELD_OUT_PAIRS
    for colour, label in HELD_OUT_PAIRS:
        assert colour in LABELS[CLASS_INDEX[label]].colours
        assert sum(pair[0] == colour for pair in trained) >= 2
        assert sum(pair[1] == label for pair in trained) >= 4


def test_there_are_enough_words() -> None:
    assert len(LABELS) >= 28
    assert all(label.synonyms for label in LABELS)
    assert sum(len(label.colours) >= 6 for label in LABELS) >= 5


def test_no_word_has_two_meanings() -> None:
    names = [label.name for label in LABELS]
    synonyms = [word for label in LABELS for word in label.synonyms]
    assert len(names + synonyms) == len(set(names + synonyms))
    assert not set(names + synonyms) & set(hypernyms())
    assert not set(words()) & set(COLOURS)
    # Nor may a name read as a colour before another name, as "white cloud" would.
    assert not [word for word in words() if word.split()[0] in COLOURS]


def test_a_synonym_names_the_same_pixels() -> None:
    for seed in range(20):
        drawn = scene(seed)
        for label in LABELS:
            expected = drawn.classes == CLASS_INDEX[label.name]
            for word in (label.name, *label.synonyms):
                np.testing.assert_array_equal(phrase_mask(word, drawn.classes, drawn.colours), expected)


def test_a_hypernym_is_the_union_of_its_labels() -> None:
    drawn = scene(3)
    for word in hypernyms():
        union = np.zeros(drawn.classes.shape, dtype=bool)
        for label in LABELS:
            if word in label.hypernyms:
                union |= drawn.classes == CLASS_INDEX[label.name]
        np.testing.assert_array_equal(phrase_mask(word, drawn.classes, drawn.colours), union)


def test_a_coloured_phrase_is_a_part_of_the_plain_one() -> None:
    classes = np.array(
        [[CLASS_INDEX["car"], CLASS_INDEX["car"], CLASS_INDEX["bus"], CLASS_INDEX["sky"]]], dtype=np.uint8
    )
    colours = np.array([[COLOUR_INDEX["red"], COLOUR_INDEX["blue"], COLOUR_INDEX["red"], NO_COLOUR]], dtype=np.uint8)
    masks = {phrase: phrase_mask(phrase, classes, colours)[0].tolist() for phrase in ("car", "red car", "red vehicle")}
    assert masks == {
        "car": [True, True, False, False],
        "red car": [True, False, False, False],
        "red vehicle": [True, False, True, False],
    }


@pytest.mark.parametrize("phrase", ["Car", "  a car ", "the  automobile"])
def test_spelling_around_a_word_does_not_matter(phrase: str) -> None:
    assert meaning(phrase) == meaning("car")


@pytest.mark.parametrize("phrase", ["submarine", "", "red", "red sky", "beige car"])
def test_a_phrase_without_meaning_is_refused(phrase: str) -> None:
    with pytest.raises(UnknownPhraseError):
        meaning(phrase)

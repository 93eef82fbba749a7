"""What is read of a labelling configuration, and which words the model is asked for."""

from __future__ import annotations

import pytest

from lseg_serve.annotation.errors import AnnotationError
from lseg_serve.annotation.label_studio.labelling import read_labelling
from lseg_serve.annotation.label_studio.messages import Task, texts_of
from lseg_serve.annotation.vocabulary import Entry, Vocabulary, entries_in, words_in

BRUSH = """<View>
  <Image name="image" value="$photo"/>
  <TextArea name="words" toName="image" value="$words"/>
  <BrushLabels name="tag" toName="image">
    <Label value="sky" background="blue"/>
    <Label value="vehicle" alias="veh" predicted_values="car, lorry"/>
    <Label value="found" predicted_values="$words"/>
  </BrushLabels>
</View>"""


def _shape(shape: str, labels: str = "Labels", to: str = "image") -> str:
    return (
        f'<View><Image name="image" value="$image"/><{shape} name="shape" toName="image"/>'
        f'<{labels} name="tag" toName="{to}"><Label value="sky"/></{labels}></View>'
    )


def test_labels_aliases_and_words_are_those_of_the_configuration() -> None:
    read = read_labelling(BRUSH)
    assert (read.kind, read.from_name, read.shape_name, read.to_name) == ("brush", "tag", None, "image")
    assert (read.image_field, read.text_areas) == ("photo", ("words",))
    assert [(one.name, one.words, one.field) for one in read.labels] == [
        ("sky", ("sky",), None),
        ("veh", ("car", "lorry"), None),
        ("found", (), "words"),
    ]


@pytest.mark.parametrize(
    ("data", "written", "found"),
    [
        ({}, {}, ()),
        ({"words": "pink balloon, kite"}, {}, ("pink balloon", "kite")),
        ({"words": ["kite", "kite", "a\nb"]}, {}, ("kite", "a", "b")),
        ({"words": "kite"}, {"words": ["sheep"]}, ("sheep",)),  # what was written goes before the data
        ({"words": "kite, car"}, {}, ("kite",)),  # the car stays a vehicle
    ],
)
def test_free_words_come_from_the_task(
    data: dict[str, object], written: dict[str, list[str]], found: tuple[str, ...]
) -> None:
    entries = read_labelling(BRUSH).entries_of(data, written)
    assert entries[:2] == [Entry("sky", ("sky",)), Entry("veh", ("car", "lorry"))]
    assert entries[2:] == [Entry("found", (word,)) for word in found]


@pytest.mark.parametrize("value", [7, {"a": 1}, ["a", 7]])
def test_free_words_are_texts(value: object) -> None:
    with pytest.raises(AnnotationError, match=r"free words in 'words' .* accepted: a text, or a list of texts"):
        read_labelling(BRUSH).entries_of({"words": value}, {})


@pytest.mark.parametrize(
    ("config", "kind", "shape_name"),
    [
        (_shape("Ellipse", "BrushLabels"), "brush", None),
        (_shape("Ellipse", "PolygonLabels"), "polygon", None),
        (_shape("Brush"), "brush", "shape"),
        (_shape("Polygon"), "polygon", "shape"),
    ],
)
def test_shapes_have_labels_of_their_own_or_beside_them(config: str, kind: str, shape_name: str | None) -> None:
    read = read_labelling(config)
    assert (read.kind, read.from_name, read.shape_name) == (kind, "tag", shape_name)


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ("<View></View>", "has no control; accepted: BrushLabels"),
        (_shape("Rectangle", "RectangleLabels"), "has Rectangle, RectangleLabels; accepted"),
        (_shape("Rectangle"), "has Labels, Rectangle; accepted"),
        (_shape("Brush", "BrushLabels", to="text"), "has the toName 'text', which is no Image"),
        (BRUSH.replace("$photo", "http://x/$photo"), "has the value 'http://x/"),
        (BRUSH.replace('value="$photo"', 'valueList="$photos"'), "images of a valueList are not supported"),
        ('<View><Image name="i" value="$i"/><BrushLabels name="t" toName="i" value="$l"/></View>', "has no Label"),
        ("<View>", "is no XML"),
        ("", "is no XML"),
        ("\ud800", "is no XML"),
        ("x" * 1_000_001, "has 1000001 characters"),
        ('<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]><View>&b;</View>', "declares a document type"),
        ("<!doctype a><View/>", "declares a document type"),
    ],
)
def test_a_configuration_without_masks_of_one_image_is_refused_in_words(config: str, message: str) -> None:
    with pytest.raises(AnnotationError) as caught:
        read_labelling(config)
    assert message in str(caught.value)


def test_each_word_has_one_label() -> None:
    entries = [Entry("veh", ("car", "lorry", "car")), Entry("sky", ("sky",)), Entry("veh", ("lorry", "bus"))]
    asked = Vocabulary.of(entries, background=("other", "sky", "other"))
    assert asked.request == [["car", "lorry"], "sky", "bus", "other"]
    assert [(entry.label, entry.note) for entry in asked.entries] == [
        ("veh", "car, lorry"),
        ("sky", ""),
        ("veh", "bus"),
        (None, "other"),
    ]
    with pytest.raises(AnnotationError, match="'car' belongs to two labels, 'a' and 'b'"):
        Vocabulary.of([Entry("a", ("car",)), Entry("b", ("car",))])
    with pytest.raises(AnnotationError, match="no label with a word"):
        Vocabulary.of([Entry("a", ())], background=("other",))


def test_words_are_separated_as_labels_of_a_request_are() -> None:
    assert words_in(" sky,\u200b caf\u0065\u0301 ,sky", "words") == ("sky", "caf\u00e9")
    assert words_in('["building, edifice"]', "words") == ("building, edifice",)
    assert words_in("  ", "words") == ()
    assert words_in("car | lorry, sky", "words") == ("car", "lorry", "sky")
    assert entries_in('["sky", ["car", "lorry"], {"name": "thing", "any": ["box"]}]', "labels") == [
        Entry("sky", ("sky",)),
        Entry("car", ("car", "lorry")),
        Entry("thing", ("box",)),
    ]
    for text, message in (("a,,b", "a word is empty"), ("[1]", "a number"), ("a;b", "holds ';'")):
        with pytest.raises(AnnotationError, match=f"words.*{message}"):
            words_in(text, "words")


def test_what_was_written_last_in_a_text_area_holds() -> None:
    def written(name: str, text: object) -> dict[str, object]:
        return {"type": "textarea", "from_name": name, "value": {"text": text}}

    task = Task(
        annotations=[{"result": [written("words", ["a"]), {"type": "brushlabels"}]}, {"result": None}],
        drafts=[{"result": [written("words", "b"), written("note", ["n"])]}],
    )
    assert texts_of(task, None) == {"words": ["b"], "note": ["n"]}
    assert texts_of(task, {"result": [written("words", ["c", "d"])]}) == {"words": ["c", "d"], "note": ["n"]}


def test_a_long_configuration_is_read_in_little_time() -> None:
    """Controls are matched by name, not each with each: so many pairs would take minutes."""
    many = '<Brush name="b" toName="i"/>' * 16_000 + '<Labels name="l" toName="j"/>' * 16_000
    with pytest.raises(AnnotationError, match="has Brush, Labels"):
        read_labelling(f"<View>{many}</View>")

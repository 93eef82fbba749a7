"""Prompt templates: words in sentences, averaged as CLIP does it, remembered by word and templates."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import torch

from lseg_serve.handler.pipeline import respond
from lseg_serve.handler.responses import ServerInfo
from lseg_serve.labelsets import TemplateError, checked_templates, filled
from lseg_serve.model import LSeg
from lseg_serve.segmenter import Config, ConfigError, InvalidLabelsError, InvalidOptionError, Segmenter
from lseg_serve.segmenter.config import StaticImageSizeParams
from tests.support.pictures import encoded, noise

SIZES = StaticImageSizeParams(hw_ratios=((1, 1),), short_sizes=(32,))
CONFIG = Config(device="cpu", static_image_size_params=SIZES)
SERVER = ServerInfo("lseg", "1.0", "cpu", 1_000_000, timings=False)
TEMPLATES = ["a photo of a {}", "art of the {}.", "itap of a {}."]
LABELS = ["cat", "traffic light"]


@pytest.fixture
def segmenter(small_net: LSeg) -> Segmenter:
    return Segmenter(small_net, config=CONFIG, label_set=("wall", "floor"))


def _clip_ensemble(net: LSeg, word: str, templates: list[str]) -> np.ndarray[Any, Any]:
    """`zeroshot_classifier` of CLIP's notebook, by NumPy in double precision."""
    rows = []
    for template in templates:
        with torch.no_grad():
            row = net.encode_labels([template.format(word)])[0].numpy().astype(np.float64)
        rows.append(row / np.linalg.norm(row))
    mean = np.mean(rows, axis=0)
    return np.asarray(mean / np.linalg.norm(mean))


@pytest.mark.parametrize("templates", [TEMPLATES[:1], TEMPLATES, ["{}", "the {}"]], ids=["one", "three", "bare"])
def test_embeddings_are_those_of_clips_ensemble(segmenter: Segmenter, small_net: LSeg, templates: list[str]) -> None:
    found = segmenter.embed_labels(LABELS, templates)
    expected = np.stack([_clip_ensemble(small_net, word, templates) for word in LABELS])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=0, atol=1e-6)
    assert np.abs(found - segmenter.embed_labels(LABELS)).max() > 1e-3


def test_without_a_template_words_are_encoded_as_they_are(segmenter: Segmenter, small_net: LSeg) -> None:
    with torch.no_grad():
        bare = small_net.encode_labels(LABELS).numpy()
    for template in (None, "{}", ["{}"], " {} ", []):
        np.testing.assert_allclose(segmenter.embed_labels(LABELS, template), bare, rtol=0, atol=1e-6)
    assert segmenter.text_cache.counts.misses == len(LABELS)  # all five are one entry of the cache


def test_the_cache_knows_a_word_in_a_template_from_the_word(segmenter: Segmenter) -> None:
    counts = segmenter.text_cache.counts
    first = segmenter.embed_labels(LABELS, TEMPLATES)
    assert (counts.hits, counts.misses) == (0, 2)
    assert np.array_equal(segmenter.embed_labels(LABELS, TEMPLATES), first)
    assert (counts.hits, counts.misses) == (2, 2)
    segmenter.embed_labels(LABELS, TEMPLATES[:1])
    segmenter.embed_labels(LABELS)
    assert (counts.hits, counts.misses) == (2, 6)
    assert len(segmenter.text_cache) == 6  # of several templates the mean alone is kept
    assert "cat" in segmenter.text_cache


def test_many_words_in_many_templates_are_those_of_each_alone(segmenter: Segmenter) -> None:
    words, templates = [f"word {number}" for number in range(90)], [f"{number} of {{}}" for number in range(7)]
    together = segmenter.embed_labels(words, templates)  # 630 sentences: more than are encoded at once
    for number in (0, 36, 89):
        alone = segmenter.embed_labels([words[number]], tuple(templates))
        np.testing.assert_allclose(together[number : number + 1], alone, rtol=0, atol=1e-6)


def test_a_template_holds_for_every_word_of_a_group(segmenter: Segmenter) -> None:
    image = noise(40, 40, 3)
    sentences = [[f"a photo of a {word}" for word in ("car", "truck")], "a photo of a tree"]
    in_words = segmenter.segment(image, sentences)
    in_template = segmenter.segment(image, [["car", "truck"], "tree"], template=TEMPLATES[0])
    assert in_template.labels == ("car", "tree")
    assert np.array_equal(in_template.mask, in_words.mask)
    torch.testing.assert_close(in_template.scores, in_words.scores, rtol=0, atol=1e-4)


@pytest.mark.parametrize("template", ["a photo of a {}", '["a photo of a {}"]', '["a photo of a {}", "the {}"]'])
def test_a_request_may_name_its_template(segmenter: Segmenter, template: str) -> None:
    row = {"image": encoded(noise(40, 40)), "labels": b"cat,dog", "format": b"npz", "template": template.encode()}
    (answer,) = respond(segmenter, [row], [{}], SERVER)
    assert answer.status == 200, answer.body
    own = json.loads(template) if template.startswith("[") else template
    (same,) = respond(
        segmenter, [{**row, "template": json.dumps([own] if isinstance(own, str) else own)}], [{}], SERVER
    )
    (bare,) = respond(segmenter, [{**row, "template": b"{}"}], [{}], SERVER)
    assert answer.body == same.body != bare.body


def test_a_header_and_json_name_it_as_well(segmenter: Segmenter) -> None:
    image = encoded(noise(40, 40))
    form = {"image": image, "labels": b"cat,dog", "format": b"npz", "template": b"a photo of a {}"}
    headers = {"X-LSeg-Labels": "cat,dog", "X-LSeg-Format": "npz", "X-LSeg-Template": "a photo of a {}"}
    answers = respond(segmenter, [form, {"body": image}], [{}, headers], SERVER)
    assert answers[0].body == answers[1].body
    labels_only = {"labels": ["cat"], "format": "embeddings"}
    plain, in_template = respond(
        segmenter,
        [{"body": labels_only}, {"body": {**labels_only, "template": ["a photo of a {}"]}}],
        [{"Content-Type": "application/json"}] * 2,
        SERVER,
    )
    assert (plain.status, in_template.status) == (200, 200)
    assert plain.body != in_template.body


BAD: dict[str, tuple[object, str]] = {
    "no place": ("a photo", "a template is 'a photo'; accepted: a text with one {} in the place of the word"),
    "two places": ("{} and {}", "a template is '{} and {}'; accepted"),
    "an empty text": ("", "a template is ''; accepted"),
    "a number": ([7], r"a template is a number \(7\); accepted"),
    "twice": (["the {}", "the {}"], "the template 'the {}' is given twice"),
    "unprintable": ("a {}\x07", r"a template is 'a {}\\x07'; accepted"),
    "too long": ("x" * 200 + "{}", "has 202 characters; accepted: up to 200"),
    "too many": ([f"{number} {{}}" for number in range(9)], "9 templates were given; accepted: up to 8"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_template_is_refused_with_400(segmenter: Segmenter, name: str) -> None:
    template, message = BAD[name]
    with pytest.raises(InvalidOptionError, match=message.replace("{}", r"\{\}")) as caught:
        segmenter.segment(noise(40, 40), ["cat"], template=template)  # type: ignore[arg-type]
    assert caught.value.field == "template"
    row = {"image": encoded(noise(40, 40)), "labels": b"cat", "template": json.dumps(template).encode()}
    if isinstance(template, str):
        row["template"] = template.encode()
    (answer,) = respond(segmenter, [row], [{}], SERVER)
    error = json.loads(answer.body)["error"]
    assert (answer.status, error["type"], error["field"]) == (400, "invalid_option", "template")


def test_what_is_no_template_at_all_is_refused(segmenter: Segmenter) -> None:
    for value in (7, {"a": 1}, '["a {}"'):
        body = {"labels": ["cat"], "format": "embeddings", "template": value}
        (answer,) = respond(segmenter, [{"body": body}], [{"Content-Type": "application/json"}], SERVER)
        error = json.loads(answer.body)["error"]
        assert (answer.status, error["type"], error["field"]) == (400, "invalid_option", "template")


def test_a_sentence_that_is_too_long_for_the_text_tower_is_told(segmenter: Segmenter) -> None:
    with pytest.raises(InvalidLabelsError, match=r"label 'a a a .*is too long; accepted: up to \d+ CLIP tokens"):
        segmenter.segment(noise(40, 40), ["cat"], template="a " * 98 + "{}")


def test_the_configuration_may_name_one_for_all(small_net: LSeg) -> None:
    """The label set is encoded in it at warm-up, so that no request waits for that."""
    with torch.no_grad():
        exported = small_net.encode_labels(["wall", "floor"])
    config = CONFIG.replaced(template=TEMPLATES[:2])
    segmenter = Segmenter(small_net, config=config, label_set=("wall", "floor"), label_embeddings=exported)
    segmenter.warm_up()
    before = segmenter.text_cache.counts.misses
    assert before == 2
    found = segmenter.encode_labels(None).embeddings.numpy()
    assert segmenter.text_cache.counts.misses == before
    expected = np.stack([_clip_ensemble(small_net, word, TEMPLATES[:2]) for word in ("wall", "floor")])
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5)
    np.testing.assert_allclose(segmenter.encode_labels(None, "{}").embeddings, exported, rtol=0, atol=1e-6)
    assert np.array_equal(segmenter.embed_labels(["cat"]), segmenter.embed_labels(["cat"], TEMPLATES[:2]))


def test_keys_of_the_configuration_are_checked() -> None:
    def config(**keys: object) -> Config:
        return Config.from_mapping({"lseg": keys})

    assert config().template == ()
    assert config(template="a {}").template == ("a {}",)
    assert config(template=["a {}", "the {}"]).template == ("a {}", "the {}")
    assert config(template="{}").template == ()
    for bad in (7, None, "a photo", ["a {}", "a {}"], ["a {}", 7], {"a": "{}"}):
        with pytest.raises(ConfigError, match=r"lseg\.template is .*; accepted: a text with one \{\}"):
            config(template=bad)
    with pytest.raises(ConfigError, match="max_templates is 0; accepted: a whole number from 1 to 100"):
        config(max_templates=0)


def test_templates_are_filled_in_their_order() -> None:
    assert filled("cat", ("a {}", "{} art")) == ["a cat", "cat art"]
    assert filled("cat", ()) == ["cat"]
    assert filled("{}", ("a {}",)) == ["a {}"]
    assert checked_templates(["{}"]) == ()
    assert checked_templates(["{}", "a {}"]) == ("{}", "a {}")
    with pytest.raises(TemplateError, match="101 templates"):
        checked_templates([f"{number} {{}}" for number in range(101)])

"""Training asks honest questions, learns from them, and goes on after a stop as if there had been none."""

import colorsys
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch

from lseg_serve.demo.batches import Batch, Batches
from lseg_serve.demo.cache import FIRST_TEST_SEED, Shelf, fitted, open_cache, scene_size
from lseg_serve.demo.drawing.paints import PAINTS
from lseg_serve.demo.measure import Confusion, Overlaps
from lseg_serve.demo.preset import ARCHITECTURE, BUCKETS, WINDOW, half_resolution, new_network
from lseg_serve.demo.questions import IGNORED, REST_WORDS, Question, ask
from lseg_serve.demo.repaint import choose_turn, repainted
from lseg_serve.demo.scenes import Scene, draw_scene
from lseg_serve.demo.train import Plan, Round, Trainer, question_loss, run
from lseg_serve.demo.views import OUTSIDE, Showing, through_windows
from lseg_serve.demo.vocabulary import COLOURS, HELD_OUT_PAIRS, LABELS, THING, meaning, pairs_present, phrase_mask
from lseg_serve.demo.weights_file import save_compact
from lseg_serve.model import LSeg, read_checkpoint
from lseg_serve.model.architecture import Architecture

TINY = Architecture(
    patch_size=8,
    width=64,
    depth=4,
    heads=1,
    position_grid=6,
    level_channels=(8, 8, 8, 8),
    features=8,
    embedding=16,
    text_width=64,
    text_depth=1,
    text_heads=1,
)
WHOLE = Showing(scales=(1.0, 1.0), windows=0.0)
WINDOWS = Showing(scales=(0.8, 1.9), windows=1.0)
PLAN = Plan(
    scenes=4, batch_size=2, processes=1, rounds=(Round(5, 3e-3, 2, WINDOWS, coarse=0.5), Round(3, 1e-3, 1, WHOLE))
)


@cache
def scene(seed: int) -> Scene:
    return draw_scene(seed, (96, 72))


@cache
def shelf() -> Shelf:
    """Four small scenes, 96 x 96 px as the network sees them."""
    scenes = [draw_scene(seed, (96, 96)) for seed in range(4)]
    half = [half_resolution(96).numpy()] * 2
    return Shelf(
        np.stack([drawn.image for drawn in scenes]),
        np.stack([drawn.classes[np.ix_(*half)] for drawn in scenes]),
        np.stack([drawn.colours[np.ix_(*half)] for drawn in scenes]),
    )


def questions(count: int) -> Iterator[tuple[Scene, Question]]:
    for seed in range(count):
        drawn = scene(seed % 12)
        yield drawn, ask(np.random.default_rng(seed), drawn.classes, drawn.colours)


def trainer() -> Trainer:
    torch.set_num_threads(1)
    return Trainer(new_network(0, TINY), Batches([shelf()], PLAN.batch_size, PLAN.seed), PLAN)


def test_no_candidate_names_a_held_out_pair() -> None:
    for _, question in questions(600):
        for phrase in set(question.candidates) - set(REST_WORDS):
            meant = meaning(phrase)
            if meant.colour is not None and len(meant.classes) == 1:  # a "white thing" may be many things
                (index,) = meant.classes
                assert (COLOURS[meant.colour], LABELS[index].name) not in HELD_OUT_PAIRS, phrase


def test_training_scenes_hold_no_held_out_pair() -> None:
    for seed in range(12):
        assert not HELD_OUT_PAIRS & pairs_present(scene(seed).classes, scene(seed).colours).keys()


def test_every_answered_pixel_is_what_its_label_says() -> None:
    for drawn, question in questions(300):
        for index, phrase in enumerate(question.candidates):
            answered = question.answers == index
            if phrase not in REST_WORDS:
                assert phrase_mask(phrase, drawn.classes, drawn.colours)[answered].all(), phrase


def test_the_rest_is_what_no_other_candidate_names() -> None:
    for drawn, question in questions(300):
        named = [phrase for phrase in question.candidates if phrase not in REST_WORDS]
        masks = [phrase_mask(phrase, drawn.classes, drawn.colours) for phrase in named]
        rest = [index for index, phrase in enumerate(question.candidates) if phrase in REST_WORDS]
        unanswered = np.isin(question.answers, [*rest, IGNORED])
        assert not (np.any(masks, axis=0) & unanswered).any()


def test_a_pixel_has_one_right_answer_unless_a_colour_word_is_more_exact() -> None:
    for drawn, question in questions(300):
        plain = [
            phrase for phrase in question.candidates if phrase not in REST_WORDS and meaning(phrase).colour is None
        ]
        coloured = [phrase for phrase in question.candidates if phrase not in (*REST_WORDS, *plain)]
        for group in (plain, coloured):
            masks = [phrase_mask(phrase, drawn.classes, drawn.colours) for phrase in group]
            assert np.sum(masks, axis=0, dtype=int).max(initial=0) <= 1


def test_questions_have_from_two_to_more_than_all_labels_each_once() -> None:
    counts = [len(question.candidates) for _, question in questions(300)]
    assert min(counts) == 2
    assert max(counts) > len(LABELS)
    assert all(len(set(question.candidates)) == len(question.candidates) for _, question in questions(300))


def test_every_kind_of_word_is_asked_for() -> None:
    asked = {phrase for _, question in questions(600) for phrase in question.candidates}
    names = {label.name for label in LABELS} | {word for label in LABELS for word in label.synonyms}
    assert names | set(REST_WORDS) <= asked
    assert {"vehicle", "animal", "plant", "building", "red car", "blue boat"} <= asked


def test_the_truth_is_taken_where_the_scores_lie() -> None:
    bucket = BUCKETS[0]
    drawn = draw_scene(3, (bucket.width, bucket.height))
    _, classes, _ = fitted(drawn, bucket)
    last = bucket.height - 1
    assert classes.shape == (bucket.height // 2, bucket.width // 2)
    np.testing.assert_array_equal(
        classes[[0, -1]][:, [0, -1]], drawn.classes[[0, last]][:, [0, bucket.width - 1]]
    )  # aligned corners


def test_a_step_has_the_same_batch_every_time_and_another_has_another() -> None:
    batches = Batches([shelf()], 2, seed=0)
    first, again, other = (
        batches(5, coarse=False, showing=WHOLE),
        batches(5, coarse=False, showing=WHOLE),
        batches(6, coarse=False, showing=WHOLE),
    )
    assert first.phrases == again.phrases
    assert torch.equal(first.pixels, again.pixels)
    assert torch.equal(first.answers, again.answers)
    assert not torch.equal(first.pixels, other.pixels)


def test_the_coarse_stage_shows_the_same_scenes_smaller() -> None:
    batch = Batches([shelf()], 2, seed=0)(0, coarse=True, showing=WHOLE)
    assert batch.pixels.shape == (2, 3, 64, 64)
    assert batch.answers.shape == (2, 32, 32)
    assert batch.pixels.abs().max() <= 1


def test_the_loss_is_cross_entropy_of_pixel_times_text_over_the_temperature() -> None:
    net = new_network(1, TINY).eval()
    batch = Batches([shelf()], 2, seed=0)(0, coarse=False, showing=WHOLE)
    assert question_loss(net, batch).item() == pytest.approx(_plain_loss(net, batch), rel=1e-4)


def _plain_loss(net: LSeg, batch: Batch) -> float:
    losses = []
    with torch.no_grad():
        pixels = net.pixel_embeddings(batch.pixels).double()
        for image, choice, answers in zip(pixels, batch.choices, batch.answers, strict=True):
            text = net.encode_labels([batch.phrases[row] for row in choice.tolist()]).double()
            logits = (image.flatten(1).T @ text.T) / 0.07
            asked = answers.flatten() != IGNORED
            right = logits.log_softmax(dim=1)[asked, answers.flatten()[asked]]
            losses.append(-right.mean().item())
    return float(np.mean(losses))


def test_a_few_steps_reduce_the_loss_of_a_batch() -> None:
    learner = trainer()
    batch = learner.batches(0, coarse=True, showing=WHOLE)
    optimizer = torch.optim.AdamW(learner.net.parameters(), lr=3e-3)
    losses = []
    for _ in range(25):
        optimizer.zero_grad()
        loss = question_loss(learner.net, batch)
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert losses[-1] < 0.7 * losses[0]


def test_resuming_gives_the_weights_of_an_uninterrupted_run(tmp_path: Path) -> None:
    whole, before, after = trainer(), trainer(), trainer()
    for _ in range(6):
        whole.advance()
    for _ in range(3):
        before.advance()
    before.save(tmp_path / "state.pt")
    after.resume(tmp_path / "state.pt")
    for _ in range(3):
        after.advance()
    for name, value in whole.net.state_dict().items():
        assert torch.equal(value, after.net.state_dict()[name]), name


def test_a_state_of_another_plan_is_refused(tmp_path: Path) -> None:
    first = trainer()
    first.save(tmp_path / "state.pt")
    other = Trainer(new_network(0, TINY), first.batches, Plan(scenes=4, batch_size=3), "cpu")
    with pytest.raises(ValueError, match="another plan"):
        other.resume(tmp_path / "state.pt")


def test_the_learning_rate_of_a_round_warms_up_and_fades() -> None:
    one = Round(1000, 1e-3, 100, WHOLE)
    rates = [one.rate(step) for step in range(1000)]
    assert rates[0] == pytest.approx(1e-5)
    assert max(rates) == pytest.approx(1e-3)
    assert np.argmax(rates) in (99, 100)
    assert rates[-1] == pytest.approx(1e-5, rel=1e-2)


def test_rounds_follow_each_other() -> None:
    assert PLAN.steps == 8
    assert [PLAN.at(step) for step in (0, 4)] == [(PLAN.rounds[0], 0), (PLAN.rounds[0], 4)]
    assert [PLAN.at(step) for step in (5, 7)] == [(PLAN.rounds[1], 0), (PLAN.rounds[1], 2)]
    with pytest.raises(ValueError, match="step 8 lies beyond"):
        PLAN.at(8)


def test_branches_go_on_from_the_rounds_and_the_weights_are_the_mean_of_all_ends(tmp_path: Path) -> None:
    torch.set_num_threads(1)
    still, moving = (Round(1, rate, 1, WHOLE, coarse=1.0) for rate in (0.0, 1e-2))
    plan = Plan(scenes=6, batch_size=1, processes=1, rounds=(moving,), branches=(moving, still))
    written = tmp_path / "weights.safetensors"
    run(0, plan, tmp_path, written, "cpu")
    ends = [torch.load(tmp_path / name)["net"] for name in ("state.pt", "branch1.pt", "branch2.pt")]
    for name, _ in new_network(0).named_parameters():
        assert torch.equal(ends[0][name], ends[2][name]), "a branch that learns nothing ends where it began"
    assert not torch.equal(ends[0]["text_encoder.text_projection"], ends[1]["text_encoder.text_projection"])
    for name, value in LSeg.from_tensors(read_checkpoint(written)).state_dict().items():
        if value.is_floating_point():
            mean = sum(end[name] for end in ends) / 3
            torch.testing.assert_close(value, mean, rtol=1e-3, atol=1e-6 if value.ndim < 2 else 1e-4)
    before = written.read_bytes()
    run(0, plan, tmp_path, written, "cpu")
    assert written.read_bytes() == before, "what is saved is not trained again"


@pytest.mark.parametrize("scale", [0.5, 1.0, 2.0])
def test_a_window_shows_a_part_of_the_scene_with_its_truth(scale: float) -> None:
    """A scene whose colour says where it is, and whose classes say it again, as the network's scores lie."""
    side = 192
    ramp = np.arange(side, dtype=np.uint8)
    image = np.stack([np.tile(ramp, (side, 1)), np.tile(ramp[:, None], (1, side)), np.full((side, side), 200)], axis=2)
    kept = ramp[half_resolution(side).numpy()]
    across, down = np.tile(kept, (side // 2, 1))[None], np.tile(kept[:, None], (1, side // 2))[None]
    for seed in range(5):
        rng = np.random.default_rng(seed)
        view = through_windows(image[None].astype(np.uint8), across, down, rng, coarse=False, scales=(scale, scale))
        assert view.pixels.shape == (1, 3, WINDOW, WINDOW)
        at_scores = view.pixels[0][:, half_resolution(WINDOW)][:, :, half_resolution(WINDOW)]
        shown = (at_scores + 1) * 127.5
        inside = shown[2].numpy() > 150
        np.testing.assert_array_equal(view.classes[0] != OUTSIDE, inside)
        assert inside.all() == (scale == 1.0) or scale == 2.0
        for channel, truth in ((0, view.classes), (1, view.colours)):
            assert np.abs(shown[channel].numpy() - truth[0])[inside].max() <= 3


def test_nothing_is_asked_beyond_the_scene() -> None:
    drawn = scene(0)
    classes, colours = drawn.classes.copy(), drawn.colours.copy()
    classes[:, 20:], colours[:, 20:] = OUTSIDE, OUTSIDE
    for seed in range(100):
        question = ask(np.random.default_rng(seed), classes, colours)
        assert (question.answers[:, 20:] == IGNORED).all()
        assert not (question.answers[:, :20] == IGNORED).all()


def _is_grey(pixels: torch.Tensor) -> bool:
    return bool((pixels.amax(dim=0) - pixels.amin(dim=0)).max() < 1e-5)


@pytest.mark.parametrize("showing", [replace(WHOLE, grey=1.0), replace(WHOLE, turned=1.0)], ids=["grey", "turned"])
def test_scenes_without_their_colours_come_without_colour_words(showing: Showing) -> None:
    batches = Batches([shelf()], 2, seed=0)
    for step in range(20):
        plain = batches(step, coarse=False, showing=WHOLE)
        batch = batches(step, coarse=False, showing=showing)
        assert [_is_grey(pixels) for pixels in batch.pixels] == [showing.grey == 1] * 2
        assert (plain.pixels - batch.pixels).abs().flatten(1).amax(dim=1).min() > 1e-4
        assert not any(word in COLOURS for phrase in batch.phrases for word in phrase.split())


def test_grey_and_turned_scenes_come_in_their_shares() -> None:
    batches, kinds = Batches([shelf()], 2, seed=0), Counter[str]()
    for step in range(100):
        plain = batches(step, coarse=True, showing=WHOLE).pixels
        batch = batches(step, coarse=True, showing=replace(WHOLE, grey=0.25, turned=0.25)).pixels
        for before, after in zip(plain, batch, strict=True):
            same = any(float((before - one).abs().max()) < 1e-5 for one in (after, after.flip(2)))
            kinds["grey" if _is_grey(after) else "drawn" if same else "turned"] += 1
    assert 30 < kinds["grey"] < 70
    assert 30 < kinds["turned"] < 70
    assert kinds["drawn"] > 70


def test_a_turn_changes_the_hue_and_keeps_the_brightness() -> None:
    muted = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(0)) * 0.4 - 0.2  # nothing is cut off
    turned = repainted(muted, torch.tensor([1.0]), torch.ones(1))[0].flatten(1).T
    for before, after in zip(muted[0].flatten(1).T.tolist(), turned.tolist(), strict=True):
        (y0, i0, q0), (y1, i1, q1) = colorsys.rgb_to_yiq(*before), colorsys.rgb_to_yiq(*after)
        assert y1 == pytest.approx(y0, abs=0.01)
        assert (i1, q1) != pytest.approx((i0, q0), abs=1e-3)


def test_no_turn_shows_a_pair_that_is_held_out() -> None:
    """By the hue of colour wheels, which is another measure than the one that turns are chosen by."""
    rng, turns = np.random.default_rng(0), 0
    for colour, label in [(colour, one.name) for one in LABELS for colour in one.colours]:
        if (colour, label) in HELD_OUT_PAIRS or colour in ("white", "black"):
            continue
        for kept in [kept for kept, name in HELD_OUT_PAIRS if name == label and kept != "white"]:
            for _ in range(20):
                turn = choose_turn(rng, [(colour, label)])
                assert turn != 0.0
                pixel = torch.tensor(PAINTS[colour][0]).view(1, 3, 1, 1) * 2 - 1
                painted = repainted(pixel, torch.tensor([turn]), torch.ones(1)).flatten() / 2 + 0.5
                apart = colorsys.rgb_to_hsv(*painted.tolist())[0] - colorsys.rgb_to_hsv(*PAINTS[kept][0])[0]
                assert abs((apart + 0.5) % 1 - 0.5) > 18 / 360, (colour, label, turn)
                turns += 1
    assert turns > 300


def test_colours_are_asked_for_apart_from_what_carries_them() -> None:
    asked = 0
    for drawn, question in questions(200):
        for phrase in question.candidates:
            if phrase.endswith(f" {THING}"):
                expected = phrase_mask(phrase, drawn.classes, drawn.colours)
                given = question.answers == question.candidates.index(phrase)
                np.testing.assert_array_equal(given, expected)
                asked += 1
    assert asked > 50


def test_written_weights_load_as_the_same_network(tmp_path: Path) -> None:
    net = new_network(0, TINY).eval()
    size = save_compact(net, tmp_path / "weights.safetensors")
    loaded = LSeg.from_checkpoint(tmp_path / "weights.safetensors")
    assert loaded.architecture == TINY
    assert size == (tmp_path / "weights.safetensors").stat().st_size
    pixels = torch.from_numpy(shelf().images[:1]).permute(0, 3, 1, 2) / 127.5 - 1
    expected, given = (each.logits(pixels, ["sky", "red car"]) for each in (net, loaded))
    assert (expected - given).abs().max() < 0.05


def test_the_preset_has_heads_of_64_channels() -> None:
    assert ARCHITECTURE.width // ARCHITECTURE.heads == 64
    assert ARCHITECTURE.text_width // ARCHITECTURE.text_heads == 64


def test_sizes_vary_and_training_stays_below_the_test_seeds(tmp_path: Path) -> None:
    sizes = np.array([scene_size(seed) for seed in range(300)])
    assert sizes.min() < 90
    assert sizes.max() > 700
    with pytest.raises(ValueError, match="test seeds"):
        open_cache(tmp_path, FIRST_TEST_SEED + 1)


def test_iou_counts_over_all_pictures() -> None:
    confusion, overlaps = Confusion(3), Overlaps()
    truth, given = np.array([[0, 0, 1, 1]], dtype=np.uint8), np.array([[0, 1, 1, 1]], dtype=np.uint8)
    for _ in range(2):
        confusion.add(truth, given)
        overlaps.add("one", truth == 1, given == 1)
    np.testing.assert_allclose(confusion.iou(), [1 / 2, 2 / 3, np.nan])
    assert confusion.accuracy() == pytest.approx(3 / 4)
    assert overlaps.iou() == {"one": pytest.approx(2 / 3)}

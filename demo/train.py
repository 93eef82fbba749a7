"""Trains the demo's LSeg on drawn scenes: `python -m demo.train`. A stopped training resumes at its last save."""

from __future__ import annotations

import argparse
import copy
import logging
import math
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from tqdm import tqdm

from lseg_serve.demo.batches import Batch, Batches
from lseg_serve.demo.cache import open_cache
from lseg_serve.demo.parallel import average_gradients, average_statistics, launch, own_rank, process_count
from lseg_serve.demo.preset import new_network
from lseg_serve.demo.questions import IGNORED
from lseg_serve.demo.views import Showing
from lseg_serve.demo.weights_file import WEIGHTS, save_compact
from lseg_serve.model import LSeg
from lseg_serve.model.text_encoder import tokenize

_LOG = logging.getLogger(__name__)
_REPORT_STEPS, _SAVE_STEPS = 50, 100


@dataclass(frozen=True)
class Round:
    """Steps under one course of the learning rate: linear warm-up, then half a cosine down to 1 % of its peak."""

    steps: int
    learning_rate: float
    warm_up: int
    showing: Showing
    # Share of the steps at two thirds of the size. Such a step costs less than half and teaches as much.
    coarse: float = 0.0

    def rate(self, step: int) -> float:
        """The learning rate at a step of this round."""
        if step < self.warm_up:
            return self.learning_rate * (step + 1) / self.warm_up
        progress = (step - self.warm_up) / max(1, self.steps - self.warm_up)
        return self.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, progress))))


# In the second round windows keep to the scales that accurate mode uses, and some scenes are grey, so that a thing is
# known by its form: without them a white flower, never seen in training, was taken for a fence, as fences often are
# white. A third round with more questions about colours did not help.
ROUNDS = (
    Round(3300, 1.5e-3, 200, Showing(scales=(0.8, 1.9)), coarse=0.75),
    Round(1000, 7e-4, 25, Showing(scales=(0.95, 1.6), grey=0.3)),
)
# Each goes on from the end of the rounds by itself, and the weights are the mean of all ends. Grey helps some pairs
# that were never seen and harms others, and so do other hues; the mean is better than every single end.
BRANCHES = (
    Round(350, 5e-4, 25, Showing(scales=(0.95, 1.6), grey=0.45)),
    Round(350, 5e-4, 25, Showing(scales=(0.95, 1.6), turned=0.35)),
)


@dataclass(frozen=True)
class Plan:
    """Everything that decides what the trained weights are."""

    scenes: int = 9000
    batch_size: int = 8
    processes: int = 2  # each takes its share of a batch, so their number shows in the weights
    weight_decay: float = 0.05
    clip: float = 1.0
    seed: int = 0
    rounds: tuple[Round, ...] = ROUNDS
    branches: tuple[Round, ...] = BRANCHES

    @property
    def steps(self) -> int:
        """Of all rounds; those of the branches come on top."""
        return sum(one.steps for one in self.rounds)

    def branch(self, number: int) -> Plan:
        """The plan of one branch by itself, with batches of its own."""
        return replace(self, rounds=(self.branches[number],), branches=(), seed=self.seed + 11 + number)

    def at(self, step: int) -> tuple[Round, int]:
        """The round that `step` falls into, and which of its steps it is."""
        own = step
        for one in self.rounds:
            if own < one.steps:
                return one, own
            own -= one.steps
        raise ValueError(f"step {step} lies beyond the last round")


class Trainer:
    """A network, its optimizer and the step they are at."""

    def __init__(self, net: LSeg, batches: Batches, plan: Plan, device: str = "cpu") -> None:
        self.net, self.batches, self.plan, self.device = net.to(device), batches, plan, device
        self.optimizer = torch.optim.AdamW(_groups(net, plan.weight_decay), lr=0, betas=(0.9, 0.98), fused=True)
        self.step = 0

    def advance(self) -> float:
        """One step of training; returns its loss."""
        current, step = self.plan.at(self.step)
        batch = self.batches(self.step, coarse=step < current.coarse * current.steps, showing=current.showing)
        for group in self.optimizer.param_groups:
            group["lr"] = current.rate(step)
        self.optimizer.zero_grad(set_to_none=True)
        loss = question_loss(self.net, batch, self.device)
        loss.backward()
        average_gradients(self.net)
        nn.utils.clip_grad_norm_(self.net.parameters(), self.plan.clip)
        self.optimizer.step()
        self.step += 1
        return loss.item()

    def save(self, path: Path) -> None:
        """Write the whole state, so that a kill in between leaves the one before in place."""
        average_statistics(self.net)
        if own_rank() != 0:
            return
        state = {
            "net": self.net.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "plan": asdict(self.plan),
        }
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.save(state, path.with_suffix(".part"))
        path.with_suffix(".part").replace(path)

    def resume(self, path: Path) -> None:
        """Go on from a saved state. Batches and rates follow from the step alone, so no random state is needed.

        Raises:
            ValueError: the state was saved under another plan.
        """
        state = torch.load(path, map_location=self.device, weights_only=True)
        if state["plan"] != asdict(self.plan):
            raise ValueError(f"{path} was saved under another plan ({state['plan']}); remove it to start anew")
        self.net.load_state_dict(state["net"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.step = state["step"]


def _groups(net: LSeg, weight_decay: float) -> list[dict[str, object]]:
    """Decay for matrices and kernels alone: not for embeddings, of which a batch uses a few rows, nor for vectors."""
    decayed: list[nn.Parameter] = []
    free: list[nn.Parameter] = []
    for name, parameter in net.named_parameters():
        (free if parameter.ndim < 2 or name.endswith(_UNDECAYED) else decayed).append(parameter)
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": free, "weight_decay": 0.0}]


_UNDECAYED = ("token_embedding.weight", "positional_embedding", "pos_embed", "cls_token")


def question_loss(net: LSeg, batch: Batch, device: str = "cpu") -> Tensor:
    """The paper's loss: cross-entropy over each scene's own candidates, the mean over the scenes."""
    text = net.encode_tokens(torch.stack([_tokens(phrase) for phrase in batch.phrases]))
    # Split, not indexed: going back through an index fills a map as large as the whole batch for each scene.
    scenes = net.pixel_embeddings(batch.pixels.to(device)).split(1)
    losses = []
    for pixels, choice, answers in zip(scenes, batch.choices, batch.answers.to(device).split(1), strict=True):
        # A scene whose every pixel goes unasked would divide by zero.
        if (answers != IGNORED).any():
            scores = net.scores(pixels, text[choice.to(device)])
            losses.append(F.cross_entropy(scores, answers, ignore_index=IGNORED))
    return torch.stack(losses).mean()


_LONGEST = 12  # tokens of the longest phrase of the drawn world, with room to spare


@cache
def _tokens(phrase: str) -> Tensor:
    """The tokens of a phrase: int64 [_LONGEST]; zeros after the end token change nothing."""
    tokens = tokenize([phrase])[0]
    return F.pad(tokens, (0, _LONGEST - len(tokens)))


def train(trainer: Trainer, state: Path) -> None:
    """Run the rest of the plan, with the state saved now and then and at the end."""
    steps = range(trainer.step, trainer.plan.steps)
    progress = tqdm(steps, initial=trainer.step, total=trainer.plan.steps, mininterval=10, disable=own_rank() != 0)
    recent: deque[float] = deque(maxlen=_REPORT_STEPS)
    for _ in progress:
        recent.append(trainer.advance())
        mean = sum(recent) / len(recent)
        progress.set_postfix(loss=f"{mean:.3f}", refresh=False)
        if trainer.step % _REPORT_STEPS == 0:
            _LOG.info("step %d loss %.4f", trainer.step, mean)
        if trainer.step % _SAVE_STEPS == 0:
            trainer.save(state)
    trainer.save(state)


def run(rank: int, plan: Plan, folder: Path, weights: Path, device: str) -> None:
    """The whole plan in the process `rank` of all that train together."""
    logging.basicConfig(level=logging.WARNING if rank else logging.INFO, format="%(asctime)s %(message)s")
    trunk = trained(new_network(plan.seed), plan, folder, "state.pt", device)
    ends = [trunk]
    for number in range(len(plan.branches)):
        ends.append(trained(copy.deepcopy(trunk), plan.branch(number), folder, f"branch{number + 1}.pt", device))
    if rank == 0:
        _LOG.info("%d bytes written to %s", save_compact(mean_of(ends).cpu(), weights), weights)


def trained(net: LSeg, plan: Plan, folder: Path, state: str, device: str) -> LSeg:
    """`net` after the rounds of `plan`, or what its saved `state` in `folder` leaves of them."""
    batches = Batches(
        open_cache(folder / "scenes", plan.scenes), plan.batch_size, plan.seed, own_rank(), process_count()
    )
    trainer = Trainer(net, batches, plan, device)
    if (folder / state).exists():
        trainer.resume(folder / state)
    train(trainer, folder / state)
    return trainer.net


def mean_of(nets: Sequence[LSeg]) -> LSeg:
    """A network whose every weight and statistic is the mean of theirs."""
    mean = copy.deepcopy(nets[0])
    states = [net.state_dict() for net in nets]
    for name, tensor in mean.state_dict().items():
        if tensor.is_floating_point():
            tensor.copy_(torch.stack([state[name] for state in states]).mean(dim=0))
    return mean


def main() -> None:
    """The command line."""
    plan = Plan()
    parser = argparse.ArgumentParser(description="Train the demo's LSeg on drawn scenes.")
    parser.add_argument("--folder", type=Path, default=Path("build/demo"), help="drawn scenes and the saved state")
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="where the trained weights go")
    parser.add_argument("--scenes", type=int, default=plan.scenes)
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    options = parser.parse_args()
    processes = plan.processes if options.device == "cpu" else 1
    plan = replace(plan, scenes=options.scenes, processes=processes)
    open_cache(options.folder / "scenes", plan.scenes)  # once, before the processes share it
    launch(run, processes, options.folder, plan, options.folder, options.weights, options.device)


if __name__ == "__main__":
    main()

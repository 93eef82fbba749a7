"""How long a fleet of workers takes for a lake of images, simulated: shards from one queue, slow workers, lost workers.

    python -m bench.fleet --images 100000000 --workers 1000 --seconds 0.06

Each worker takes the next shard when it is free, as `lseg batch run --ray` gives them out. A worker that is lost takes
its shard's work with it, which goes to the end of the queue, and comes back after its start. Speeds differ.
"""

from __future__ import annotations

import argparse
import heapq
import random
from collections import deque
from dataclasses import dataclass

_DAY = 86_400.0


@dataclass(frozen=True)
class Fleet:
    """What is simulated. Times are in seconds."""

    images: int
    workers: int
    seconds: float  # for one image on one worker
    shard: int = 1000  # images
    start: float = 60.0  # until a worker is ready: model, warm-up
    overhead: float = 0.5  # of a shard: its row of the manifest, its tables
    lost_a_day: float = 0.01  # of the workers
    spread: float = 0.1  # standard deviation of the workers' speeds
    slow: float = 0.01  # of the workers have half the speed


@dataclass(frozen=True)
class Forecast:
    """What came of it."""

    seconds: float  # until the last shard is done
    ideal: float  # if nothing but the images took time, and all workers ended together
    lost: int  # workers
    repeated: float  # share of the images that were computed and lost
    tail: float  # seconds from the first worker without work to the end

    @property
    def efficiency(self) -> float:
        """The ideal time as a share of the simulated one."""
        return self.ideal / self.seconds


def simulate(fleet: Fleet, seed: int = 0) -> Forecast:
    """Run the queue dry. The same seed gives the same forecast."""
    rng = random.Random(seed)
    full, rest = divmod(fleet.images, fleet.shard)
    queue = deque([fleet.shard] * full + ([rest] if rest else []))
    factors = [
        max(0.5, rng.gauss(1, fleet.spread)) * (2 if rng.random() < fleet.slow else 1) for _ in range(fleet.workers)
    ]
    rate = fleet.lost_a_day / _DAY
    events = [(fleet.start, number, 0) for number in range(fleet.workers)]  # when free, who, images to put back
    heapq.heapify(events)
    end, first_idle, lost, repeated = 0.0, None, 0, 0.0
    while events:
        now, worker, back = heapq.heappop(events)
        if back:
            queue.append(back)
            now += fleet.start
        if not queue:
            first_idle = now if first_idle is None else first_idle
            continue
        images = queue.popleft()
        takes = fleet.overhead + images * fleet.seconds * factors[worker]
        dies = rng.expovariate(rate) if rate else takes
        if dies < takes:
            lost, repeated = lost + 1, repeated + images * dies / takes
            heapq.heappush(events, (now + dies, worker, images))
        else:
            end = max(end, now + takes)
            heapq.heappush(events, (now + takes, worker, 0))
    ideal = fleet.images * fleet.seconds / fleet.workers
    return Forecast(end, ideal, lost, repeated / fleet.images, max(0.0, end - (first_idle or end)))


def main(arguments: list[str] | None = None) -> int:
    """Print a forecast for each size of shard, as rows of a Markdown table."""
    parser = argparse.ArgumentParser(prog="python -m bench.fleet", description="Simulate a fleet of workers.")
    parser.add_argument("--images", type=int, default=1_000_000)
    parser.add_argument("--workers", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=0.06, help="for one image (default: %(default)s)")
    parser.add_argument("--start", type=float, default=60.0, help="seconds of a worker (default: %(default)s)")
    parser.add_argument("--shards", type=int, nargs="+", default=[100, 1000, 10_000], help="images of a shard")
    read = parser.parse_args(arguments)
    if min(read.images, read.workers, *read.shards) < 1 or read.seconds <= 0 or read.start < 0:
        parser.error("images, workers, shards and seconds are above 0; accepted for the start: 0 or more")
    print("| images | workers | shard | hours | of the ideal | lost workers | repeated | tail, min |")
    print("|---|---|---|---|---|---|---|---|")
    for shard in read.shards:
        found = simulate(Fleet(read.images, read.workers, read.seconds, shard, read.start))
        print(
            f"| {read.images:,} | {read.workers:,} | {shard:,} | {found.seconds / 3600:.2f} | {found.efficiency:.1%} | "
            f"{found.lost} | {found.repeated:.3%} | {found.tail / 60:.1f} |"
        )
    return 0


if __name__ == "__main__":
    raise SystemExit(main())

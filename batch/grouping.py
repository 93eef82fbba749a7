"""Which images share a shard: those of one image bucket, where their sizes are known."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator

from lseg_serve.batch.listing import Entry
from lseg_serve.segmenter import Bucket, StaticImageSizeParams, choose_bucket, make_buckets


def in_shards(entries: Iterable[Entry], images: int) -> Iterator[list[Entry]]:
    """`entries` in groups of `images`, each of one default bucket; the last groups hold what is left of all buckets.

    Images whose size is not known form a group of their own. As many entries are held as `images` times the number of
    buckets.
    """
    buckets = make_buckets(StaticImageSizeParams())
    bucket_of = functools.lru_cache(maxsize=4096)(functools.partial(choose_bucket, buckets))
    waiting: dict[Bucket | None, list[Entry]] = {}
    for entry in entries:
        bucket = bucket_of(entry.height, entry.width) if entry.width and entry.height else None
        group = waiting.setdefault(bucket, [])
        group.append(entry)
        if len(group) == images:
            yield waiting.pop(bucket)
    left = [entry for bucket in sorted(waiting, key=str) for entry in waiting[bucket]]
    for start in range(0, len(left), images):
        yield left[start : start + images]

"""Many images, once: a manifest in shards, each shard through a `Segmenter`, its results as one Parquet file.

    manifest.py   what is to be done, from `listing.py` (folders, object stores) and `tables.py` (a Parquet of images)
    shard.py      one shard, by `pipeline.py` with `decoding.py` beside the network
    output.py     what is done, and by which model and options; `attempts.py`: what ended the process
    summary.py    status, merge and retry of an output
    cluster.py    shards over the machines of a Ray cluster

It needs the extra `batch` (pyarrow, fsspec), and a cluster the extra `ray`. Nothing that serves imports it.
"""

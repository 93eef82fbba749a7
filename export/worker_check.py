"""A script for a fresh process: it loads an unpacked archive as a worker would, and writes its logits and time.

The archive's folder must come first on the path, so that the archive's own code runs.

Usage: worker_check.py ARCHIVE_FOLDER INPUT.safetensors OUTPUT.safetensors
"""

import sys
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from lseg_serve import model, segmenter
from lseg_serve.handler import pipeline
from lseg_serve.labelsets import words_of
from lseg_serve.model.fusion import upsample
from lseg_serve.segmenter import CONFIG_FILE, Config, Segmenter


def main(folder: Path, inputs: Path, outputs: Path) -> None:
    """Logits of the archive for the pixels in `inputs` and the first labels of its own set."""
    for package in (model, segmenter, pipeline):
        if folder not in Path(str(package.__file__)).parents:
            sys.exit(f"the archive lacks the code of {package.__name__}")
    config = Config.from_file(folder / CONFIG_FILE).replaced(device="cpu")
    loaded = Segmenter.load(folder, config)
    given = load_file(inputs)
    words = [word for label in loaded.label_set for word in words_of(label)]
    text = loaded.text_cache.embeddings(words[: int(given["label_count"])])
    (scores,) = loaded.network.scores(list(given["pixels"]), [text], 1)
    height, width = given["pixels"].shape[-2:]
    with torch.no_grad():
        seconds = torch.tensor([_seconds(loaded, given["pixels"]) for _ in range(3)]).min()
    save_file({"logits": upsample(scores[None], (height, width)), "seconds": seconds}, outputs)


def _seconds(loaded: Segmenter, pixels: Tensor) -> float:
    start = time.perf_counter()
    loaded.net.image_features(pixels)
    return time.perf_counter() - start


if __name__ == "__main__":
    main(*(Path(argument).resolve() for argument in sys.argv[1:4]))

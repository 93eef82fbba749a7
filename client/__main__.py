"""The command `python -m client`: send one photo to a running server, write its mask, print its legend."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from lseg_serve.client.errors import ClientError
from lseg_serve.client.lseg_client import LSegClient
from lseg_serve.client.printable import printable
from lseg_serve.labelsets import LabelTextError, label_of, split_labels


def main() -> int:
    """Segment one image as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m client", description="Segment a photo with a running server.")
    parser.add_argument("image", help="a file, or a URL")
    parser.add_argument(
        "--labels", help="separated by commas, synonyms by |; or a JSON list (default: the label set of the model)"
    )
    parser.add_argument("--mode", choices=("fast", "accurate"), help="(default: the server's)")
    parser.add_argument("--template", help='sentence for each word, such as "a photo of a {}", or a JSON list')
    parser.add_argument("--output", type=Path, default=Path("mask.png"), help="(default: %(default)s)")
    parser.add_argument("--url", default="http://127.0.0.1:8080", help="(default: %(default)s)")
    parser.add_argument("--model", default="lseg", help="(default: %(default)s)")
    arguments = parser.parse_args()
    try:
        labels = [label_of(item) for item in split_labels(arguments.labels)] if arguments.labels else None
    except LabelTextError as error:
        parser.error(str(error))
    try:
        with LSegClient(arguments.url, arguments.model) as client:
            mask = client.segment(arguments.image, labels, mode=arguments.mode, template=arguments.template)
    except ClientError as error:
        print(f"no mask: {error}", file=sys.stderr)
        return 1
    arguments.output.write_bytes(mask.png)
    height, width = mask.indices.shape
    print(f"{arguments.output}: {width}x{height}")
    shown = sorted(mask.legend, key=mask.share, reverse=True)
    for entry in shown:
        if mask.share(entry) > 0:
            print(f"  {entry.index:3d}  {entry.color}  {mask.share(entry):6.1%}  {printable(entry.name)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

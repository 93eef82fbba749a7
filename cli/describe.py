"""`lseg describe`: what a running server tells of its model."""

from __future__ import annotations

import argparse

from lseg_serve.cli.endpoint import add_endpoint, add_management, managing
from lseg_serve.cli.manners import Status, add_json, write
from lseg_serve.client import Description


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of the command."""
    add_endpoint(parser)
    add_management(parser)
    add_json(parser)


def run(arguments: argparse.Namespace) -> int:
    """Ask the management port, and print the answer."""
    with managing(arguments) as client:
        described = client.describe()
    write(arguments, described.model_dump(mode="json"), _text(described))
    return Status.OK


def _text(described: Description) -> str:
    limits = described.limits
    ready = sum(worker.status == "READY" for worker in described.workers)
    buckets = ", ".join(f"{height}x{width}" for height, width in described.buckets)
    return (
        f"{described.model} {described.version}: {ready} of {len(described.workers)} workers ready\n"
        f"  device     {described.device}, {described.precision or 'unknown precision'}\n"
        f"  label set  {described.label_set.name or 'none'}, {len(described.label_set.labels)} labels\n"
        f"  buckets    {buckets}\n"
        f"  limits     {limits.max_labels} labels, {limits.max_image_pixels / 1e6:.0f} megapixels, "
        f"{limits.max_response_bytes / 1e6:.0f} MB of response, {limits.max_request_seconds:g} s of work"
    )

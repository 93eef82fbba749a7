"""A client of the endpoint: what evaluation, benchmarks and the command line use to talk to a server."""

from lseg_serve.client.lseg_client import ClientError, LegendEntry, LSegClient, Mask

__all__ = ["ClientError", "LSegClient", "LegendEntry", "Mask"]

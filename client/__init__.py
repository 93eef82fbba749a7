"""A client of the endpoint, for Python and for the command line."""

from lseg_serve.client.lseg_client import ClientError, LegendEntry, LSegClient, Mask, session_for

__all__ = ["ClientError", "LSegClient", "LegendEntry", "Mask", "session_for"]

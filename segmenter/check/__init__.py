"""`python -m segmenter check-device`: whether a device computes as served, and how fast; a report to send on."""

from lseg_serve.segmenter.check.check import check_device
from lseg_serve.segmenter.check.report import Check, Report

__all__ = ["Check", "Report", "check_device"]

"""Accuracy measured at the endpoint: a folder of images with ground truth, a running server, figures and a report."""

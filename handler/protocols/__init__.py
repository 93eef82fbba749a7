"""The protocols v1 and v2 (Open Inference Protocol) over REST, translated to plain requests and back.

A request of a protocol becomes a plain request for each of its images. These take the same way as all others, and their
responses become one. So masks, checks and limits are those of the plain endpoint. docs/kserve.md explains the forms.
"""

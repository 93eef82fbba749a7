"""Requests that are damaged on purpose, each made from a seed and a number alone, so that any can be sent again.

`images` has a small file of each kind that is served, `damage` breaks files by their kind, `hostile` makes requests of
them, `sending` sends them and judges the answers, `rpc` does both over gRPC, `watching` looks after the server's
processes. docs/front.md says how to run thousands; `test_fuzz.py` sends some hundred, and those of `seeds.txt`.
"""

"""The simulated Gaudi device: stock CPU torch computes, and what a card would have done is recorded and counted.

Everything in this folder is the simulator's own; what a program written for Gaudi may import lies in the folders
beside it (`core`, `hpu`, `utils`), under the names of the real software.
"""

from habana_frameworks.torch.simulated.counts import CompiledGraph, Counts, compiled_graphs, counts, reset_counts

__all__ = ["CompiledGraph", "Counts", "compiled_graphs", "counts", "reset_counts"]

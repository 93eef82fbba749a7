"""The things of a scene, each drawn as colours and as the label of every pixel."""

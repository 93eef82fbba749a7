"""Extensions of the simulated `habana_frameworks.torch`."""

"""A simulated `habana_frameworks`: stands in for Intel Gaudi's software where there is no Gaudi card."""

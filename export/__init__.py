"""Export: a checkpoint in, an archive that TorchServe serves out, and a check of what was written."""

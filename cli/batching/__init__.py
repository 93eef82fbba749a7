"""The work of `lseg batch`, one file for the run and one for what is around it."""

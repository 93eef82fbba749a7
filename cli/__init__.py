"""The command `lseg`: one file for each subcommand, and the manners that they share."""

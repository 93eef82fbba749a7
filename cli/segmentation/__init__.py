"""What `lseg segment` is made of: which images, where their results go, what is done already, and the work itself."""

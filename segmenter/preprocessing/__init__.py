"""From the bytes and texts of a request to what the network takes: decode, check labels, resize to a bucket."""

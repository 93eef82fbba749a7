"""From scores to a mask: resized score maps, sliding windows, and the best label of each pixel."""

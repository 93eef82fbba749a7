"""From scores to a mask: score maps are resized, windows are merged, and each pixel gets its best label."""

"""Response formats: a mask as PNG, JSON, npz or zip."""

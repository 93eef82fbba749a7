"""Stub."""
def register() -> None: pass

"""How much of what the network computed was asked for, and how much was padding."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field


@dataclass
class Usage:
    """Counts since the network was made, warm-up included.

    A slot is a place in a tensor that the device computes: those of black images, of padding labels and of padding
    texts take as long as those that were asked for.
    """

    images: int = 0  # windows of accurate mode among them
    image_slots: int = 0
    labels: int = 0  # for each image, its own
    label_slots: int = 0
    seconds: float = 0.0  # that one of its steps was under way
    texts: int = 0  # labels that the text tower encoded
    text_slots: int = 0
    buckets: Counter[str] = field(default_factory=Counter)  # images by their size, such as 480x640

    def add_images(self, bucket: str, images: int, slots: int) -> None:
        """One pass of the image tower."""
        self.images += images
        self.image_slots += slots
        self.buckets[bucket] += images

    def add_labels(self, labels: int, slots: int) -> None:
        """One pass of the score step."""
        self.labels += labels
        self.label_slots += slots

    def add_texts(self, texts: int, slots: int) -> None:
        """One pass of the text tower."""
        self.texts += texts
        self.text_slots += slots

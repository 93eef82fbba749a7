"""LSeg: an image embedding for every pixel, a text embedding for every label, and their dot products."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from lseg_serve.model import int8
from lseg_serve.model.architecture import Architecture
from lseg_serve.model.attention import Attend
from lseg_serve.model.checkpoint import Checkpoint
from lseg_serve.model.detection import detect_architecture
from lseg_serve.model.folding import fold_batch_norm
from lseg_serve.model.fused_scores import dot_products, doubled_cosines, fused_features
from lseg_serve.model.fusion import Decoder, upsample
from lseg_serve.model.image_encoder import ResNetEncoder, ViTEncoder
from lseg_serve.model.products import multiply_by_onednn
from lseg_serve.model.reading import read_checkpoint
from lseg_serve.model.regularizer import SpatialRegularizer
from lseg_serve.model.text_encoder import TextEncoder, tokenize
from lseg_serve.model.weights import fill

# lang-seg's temperature. It is in no checkpoint: lang-seg keeps exp(log(1/0.07)) as a plain tensor that never trains.
LOGIT_SCALE = 1 / 0.07


class LSeg(nn.Module):
    """The network of "Language-driven Semantic Segmentation" (arXiv 2201.03546), equal to lang-seg in evaluation."""

    def __init__(self, architecture: Architecture) -> None:
        super().__init__()
        self.architecture = architecture
        encoder = ViTEncoder if architecture.backbone == "vit" else ResNetEncoder
        self.image_encoder = encoder(architecture)
        self.decoder = Decoder(architecture)
        self.head = nn.Conv2d(architecture.features, architecture.embedding, kernel_size=1)
        self.text_encoder = TextEncoder(architecture)
        self.regularizer = SpatialRegularizer(architecture) if architecture.arch_option else None
        if not architecture.batch_norm:
            fold_batch_norm(self)
        if architecture.int8:
            int8.quantize_layers(self)

    @classmethod
    def from_checkpoint(
        cls,
        path: str | Path,
        *,
        arch_option: int | None = None,
        block_depth: int | None = None,
        activation: str | None = None,
    ) -> LSeg:
        """The network of a checkpoint in float32, in evaluation mode; see `read_checkpoint` for the files it takes.

        The sizes are read from the tensors. `arch_option`, `block_depth` and `activation` say what tensors cannot
        tell, where the file's hyper-parameters are absent or wrong.

        Raises:
            CheckpointError: the file cannot be read, or a tensor is missing, extra or of the wrong shape.
        """
        return cls.from_tensors(
            read_checkpoint(path), arch_option=arch_option, block_depth=block_depth, activation=activation
        )

    @classmethod
    def from_tensors(
        cls,
        checkpoint: Checkpoint,
        *,
        arch_option: int | None = None,
        block_depth: int | None = None,
        activation: str | None = None,
        own_types: bool = False,
    ) -> LSeg:
        """As `from_checkpoint`, for a file that was read before. float32 tensors are used in place, without a copy.

        With `own_types`, tensors of every type are: those of an archive already have the types of its precision.
        """
        stated = {"arch_option": arch_option, "block_depth": block_depth, "activation": activation}
        architecture = detect_architecture(checkpoint, stated)
        with torch.device("meta"):
            net = cls(architecture)
        fill(net, checkpoint, own_types=own_types)
        return net.eval().requires_grad_(False)

    def set_precision(self, dtype: torch.dtype) -> LSeg:
        """Let the image side compute in `dtype`; the text tower and all scores stay float32.

        With torch.int8, the layers that have int8 weights compute in 8 bits; everything else stays float32.

        Raises:
            ValueError: int8 for weights that are not int8 (see `model.int8.quantize_layers`), another precision for
                weights that are, or int8 on a processor that computes it wrong.
        """
        if (dtype == torch.int8) != self.architecture.int8:
            raise ValueError(
                f"precision is {dtype}, but the weights are {'' if self.architecture.int8 else 'not '}int8"
            )
        problem = int8.unavailable_reason() if dtype == torch.int8 else None
        if problem is not None:
            raise ValueError(f"precision is int8, but {problem}")
        if dtype != torch.int8:
            for part in (self.image_encoder, self.decoder, self.head):
                part.to(dtype)
        return self

    def set_attention(self, attend: Attend) -> LSeg:
        """Let the image encoder attend by `attend`; one without attention, a ResNet, stays as it is."""
        if isinstance(self.image_encoder, ViTEncoder):
            self.image_encoder.set_attention(attend)
        return self

    @property
    def precision(self) -> torch.dtype:
        """The type that most of the image side computes in: torch.int8 where `set_precision` accepts only that."""
        return torch.int8 if self.architecture.int8 else self.head.weight.dtype

    def multiply_by_onednn(self) -> int:
        """Let oneDNN multiply in a ViT's linear layers, on a CPU; returns their number.

        The tensors stay where they are, under their names.
        """
        return multiply_by_onednn(self)

    def attend_by_products(self) -> None:
        """Let a ViT's blocks attend by two products and a softmax, in the precision of their layers."""
        if isinstance(self.image_encoder, ViTEncoder):
            self.image_encoder.attend_by_products()

    def prepare_sizes(self, sizes: Iterable[tuple[int, int]]) -> LSeg:
        """Compute what the image encoder needs for each of the `sizes` (height, width) now, instead of in every call.

        A ViT's positions are resized where the weights are. Before the network is moved to a device that is the host,
        so the device need not be able to do it. Not for training: weights that change later do not change it.
        """
        if isinstance(self.image_encoder, ViTEncoder):
            for height, width in sizes:
                self.image_encoder.prepare_size(height, width)
        return self

    def dequantize(self) -> LSeg:
        """Turn int8 layers into float32 ones of the same weights, in place, for devices without 8-bit kernels."""
        int8.dequantize_layers(self)
        self.architecture = replace(self.architecture, int8=False)
        return self

    def encode_labels(self, labels: Sequence[str]) -> Tensor:
        """Unit embeddings of `labels`, as typed: float [K, E].

        Raises:
            ValueError: a label of more tokens than the text tower takes.
        """
        return self.encode_tokens(tokenize(labels, self.architecture.context_length))

    def encode_tokens(self, tokens: Tensor) -> Tensor:
        """Unit embeddings of `tokens` int64 [K, L] (see `tokenize`): float [K, E]."""
        device = self.text_encoder.positional_embedding.device
        return F.normalize(self.text_encoder(tokens.to(device)), dim=-1)

    def decode(self, pixels: Tensor) -> Tensor:
        """The decoder's last map for `pixels` [B, 3, H, W] in -1..1: [B, F, H/4, W/4]. lang-seg doubles its size.

        Raises:
            ValueError: a shape the network cannot take.
        """
        stride = self.architecture.stride
        if pixels.ndim != 4 or pixels.shape[1] != 3 or pixels.shape[2] % stride or pixels.shape[3] % stride:
            raise ValueError(
                f"pixels have the shape {tuple(pixels.shape)}; accepted: [B, 3, H, W], H and W multiples of {stride}"
            )
        decoded: Tensor = self.decoder(self.image_encoder(pixels.to(self.head.weight.dtype)))
        return decoded

    def features(self, decoded: Tensor) -> Tensor:
        """All that scores need of an image, from the map of `decode`: float32 [B, F+4, H/4, W/4].

        They are the input of the head and not its output, the embeddings. This takes an eighth of the memory.
        """
        return fused_features(decoded.to(self.head.weight.dtype), self.head)

    def products(self, features: Tensor, text: Tensor) -> Tensor:
        """`features` in a row [B, F+4, P] with `text` [B, K, E], each image's own labels: float32 [B, K+4, P]."""
        return dot_products(features, text, self.head)

    def image_features(self, pixels: Tensor) -> Tensor:
        """`features` of `pixels` [B, 3, H, W] in -1..1: float32 [B, F+4, H/4, W/4]."""
        return self.features(self.decode(pixels))

    def score_features(self, features: Tensor, text: Tensor) -> Tensor:
        """Scores of `text` [B, K, E], each image's own labels, for `image_features`: float32 [B, K, H/2, W/2]."""
        products = self.products(features.flatten(2), text).unflatten(2, features.shape[2:])
        return finish_scores(products, self.regularizer)

    def pixel_embeddings(self, pixels: Tensor) -> Tensor:
        """Unit embeddings of `pixels` [B, 3, H, W] in -1..1 at half their resolution: float32 [B, E, H/2, W/2].

        With `scores`, this is the plain definition of what `image_features` and `score_features` compute at less
        cost. It is for training, and for whoever wants the embeddings themselves.

        Raises:
            ValueError: a shape the network cannot take.
        """
        decoded = self.decode(pixels)
        doubled = upsample(decoded, (2 * decoded.shape[2], 2 * decoded.shape[3]))
        return F.normalize(self.head(doubled).float(), dim=1)

    def scores(self, embeddings: Tensor, text: Tensor) -> Tensor:
        """Scores of `text` [K, E] at every pixel of `embeddings` [B, E, h, w]: [B, K, h, w], before the last resize."""
        scores = LOGIT_SCALE * torch.einsum("behw,ke->bkhw", embeddings, text)
        return scores if self.regularizer is None else self.regularizer(scores)

    @torch.no_grad()
    def logits(self, pixels: Tensor, labels: Sequence[str]) -> Tensor:
        """Logits of `labels` for `pixels` [B, 3, H, W] in -1..1 (x / 127.5 - 1): float32 [B, K, H, W]."""
        text = self.encode_labels(labels).expand(len(pixels), -1, -1)
        scores = self.score_features(self.image_features(pixels), text)
        return upsample(scores, (pixels.shape[2], pixels.shape[3]))


def finish_scores(products: Tensor, regularizer: SpatialRegularizer | None) -> Tensor:
    """Scores [B, K, H/2, W/2] from `LSeg.products` [B, K+4, H/4, W/4], before the last resize.

    A function of its own, because it needs the regulariser's weights alone and may run on another device.
    """
    scores = doubled_cosines(products).mul_(LOGIT_SCALE)
    return scores if regularizer is None else regularizer(scores)

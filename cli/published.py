"""The checkpoints that were published with LSeg: where they lie, and what is known of them.

From the README of lang-seg, the archived research code, and from VLMaps. No hash was published. The figures are mIoU of
the zero-shot protocol, in percent, as they were published; nothing here was measured with these files.
"""

from __future__ import annotations

from dataclasses import dataclass

LICENSE = "MIT, as lang-seg; the data that they were trained on have terms of their own"
_LANG_SEG = "README of github.com/isl-org/lang-seg"


@dataclass(frozen=True)
class Published:
    """One checkpoint."""

    name: str
    drive_id: str  # on Google Drive
    backbone: str  # as `Architecture.backbone`
    network: str
    trained_on: str
    figure: float | None = None
    source: str = _LANG_SEG

    @property
    def url(self) -> str:
        """The address that gdown fetches."""
        return f"https://drive.google.com/uc?id={self.drive_id}"


def _zero_shot(name: str, drive_id: str, trained_on: str, figure: float) -> Published:
    return Published(name, drive_id, "resnet", "ResNet-101, CLIP ViT-B/32", trained_on, figure)


_VIT = "ViT-L/16, CLIP ViT-B/32"
PUBLISHED = {
    one.name: one
    for one in (
        Published("demo_e200", "1FTuHY1xPUkM-5gaDtMfgCl3D0gR89WV7", "vit", _VIT, "ADE20K and others, for any labels"),
        Published(
            "demo_e200_vlmaps",
            "1ayk6NXURI_vIPlym16f_RG3ffxBWHxvb",
            "vit",
            _VIT,
            "a copy of demo_e200, as its source says",
            source="github.com/vlmaps/vlmaps",
        ),
        _zero_shot("pascal_fold0", "1y4z4_yNGlZtn6osaeN4ZjMs6c0vr0F3m", "Pascal-5i, all folds but 0", 52.8),
        _zero_shot("pascal_fold1", "1UZzN8kWkH-G8v6P8xcBXEHRZlQKPRxrX", "Pascal-5i, all folds but 1", 53.8),
        _zero_shot("pascal_fold2", "1KCq1JphSMvj8X78bkWbdNIFm5zYzLTMX", "Pascal-5i, all folds but 2", 44.4),
        _zero_shot("pascal_fold3", "1A_fllOJqyBg0ZTJcm85Cn0NAcwQbXnhl", "Pascal-5i, all folds but 3", 38.5),
        _zero_shot("coco_fold0", "1nSYO3XtAv4mzWi4x-MFUfk04cpBKJT38", "COCO-20i, all folds but 0", 22.1),
        _zero_shot("coco_fold1", "1w0vz3yjEi_ZLgECRrgtoLxEHugyJkrs5", "COCO-20i, all folds but 1", 25.1),
        _zero_shot("coco_fold2", "1wmHtmJLdta18XuWQv6oX9llidCll_HrD", "COCO-20i, all folds but 2", 24.9),
        _zero_shot("coco_fold3", "1dliBUSOog7taJxMmb9cdefKH4XOKChVJ", "COCO-20i, all folds but 3", 21.5),
        _zero_shot("fss_rn101", "1UIj49Wp1mAopPub5M6O4WW-Z79VB1bhw", "FSS-1000", 84.7),
        Published("fss_l16", "1Nplkc_JsHIS55d--K2vonOOC3HrppzYy", "vit", _VIT, "FSS-1000", 87.8),
    )
}
# Named by Intel's Gaudi fork of lang-seg, on a SharePoint that asks for a sign-in: no program can fetch it.
UNREACHABLE = {"demo_e200_fp32": "it lies on a SharePoint that asks for a sign-in; demo_e200 is the same network"}

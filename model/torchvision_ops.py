"""Make `import torchvision` succeed beside a CPU build of torch; import this before timm or clip.

timm and clip import torchvision, of which the package index carries only CUDA builds. Beside a CPU torch its compiled
operators cannot load, and its import fails at the first one it describes ("operator torchvision::nms does not exist").
Nothing here ever calls those operators, so declaring their schemas is enough. Where torchvision loads by itself, this
module does nothing.
"""

import torch

_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"


def _declare_operators() -> torch.library.Library | None:
    """Import torchvision, declaring the operators it misses; the library returned must outlive every use of them."""
    try:
        import torchvision  # noqa: F401
    except RuntimeError as error:
        if "torchvision::nms" not in str(error):
            raise
    else:
        return None
    library = torch.library.Library("torchvision", "DEF")
    library.define("nms" + _SCHEMA)
    library.define("qnms" + _SCHEMA)
    import torchvision  # noqa: F401, F811

    return library


LIBRARY = _declare_operators()

"""The command `python -m web.write_openapi`: write web/openapi.json anew from the code that it describes.

The only file of this folder that knows the endpoint's code; nothing of the app imports it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Final

from lseg_serve.handler import openapi as endpoint
from lseg_serve.web.openapi import EndpointParts, document

FILE: Final = Path(__file__).parent / "openapi.json"


def text() -> str:
    """The file's content."""
    parts = EndpointParts(
        form=endpoint.form_request(),
        json=endpoint.json_request(),
        image_types=endpoint.image_types(),
        content=endpoint.answer_content(),
        headers=endpoint.answer_headers(),
        mask_document=endpoint.mask_document(),
        errors=endpoint.errors(),
    )
    return json.dumps(document(parts), indent=1, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    FILE.write_text(text(), encoding="utf-8")
    print(FILE)

"""Pictures for the page, and opening it anew."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image


def reload(page: Any) -> None:
    """Open the page anew, and wait until it knows what the model can."""
    page.reload()
    page.wait_for_selector("#model:has-text('fake')")


def picture(
    width: int = 300, height: int = 200, kind: str = "JPEG", name: str = "photo.jpg"
) -> dict[str, Any]:
    """A gray picture as playwright's file inputs take it."""
    buffer = io.BytesIO()
    Image.new("RGB", (width, height), (120, 130, 140)).save(buffer, kind)
    return {"name": name, "mimeType": f"image/{kind.lower()}", "buffer": buffer.getvalue()}

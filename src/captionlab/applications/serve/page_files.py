"""The files of the page, read once: no request reaches the disk."""

from __future__ import annotations

from pathlib import Path

from starlette.responses import PlainTextResponse, Response

from captionlab.applications.serve.http import ApiError

TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".webmanifest": "application/manifest+json",
}
INDEX = "index.html"


class PageFiles:
    """The files of a folder by their names, with the types that a browser wants.

    A captioner without its page (``folder`` is not there) says where the API is.
    """

    def __init__(self, folder: Path) -> None:
        self._files = {
            path.name: path.read_bytes()
            for path in (sorted(folder.iterdir()) if folder.is_dir() else ())
            if path.suffix in TYPES and path.is_file()
        }

    def index(self) -> Response:
        """Return the page itself."""
        if INDEX not in self._files:
            return PlainTextResponse(
                "A captioner answers here: POST /v1/caption; /openapi.json describes it.\n"
            )
        return self.file(INDEX)

    def file(self, name: str) -> Response:
        """Return one of its files.

        Raises:
            ApiError: 404 for any other name.
        """
        if name not in self._files:
            raise ApiError(404, f"the page has no file {name!r}")
        # asked for anew each time: a page and a script of two versions do not go together
        headers = {"Cache-Control": "no-cache"}
        return Response(self._files[name], media_type=TYPES[Path(name).suffix], headers=headers)

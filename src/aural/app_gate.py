"""What a browser may ask the page's server for; everything else that Gradio would answer is refused.

Notable here:
- Gradio opens routes for programs, other pages and its own workshop: calls that pass the queue, fetching of addresses,
  monitoring, editing. The page needs none of them, and what is not there cannot be misused.
- It is a list of what is let through, not of what is kept out: routes that come with a later Gradio stay shut.
"""

from collections.abc import Awaitable, Callable
from typing import Any

API = "/gradio_api/"
PAGES = frozenset(("/", "/config", "/theme.css", "/favicon.ico", "/robots.txt", "/manifest.json"))
FOLDERS = ("/assets/", "/static/", "/svelte/")  # of Gradio's own scripts, styles and pictures
CALLS = frozenset(  # what the page itself asks for
    (
        "startup-events",
        "queue/join",
        "queue/data",
        "upload",
        "upload_progress",
        "cancel",
        "reset",
        "app_id",
        "theme.css",
    )
)
FILES = ("file=",)  # recordings of this run; Gradio lets nobody out of their folder
BEATS = ("heartbeat/",)

Scope = dict[str, Any]
Handler = Callable[[Scope, Any, Any], Awaitable[None]]


def is_open(path: str) -> bool:
    """Whether the page needs what lies at a path.

    Args:
        path: Of a request, such as "/gradio_api/upload".
    """
    if path in PAGES or path.startswith(FOLDERS):
        return True
    if not path.startswith(API):
        return False
    rest = path[len(API) :]
    if rest.startswith(FILES):
        return "://" not in rest  # an address: Gradio would fetch it
    return rest.rstrip("/") in CALLS or rest.startswith(BEATS)


class Gate:
    """ASGI middleware that answers 404 to what is not open.

    Args:
        app: What it stands before.
    """

    def __init__(self, app: Handler) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and not is_open(scope["path"]):
            await send({"type": "http.response.start", "status": 404, "headers": [(b"content-type", b"text/plain")]})
            await send({"type": "http.response.body", "body": b"not here"})
            return
        await self._app(scope, receive, send)

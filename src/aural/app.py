"""The page in the browser: `aural app`, on which a visitor records or uploads, and sees what a model hears and where.

    from aural.app import Limits, running
    from aural.app_models import Shelf

    with running(Shelf(["model_cards/las-demo"]), Limits()) as address:
        ...  # it answers at `address` until the block ends

Notable here:
- Gradio is imported by this page alone, when it is built. It calls no one: no analytics, no shared link, no font from
  elsewhere; and the routes that the page does not need are shut (`app_gate.py`).
- No request leaves anything behind for the next: a visitor's recording and wishes come with each call, and what comes
  of them goes back. Models are shared, and keep nothing.
- Files lie in a folder of this run alone, which ends with it; no other file of the machine can be read.
"""

import errno
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from .app_gate import Gate
from .app_layout import build_page, require_gradio
from .app_models import Shelf
from .app_page import ENTER_RUNS, STYLE
from .app_room import Limits, Room

FIRST_PORT, PORTS = 7860, 100  # where a free port is looked for
LOOPBACK = ("127.0.0.1", "localhost", "::1")


@contextmanager
def running(shelf: Shelf, limits: Limits, host: str = LOOPBACK[0], port: int | None = None) -> Iterator[str]:
    """The page, answering while the block lasts.

    Args:
        shelf: The models.
        limits: What visitors may ask for.
        host: Address of this machine at which it answers.
        port: Where; 0 for any that is free, None for the first that is free from 7860 on.

    Yields:
        The address for the browser.

    Raises:
        ImportError: Gradio is not installed.
        OSError: The port is in use, or the host is no address of this machine.
    """
    port = free_port(host, port)
    gr = require_gradio()
    with TemporaryDirectory(prefix="aural-app-") as folder, _settled(folder, host):
        page = build_page(Room(shelf, limits, Path(folder)))
        try:
            page.launch(
                server_name=host,
                server_port=port,
                share=False,
                inbrowser=False,
                prevent_thread_lock=True,
                quiet=True,
                ssr_mode=False,
                mcp_server=False,
                pwa=False,
                enable_monitoring=False,
                run_history=False,
                footer_links=[],
                allowed_paths=[],
                max_file_size=limits.megabytes * 1_000_000,
                app_kwargs={"middleware": [_middleware()], "docs_url": None, "redoc_url": None, "openapi_url": None},
                theme=_theme(gr),
                css=STYLE,
                js=ENTER_RUNS,
            )
            yield f"http://{f'[{host}]' if ':' in host else host}:{port}"
        finally:
            page.close(verbose=False)


def _theme(gr: Any) -> Any:
    """Fonts that the visitor's machine has, and a button that can be read."""
    fonts = {"font": ["system-ui", "sans-serif"], "font_mono": ["ui-monospace", "monospace"]}
    blue = {"button_primary_background_fill": "*primary_600", "button_primary_background_fill_hover": "*primary_700"}
    dark = {f"{name}_dark": value for name, value in blue.items()}
    return gr.themes.Default(primary_hue="blue", **fonts).set(**blue, **dark)


def _middleware() -> Any:
    from starlette.middleware import Middleware

    return Middleware(Gate)


@contextmanager
def _settled(folder: str, host: str) -> Iterator[None]:
    """What Gradio asks the environment for: its files in `folder`, nothing that a variable could open, and no proxy
    between it and itself, whom it asks once whether it is up."""
    mine = {"GRADIO_TEMP_DIR": folder, "GRADIO_EXAMPLES_CACHE": folder, "GRADIO_ALLOWED_PATHS": ""}
    for name in ("NO_PROXY", "no_proxy"):
        mine[name] = ",".join((*LOOPBACK, host, *filter(None, [os.environ.get(name)])))
    before = {name: os.environ.get(name) for name in mine}
    os.environ.update(mine)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def free_port(host: str, port: int | None) -> int:
    """A port that is free.

    Args:
        host: Address of this machine.
        port: The one that is wanted; 0 for any, None for the first that is free from 7860 on.

    Raises:
        OSError: It is in use, none is free, or the host is no address of this machine.
    """
    for tried in range(FIRST_PORT, FIRST_PORT + PORTS) if port is None else [port]:
        try:
            family, kind, number, _, place = socket.getaddrinfo(host, tried, type=socket.SOCK_STREAM)[0]
        except socket.gaierror as error:
            raise OSError(f"--host {host}: no such address ({error.strerror})") from error
        with socket.socket(family, kind, number) as tried_one:
            tried_one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                tried_one.bind(place)
            except PermissionError as error:
                raise PermissionError(
                    f"--port {tried}: this account may not use it; those from 1024 on are free to all"
                ) from error
            except OSError as error:
                if error.errno == errno.EADDRNOTAVAIL:
                    raise OSError(f"--host {host}: is no address of this machine") from error
                continue
            return int(tried_one.getsockname()[1])
    if port is None:
        raise OSError(f"ports {FIRST_PORT} to {FIRST_PORT + PORTS - 1} are all in use; choose one by --port")
    raise OSError(f"--port {port}: is in use; give another, or 0 for any that is free")

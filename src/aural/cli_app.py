"""The page in the browser.

aural app
aural app --model demo/model --model models/sounds --port 8000
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from .console import quiet_libraries

APP_EXAMPLE = "Example: `aural app` in a clone · `aural app --model demo/model --model models/sounds --port 8000`"


def app(
    model: Annotated[
        list[str] | None,
        typer.Option(
            help="Model folder or Hub id; may be repeated. Default, in a clone: the small models that come with it.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[
        int | None,
        typer.Option(min=0, max=65535, help="0 for any that is free; default: the first that is free from 7860 on."),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Address of this machine; any but the default lets others in.")
    ] = "127.0.0.1",
    max_minutes: Annotated[float, typer.Option(help="Longest recording.")] = 10.0,
    max_megabytes: Annotated[int, typer.Option(min=1, help="Largest upload.")] = 100,
    at_once: Annotated[int, typer.Option(min=1, help="Requests worked on at a time; others wait.")] = 2,
    device: Annotated[str, typer.Option(help="Where the models run, such as cuda.")] = "cpu",
) -> None:
    """Record or upload in the browser, and see what models hear and where they listen (needs aural[app])."""
    from .app import LOOPBACK, running
    from .app_models import Shelf, kept_models
    from .app_room import Limits

    quiet_libraries()
    limits = Limits(max_minutes, max_megabytes, at_once)
    folders = model or kept_models()
    if not folders:
        raise ValueError("there is no model: name a folder by --model; `aural demo` trains a small one, in demo/model")
    shelf = Shelf(folders, device)
    with running(shelf, limits, host, port) as address, _stopped_as_by_hand():
        names = ", ".join(card.name for card in shelf.cards)
        print(f"aural listens at {address} with {names}; Ctrl-C ends it", flush=True)
        if host not in LOOPBACK:
            typer.echo(
                f"aural: warning: --host {host} lets everyone who reaches this machine use it, without a password "
                "and unencrypted",
                err=True,
            )
        try:
            wait_for_the_end()
        except KeyboardInterrupt:
            print("\naural: ended", flush=True)


@contextmanager
def _stopped_as_by_hand() -> Iterator[None]:
    """A service that is stopped tidies up as by Ctrl-C."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def wait_for_the_end() -> None:
    """Until Ctrl-C."""
    threading.Event().wait()

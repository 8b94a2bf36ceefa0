"""The page in the browser as Gradio's blocks: its controls, in the order of the keyboard, and what each calls."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from .app_files import KEEP_SECONDS
from .app_hearing import Wishes
from .app_models import ModelCard
from .app_page import FOLLOW
from .app_room import Room
from .processing.events import THRESHOLD

MOST_BEAMS = 16
WAITING = 32  # visitors in the queue; more are asked to come again


def require_gradio() -> Any:
    """Gradio, told to call nobody.

    Raises:
        ImportError: It is not installed.
    """
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    try:
        import gradio
    except ImportError as error:
        raise ImportError(f"aural app needs gradio: pip install 'aural[app]' ({error})") from error
    return gradio


@dataclass(frozen=True)
class _Controls:
    """What stands on the page, in the order of the keyboard."""

    clip: Any
    model: Any
    settings: list[Any]
    run: Any
    example_rows: list[Any]  # one per kind of model
    examples: list[tuple[Any, str]]  # buttons, and the file of each
    answer: Any
    stretch: Any
    start: Any
    closer: Any
    view: Any


def build_page(room: Room) -> Any:
    """The page, as Gradio's blocks.

    Args:
        room: What its controls call.

    Raises:
        ImportError: Gradio is not installed.
    """
    gr = require_gradio()
    with gr.Blocks(title="aural", analytics_enabled=False, delete_cache=(600, int(KEEP_SECONDS))) as page:
        _connect(gr, room, _lay_out(gr, room))
    page.queue(api_open=False, max_size=WAITING)
    return page


def _lay_out(gr: Any, room: Room) -> _Controls:
    first, names = room.shelf.cards[0], [card.name for card in room.shelf.cards]
    gr.Markdown(
        "# aural\nRecord a sound or upload one (wav, flac, ogg, opus or mp3, at most "
        f"{room.limits.minutes:g} minutes), and see what a model hears and where it listens."
    )
    with gr.Row():
        with gr.Column(min_width=280):
            sources = ["upload", "microphone"]
            clip = gr.Audio(label="Recording", sources=sources, type="filepath", buttons=[], elem_id="clip")
        with gr.Column(min_width=280):
            model = gr.Dropdown(names, value=first.name, label="Model", filterable=False, elem_id="model")
            settings = _settings(gr, first)
            run = gr.Button("Listen", variant="primary", elem_id="run")
    rows, examples = [], []
    for kind, clips in room.examples.items():
        with gr.Row(visible=kind == first.kind) as row:
            rows.append(row)
            examples += [(gr.Button(f"Try {label}", size="sm"), str(path)) for label, path in clips.items()]
    answer = gr.HTML(elem_id="answer", js_on_load=FOLLOW)
    with gr.Row(visible=False) as stretch:
        start = gr.Number(0, minimum=0, label="Look closer from second", elem_id="start", min_width=160)
        closer = gr.Button("Look there", elem_id="closer", min_width=160)
    view = gr.HTML(elem_id="look")
    return _Controls(clip, model, settings, run, rows, examples, answer, stretch, start, closer, view)


def _connect(gr: Any, room: Room, on: _Controls) -> None:
    shown_at_start = gr.Progress()

    def listen(
        path: str | None, name: str, beams: Any, slots: Any, threshold: Any, progress: Any = shown_at_start
    ) -> Iterator[tuple[Any, str, Any]]:
        before = None
        for answer, view, long in room.answer(path, name, _wishes(beams, slots, threshold), progress):
            shown = gr.skip() if answer == before else answer  # set anew, it would stop what a visitor plays by now
            before = answer
            yield shown, view, gr.Row(visible=long)

    def look_there(path: str | None, name: str, beams: Any, slots: Any, threshold: Any, second: Any) -> str:
        return room.closer(path, name, _wishes(beams, slots, threshold), float(second or 0))

    def choose(name: str) -> list[Any]:
        card = room.shelf.card(name)
        return [*_settings(gr, card, update=True), *(gr.Row(visible=kind == card.kind) for kind in room.examples)]

    quiet: dict[str, Any] = {"api_visibility": "private", "show_progress": "hidden"}
    hard = {"api_visibility": "private", "concurrency_id": "models", "concurrency_limit": room.limits.at_once}
    wished = [on.clip, on.model, *on.settings]
    work = {"fn": listen, "inputs": wished, "outputs": [on.answer, on.view, on.stretch], **hard}
    work["show_progress_on"] = on.answer
    on.run.click(**work)
    on.closer.click(look_there, [*wished, on.start], on.view, **hard)
    on.model.change(choose, on.model, [*on.settings, *on.example_rows], **quiet)
    for button, path in on.examples:
        button.click(lambda path=path: path, None, on.clip, **quiet).then(**work)


def _settings(gr: Any, card: ModelCard, update: bool = False) -> list[Any]:
    """The sliders of a model, of which those that it has are seen.

    Args:
        gr: Gradio.
        card: Of the model.
        update: Change those that are there.
    """
    beams, slots = min(card.beams or 1, MOST_BEAMS), card.slots or 1

    def slider(name: str, least: float, most: float, value: float, step: float, label: str, visible: bool) -> Any:
        named = {} if update else {"elem_id": name}
        return gr.Slider(least, most, value, step=step, label=label, visible=visible, **named)

    return [
        slider("beams", 1, MOST_BEAMS, beams, 1, "Beams: texts weighed at a time", card.beams is not None),
        slider("slots", 1, max(slots, 2), slots, 1, "Memory slots: how much of the sound it keeps", slots > 1),
        slider("threshold", 0.05, 0.95, THRESHOLD, 0.05, "Score from which a sound is heard", card.kind == "sounds"),
    ]


def _wishes(beams: Any, slots: Any, threshold: Any) -> Wishes:
    """What came from the sliders, which a visitor's own program may have sent."""
    return Wishes(
        beams=None if beams is None else min(max(int(beams), 1), MOST_BEAMS),
        slots=None if slots is None else int(slots),
        threshold=THRESHOLD if threshold is None else float(threshold),
    )

"""What a model writes as it learns: transcripts of a few evaluation clips, and where it listened to the first.

Files stand in `OUTPUT/examples/`, one pair per evaluation; of a model without attention there is no picture. Trackers
that take text and pictures get both.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from .processing import AuralProcessor, load_audio
from .processing.files import write_whole
from .processing.plots import plot_alignment, save_figure
from .training.references import first_reference
from .transcript import Transcript
from .transcription import transcribe

FOLDER = "examples"


class ExamplesCallback(TrainerCallback):
    """After each evaluation, write what the model hears in some clips, by the main process.

    Args:
        rows: Clips, `{"audio", "text"}` each; of several texts the first is shown.
        processor: Of the model.
    """

    def __init__(self, rows: Sequence[Any], processor: AuralProcessor) -> None:
        self.processor = processor
        rate = processor.feature_extractor.sampling_rate
        self.waves = [load_audio(row["audio"], rate) for row in rows]
        self.texts = [first_reference(row["text"]) for row in rows]
        self.trackers: Sequence[Any] = ()

    def on_evaluate(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, model: Any = None, **kwargs: Any
    ) -> None:
        """Called by the Trainer.

        Args:
            args: `output_dir` is where the folder stands.
            state: Names the update.
            control: Left alone.
            model: Is left in the mode that it is found in.
            kwargs: Not used.
        """
        if not state.is_world_process_zero or not self.waves:
            return
        training = model.training
        model.eval()
        try:
            heard = transcribe(self.waves, model, self.processor, num_beams=1)
        finally:
            model.train(training)
        folder = Path(str(args.output_dir)) / FOLDER
        folder.mkdir(parents=True, exist_ok=True)
        stem = f"update-{state.global_step:07d}"
        text = "".join(
            f"spoken:  {spoken}\nwritten: {one.text}\n\n" for spoken, one in zip(self.texts, heard, strict=True)
        )
        write_whole(folder / f"{stem}.txt", text)
        figure = None
        if heard[0].alignment.numel():  # CTC alone attends nowhere
            figure = self.picture(heard[0], f"after {state.global_step} updates: “{heard[0].text}”")
            save_figure(figure, folder / f"{stem}.png", dpi=100)
        for tracker in self.trackers:
            _track(tracker, state.global_step, text, figure)

    def picture(self, heard: Transcript, title: str) -> Any:
        """The first clip's spectrogram and alignment, as a matplotlib figure."""
        extractor = self.processor.feature_extractor
        features = extractor(self.waves[0], sampling_rate=extractor.sampling_rate, return_tensors="np")
        return plot_alignment(
            features["input_features"][0],
            heard.alignment.numpy(),
            heard.tokens,
            extractor.seconds_per_frame,
            heard.seconds_per_frame,
            title,
        )


def _track(tracker: Any, step: int, text: str, figure: Any) -> None:
    """Text and picture to a callback of transformers that has a TensorBoard writer; others take numbers alone."""
    if (writer := getattr(tracker, "tb_writer", None)) is not None:
        writer.add_text("examples", text.replace("\n", "  \n"), step)
        if figure is not None:
            writer.add_figure("alignment", figure, step, close=False)

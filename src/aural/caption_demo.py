"""`aural demo captions`: a patch transformer learns to say what is heard, exactly tested on mixes of known sounds.

The captions follow from what was mixed: which sounds, in which order, how many, overlapping or not. So every caption
is right or wrong, slot by slot. It is a test of hearing and of writing, not a captioner of the world: that needs
captions by people, for which there is the recipe `clotho`.

At first the texts are transcripts, a word for every sound as one counts along, which teach encoder and decoder their
places; then the decoder learns captions, while CTC keeps the encoder to the transcript. Without CTC the decoder did
not find its place in the sound, and by CTC of captions, where the number stands before what is counted, the encoder
learnt slowly. Single parts come first, then two, then three.

Two tests: arrangements that training never composed, of recordings that it heard; and the same with drums of kits that
it never heard. Kits are heard whose licence lets the weights be shared; the others are not.
"""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.progress import track
from transformers import PrinterCallback, Seq2SeqTrainingArguments, set_seed

from .caption_report import PICTURE, facts, said, save, test_result
from .captioning import AudioWindow, Caption, caption_batch
from .configuration import SpectrogramTransformerConfig, SpectrogramTransformerSeq2SeqConfig
from .configuration.text_decoder import TextDecoderConfig
from .console import quiet_libraries
from .demo import one_thread
from .demo_folder import demo_folder
from .launching import in_processes
from .modeling.spectrogram_seq2seq import SpectrogramTransformerForConditionalGeneration
from .processing import AuralProcessor, LogMelFeatureExtractor, train_tokenizer
from .processing.plot_captions import plot_caption
from .processing.plots import save_figure
from .training.augmentation import RandomEqualizer
from .training.caption_metrics import require_bleu
from .training.collator import SpeechCollator
from .training.compose import Stage
from .training.drum_labels import KITS
from .training.drums import SAMPLING_RATE, load_drums, make_drums
from .training.effects import load_effects, make_effects
from .training.feature_statistics import estimate_mean_std, with_statistics
from .training.mix_captions import DescribedMix, MixCaptions, MixSpread
from .training.mix_grammar import vocabulary
from .training.mix_sounds import MixSound, drum_sounds, effect_sounds
from .training.progress import RichProgress
from .training.reports import REPORT_NAME, machine_facts
from .training.trainer import AuralTrainer
from .training.world import World

CURRICULUM = (
    Stage(0.08, 1, 1),
    Stage(0.16, 1, 2),
    Stage(0.3, 1, 3),
    Stage(0.5, 2, 3),
    Stage(0.75, 3, 3),
    Stage(1.0, 2, 3),
)
TRANSCRIPTS = 0.25  # of the updates, from the first on
SEVERAL = (Stage(1.0, 2, 3),)  # a single part is no arrangement
SPEEDS = tuple(2 ** (step / 12) for step in range(-2, 3))  # two semitones down to two up
EQUALIZER_DB = 4.0
SHARED = "GPL-2"  # kits under this licence or a later version of it are heard, and the weights carry it
LONGEST = 10.0  # seconds: no mix is longer
TEST_SEED = 110_000  # added to the run's seed
PAD = 32  # frames: few shapes occur, for which torch keeps what it prepares
CLIPS_FOR_STATISTICS = 200
LEARNT = "learnt"  # folder of the model between training and tests


@dataclass(frozen=True)
class CaptionPlan:
    """How much a demo does.

    Args:
        updates: Optimiser steps.
        test: Mixes to measure on, in each of the two tests.
        batch_size: Mixes per update.
        learning_rate: Peak, after the warm-up.
        hidden: Width of encoder and decoder.
        layers: Of the encoder.
        decoder_layers: Of the decoder.
        patch_frames: Frames of a patch, which has all mels; four from one to the next.
        held_out: Kits that are not heard beside those of other licences, such as to choose settings on.
        processes: That share each batch on a CPU, a thread each. Their number changes how sums round, and so the run.

    Raises:
        ValueError: The processes cannot share a batch evenly.
    """

    updates: int
    test: int
    batch_size: int = 8
    learning_rate: float = 1.1e-3
    hidden: int = 160
    layers: int = 5
    decoder_layers: int = 4
    patch_frames: int = 6
    held_out: tuple[str, ...] = field(default=())
    processes: int = 2

    def __post_init__(self) -> None:
        if self.processes < 1 or self.batch_size % self.processes:
            raise ValueError(f"batch_size={self.batch_size} must be a multiple of processes={self.processes}")


PLANS = {
    "tiny": CaptionPlan(updates=4, test=6, batch_size=4, hidden=16, layers=1, decoder_layers=1, processes=1),
    "standard": CaptionPlan(updates=3600, test=300),
}


@dataclass(frozen=True)
class Sounds:
    """What mixes are made of: drums that are heard, drums that are not, and effects."""

    heard: Sequence[MixSound]
    unheard: Sequence[MixSound]
    effects: Sequence[MixSound]


def load_sounds(corpus: Path, held_out: Sequence[str] = ()) -> Sounds:
    """The sounds of a folder with `drums/` and `effects/`; what is not there yet is made there.

    Args:
        corpus: The folder.
        held_out: Kits that are not heard, beside those of other licences.

    Raises:
        OSError: A corpus cannot be read, or made.
    """
    for name, make in (("drums", make_drums), ("effects", make_effects)):
        if not (corpus / name / "metadata.csv").is_file():
            corpus.mkdir(parents=True, exist_ok=True)
            make(corpus / name)
    drums = drum_sounds(load_drums(corpus / "drums"))
    shared = {kit for kit, each in KITS.items() if each.licence.startswith(SHARED)}
    heard, unheard = shared - set(held_out), set(held_out) or KITS.keys() - shared
    return Sounds(
        [sound for sound in drums if sound.kit in heard],
        [sound for sound in drums if sound.kit in unheard],
        effect_sounds(load_effects(corpus / "effects")),
    )


def make_processor(sounds: Sequence[MixSound], seed: int) -> AuralProcessor:
    """64 mels normalised by the mean and spread of training mixes, and the words of the grammar."""
    mixes = MixCaptions(sounds, CLIPS_FOR_STATISTICS, seed, spread=MixSpread(speeds=SPEEDS))
    extractor = LogMelFeatureExtractor(num_mel_bins=64, low_freq=30.0, normalize=None)
    waves = [mixes.compose(index).audio for index in range(len(mixes))]
    mean, std = estimate_mean_std(waves, extractor, progress=False)
    return AuralProcessor(with_statistics(extractor, mean, std), train_tokenizer(vocabulary(), "word"))


def make_model(processor: AuralProcessor, plan: CaptionPlan) -> SpectrogramTransformerForConditionalGeneration:
    """A small encoder of full-height patches, a small decoder of words, and a CTC head that transcribes."""
    mels, heads = processor.feature_extractor.num_mel_bins, max(1, plan.hidden // 32)
    # At this width the 0.02 of AST starts so near to nothing that learning to tell sources apart takes far longer.
    spread = plan.hidden**-0.5
    encoder = SpectrogramTransformerConfig(
        num_mel_bins=mels,
        patch_size=[mels, plan.patch_frames],
        patch_stride=[mels, 4],  # the widest that CTC takes
        hidden_size=plan.hidden,
        num_hidden_layers=plan.layers,
        num_attention_heads=heads,
        position_kind="rotary",
        pooling="mean",
        initializer_range=spread,
    )
    decoder = TextDecoderConfig(
        vocab_size=len(processor.tokenizer),
        hidden_size=plan.hidden,
        num_hidden_layers=plan.decoder_layers,
        num_attention_heads=heads,
        initializer_range=spread,
    )
    config = SpectrogramTransformerSeq2SeqConfig(encoder=encoder, decoder=decoder, ctc_weight=0.3)
    model = SpectrogramTransformerForConditionalGeneration(config)
    # Saved with it: no three words stand twice in a caption ("then two dogs"), and no stretch is longer than the mixes
    # it learnt from.
    vars(model.generation_config).update(no_repeat_ngram_size=3, max_seconds=LONGEST)
    return model


def training_mixes(sounds: Sequence[MixSound], processor: AuralProcessor, plan: CaptionPlan, seed: int) -> MixCaptions:
    """What a model learns from, in the order in which it does."""
    return MixCaptions(
        sounds,
        plan.updates * plan.batch_size,
        seed,
        processor,
        CURRICULUM,
        group=plan.batch_size,
        spread=MixSpread(speeds=SPEEDS),
        augment_features=RandomEqualizer(EQUALIZER_DB, std=processor.feature_extractor.std),
        wordings=1,
        transcripts=TRANSCRIPTS,
    )


def learn(
    sounds: Sequence[MixSound], processor: AuralProcessor, plan: CaptionPlan, seed: int, folder: str, quiet: bool
) -> float:
    """Let a model learn to say what it hears; with several processes this is what each of them does.

    Args:
        sounds: What is mixed for training.
        processor: Of the model.
        plan: How much to do.
        seed: What the run follows from.
        folder: Where the model is saved, in `learnt`.
        quiet: No progress is shown; else the first process shows it.

    Returns:
        Seconds that this process computed, without its data worker.
    """
    started = time.process_time()
    quiet_libraries()  # a process of its own has not heard of it
    set_seed(seed)
    model = make_model(processor, plan)
    arguments = Seq2SeqTrainingArguments(
        output_dir=folder,
        use_cpu=not torch.cuda.is_available(),  # or else Accelerate joins no processes without an accelerator
        max_steps=plan.updates,
        per_device_train_batch_size=plan.batch_size // World.current().size,
        train_sampling_strategy="sequential",  # the order of the items is the curriculum
        learning_rate=plan.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=min(100, plan.updates // 4),
        weight_decay=0.05,
        adam_beta2=0.98,
        max_grad_norm=1.0,
        ddp_find_unused_parameters=False,
        dataloader_num_workers=1,
        dataloader_pin_memory=torch.cuda.is_available(),
        logging_steps=50,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        seed=seed,
    )
    collator = SpeechCollator(pad_to_multiple_of=PAD)
    data = training_mixes(sounds, processor, plan, seed)
    trainer = AuralTrainer(model, arguments, data_collator=collator, train_dataset=data)
    trainer.pop_callback(PrinterCallback)  # it prints every log; the bar shows the loss
    trainer.add_callback(RichProgress(Console(quiet=quiet), "training", lines=True))
    trainer.train_whole()
    if trainer.is_world_process_zero():
        model.save_pretrained(Path(folder) / LEARNT)
    return time.process_time() - started


def tell(
    model: SpectrogramTransformerForConditionalGeneration,
    processor: AuralProcessor,
    mixes: Sequence[DescribedMix],
    label: str,
    console: Console,
    size: int = 20,
) -> list[Caption]:
    """Caption mixes with the model's own beam search."""
    found: list[Caption] = []
    for start in track(range(0, len(mixes), size), description=label, console=console, transient=True):
        windows = [AudioWindow(f"mix {start + i}", 0.0, one.audio, None) for i, one in enumerate(mixes[start:][:size])]
        found += caption_batch(windows, model, processor)
    return found


def draw(processor: AuralProcessor, mix: DescribedMix, told: Caption, path: Path) -> dict[str, str]:
    """Draw where each word of a caption looked; returns what stands under the picture."""
    extractor = processor.feature_extractor
    features = extractor(mix.audio, sampling_rate=SAMPLING_RATE, padding=False)["input_features"][0]
    figure = plot_caption(
        features,
        [word.attention for word in told.words],
        [word.text for word in told.words],
        told.grid,
        extractor.seconds_per_frame,
        mix.sounds,
        f"“{told.text}”",
    )
    save_figure(figure, path)
    return {"caption": f"Where each word of “{told.text}” looked; what was mixed: “{mix.texts[0]}”."}


def run_captions(
    corpus: str | Path, out: str | Path, plan: CaptionPlan, seed: int = 0, console: Console | None = None
) -> dict[str, Any]:
    """Get the sounds, train, measure, draw and save.

    Args:
        corpus: Folder with `drums/` and `effects/`; what is not there is made there, from Debian's packages.
        out: Folder for `model/`, `report.json` and `captions.png`; an earlier demo there is replaced, anything else is
            left alone.
        plan: How much to do.
        seed: What the run follows from; with the same machine the weights repeat bit by bit.
        console: Where progress and results are shown.

    Returns:
        The report.

    Raises:
        OSError: The sounds cannot be read or made, or `out` is a file, or holds something else than a demo.
        ImportError: sacrebleu is not installed.
    """
    require_bleu()  # before the quarter of an hour, not after it
    console, out = console or Console(), Path(out).resolve()
    with demo_folder(out, ("model", REPORT_NAME, PICTURE), REPORT_NAME) as folder, one_thread():
        sounds = load_sounds(Path(corpus), plan.held_out)
        training = [*sounds.heard, *sounds.effects]
        processor = make_processor(training, seed)
        started = time.perf_counter()
        processes = 1 if torch.cuda.is_available() else plan.processes
        computed = in_processes(processes, learn, training, processor, plan, seed, str(folder.parent), console.quiet)
        trained = time.perf_counter() - started
        settings = {**asdict(plan), "processes": processes}
        model = SpectrogramTransformerForConditionalGeneration.from_pretrained(folder.parent / LEARNT).eval()
        report = {
            **facts(sounds, settings, model.num_parameters(), seed, sum(computed)),
            **_results(model, processor, sounds, plan, seed, folder / PICTURE, console),
            "seconds": {"training": trained, "total": time.perf_counter() - started},
            "machine": machine_facts(threads=1),
        }
        save(folder, model, processor, report)
    console.print(said(report, out), markup=False, highlight=False, soft_wrap=True)
    return report


def _results(
    model: SpectrogramTransformerForConditionalGeneration,
    processor: AuralProcessor,
    sounds: Sounds,
    plan: CaptionPlan,
    seed: int,
    picture: Path,
    console: Console,
) -> dict[str, Any]:
    """What the model says of arrangements it was not trained on, and the picture of the first that has three parts."""
    results, example = [], None
    for name, drums in (("recordings heard", sounds.heard), ("kits never heard", sounds.unheard)):
        test = MixCaptions([*drums, *sounds.effects], plan.test, seed + TEST_SEED, stages=SEVERAL, held_out=True)
        mixes = [test.compose(index) for index in range(len(test))]
        told = tell(model, processor, mixes, name, console)
        results.append(test_result(name, mixes, told, seed))
        if example is None:
            place = next((i for i, mix in enumerate(mixes) if len(mix.told.parts) > 2), 0)
            example = draw(processor, mixes[place], told[place], picture)
    return {"results": results, "example": example}

"""A LAS against one made of speechbrain's parts, and against itself in fewer bits.

The rival's rows need speechbrain; `make bench-rivals` installs it in a venv of its own and prints this table, and
where it is missing they are left out. Alone it prints the bytes that one search adds to a process at its peak:

    OMP_NUM_THREADS=1 python -m tests.benchmarks.bench_las ours
"""

import os
import re
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass
from functools import partial, wraps
from pathlib import Path
from typing import Any

import torch

from aural import AuralProcessor, LasConfig, LasForConditionalGeneration
from aural.demo import WORDS
from aural.modeling.quantize import quantize_dynamic
from aural.training.clips import load_clips
from aural.training.collator import SpeechCollator
from aural.training.compose import STRINGS as COMPOSITION
from aural.training.compose import ComposedStrings
from aural.training.metrics import score_texts

from .rival_speechbrain import EMBEDDING, EOS, LAYERS, LISTENER, MELS, SPELLER, VOCABULARY, RivalLas, is_installed
from .timing import medians

ROOT = Path(__file__).parents[2]
DEMO = ROOT / "model_cards" / "las-demo"
CLIPS, FRAMES, TEXT = 8, 800, 80  # 8 clips of 8 s at most, 80 characters each
SHORTEST = 400  # frames, of clips in training; those that are searched have 800 each
BEAMS = 8
ROUNDS = 9
STRINGS, BATCH = 60, 10  # of the demo's kind, held out, on which fewer bits are tried
NEVER = -1e4  # what is added to the end's logit, so that every text has 80 characters
SIZE = f"{CLIPS} x {FRAMES} frames, {TEXT} characters"


def bench() -> Iterator[dict[str, Any]]:
    """Seconds per call, but for the peak of memory; both in turns on the same numbers."""
    torch.manual_seed(0)
    if is_installed():
        yield from _training()
        yield from _searching()
    yield _generate_share()
    yield from _fewer_bits()


def _row(name: str, ours: float, theirs: float, bar: float | None, unit: str = "seconds") -> dict[str, Any]:
    return {"name": name, "ours": ours, "theirs": theirs, "unit": unit, "ratio": theirs / ours, "bar": bar}


def make_model() -> LasForConditionalGeneration:
    """Ours: the rival's sizes, and an attention that brings both to 9.8 M weights."""
    config = LasConfig(
        vocab_size=VOCABULARY,
        num_mel_bins=MELS,
        listener_hidden_size=LISTENER,
        listener_time_reductions=[2] * LAYERS,
        attention_kind="dot",
        attention_size=416,
        speller_layers=1,
        speller_hidden_size=SPELLER,
        speller_embedding_size=EMBEDDING,
    )
    return LasForConditionalGeneration(config)


def never_end(head: torch.nn.Linear) -> None:
    """Make the end so improbable that no search chooses it."""
    with torch.no_grad():
        head.bias[EOS] = NEVER


def _training() -> Iterator[dict[str, Any]]:
    """Forward, backward and AdamW, in float32; for both the fused one, which is the Trainer's own."""
    ours, theirs = make_model().train(), RivalLas().train()
    millions = [sum(p.numel() for p in model.parameters()) / 1e6 for model in (ours, theirs)]
    assert max(millions) / min(millions) < 1.02, millions
    lengths = torch.linspace(FRAMES, SHORTEST, CLIPS).long() // 2**LAYERS * 2**LAYERS
    features, mask = torch.randn(CLIPS, FRAMES, MELS), (torch.arange(FRAMES) < lengths[:, None]).long()
    labels = torch.randint(4, VOCABULARY, (CLIPS, TEXT))

    def step(loss: Callable[[], torch.Tensor], optimizer: torch.optim.Optimizer) -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    def rival(packed: bool) -> torch.Tensor:
        return theirs.loss(features, lengths / FRAMES, labels, packed)

    mine = partial(
        step, lambda: ours(features, mask, labels=labels).loss, torch.optim.AdamW(ours.parameters(), fused=True)
    )
    optimizer = torch.optim.AdamW(theirs.parameters(), fused=True)
    both = [partial(step, partial(rival, packed), optimizer) for packed in (True, False)]
    seconds, packed, unpacked = medians(ROUNDS, mine, *both)
    name = f"LAS training step, {SIZE}, {millions[0]:.1f} M weights, against speechbrain"
    yield _row(f"{name} with packing (the same function)", seconds, packed, 3.0)
    yield _row(f"{name} without packing (which reads padding)", seconds, unpacked, 1.5)


@dataclass
class Contestant:
    """A model in two parts.

    Args:
        listen: Features `(batch, frames, mels)` → what the listener heard.
        search: That, and the number of beams → tokens of exactly 80 steps.
    """

    listen: Callable[[torch.Tensor], Any]
    search: Callable[[Any, int], Any]

    def transcribe(self, features: torch.Tensor, beams: int) -> Any:
        """Features to tokens."""
        return self.search(self.listen(features), beams)


def our_own() -> Contestant:
    """Our model, untrained, whose texts never end."""
    model = make_model().eval()
    never_end(model.lm_head)

    def search(heard: Any, beams: int) -> Any:
        tokens = model.generate(encoder_outputs=heard, num_beams=beams, max_new_tokens=TEXT)
        assert tokens.shape[1] == 1 + TEXT, tokens.shape
        return tokens

    return Contestant(model.model.listener, search)


def the_rival() -> Contestant:
    """The rival, likewise. All clips are as long, so that it needs no packing to give the same function."""
    model = RivalLas().eval()
    never_end(model.head.w)

    def search(heard: torch.Tensor, beams: int) -> Any:
        searcher = model.searcher(beams, TEXT, heard.shape[1])
        tokens = searcher(heard, torch.ones(len(heard)))[0]
        assert all(len(row) in (TEXT - 1, TEXT) for row in tokens), [len(row) for row in tokens]
        return tokens

    return Contestant(lambda features: model.listen(features, None), search)


@torch.inference_mode()
def _searching() -> Iterator[dict[str, Any]]:
    """From features to tokens, and from what the listener heard to tokens."""
    both = (our_own(), the_rival())
    features = torch.randn(CLIPS, FRAMES, MELS)
    heard = [one.listen(features) for one in both]
    for beams, bar in ((1, 1.3), (BEAMS, 2.0)):
        kind = f"LAS {'greedy' if beams == 1 else f'beam {beams}'}, {SIZE}, against speechbrain"
        whole = [partial(one.transcribe, features, beams) for one in both]
        alone = [partial(one.search, states, beams) for one, states in zip(both, heard, strict=True)]
        yield _row(kind, *medians(ROUNDS, *whole), bar)
        yield _row(f"{kind}, the search alone", *medians(ROUNDS, *alone), None)
    peaks = [_peak(who) / 2**20 for who in ("ours", "theirs")]
    yield _row(f"LAS beam {BEAMS}, {SIZE}, peak memory of the search, against speechbrain", *peaks, 2.0, "MiB")


def _peak(who: str) -> int:
    """Bytes that a search adds to a process of its own."""
    path = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
    # Blocks from 64 KB on go back to the kernel when they are freed, so that nothing freed hides what comes after.
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": path, "MALLOC_MMAP_THRESHOLD_": "65536"}
    run = subprocess.run([sys.executable, "-m", __name__, who], capture_output=True, text=True, env=environment)
    if run.returncode:
        raise RuntimeError(f"the search of {who} failed:\n{run.stderr[-2000:]}")
    return int(run.stdout.split()[-1])


def main(who: str) -> None:
    """Print the bytes that a search with 8 beams adds at its peak to what the process holds with the model loaded.

    A search of two short clips comes first, so that code, and what libraries keep for themselves, is in place. The
    kernel's high-water mark of the process is then set back (Linux), and read after the search.
    """
    torch.set_num_threads(1)
    torch.manual_seed(0)
    one = {"ours": our_own, "theirs": the_rival}[who]()
    with torch.inference_mode():
        one.search(one.listen(torch.randn(2, FRAMES // 2, MELS)), 2)
        heard = one.listen(torch.randn(CLIPS, FRAMES, MELS))
        Path("/proc/self/clear_refs").write_text("5")
        before = _memory("VmRSS")
        one.search(heard, BEAMS)
        print(_memory("VmHWM") - before)


def _memory(field: str) -> int:
    found = re.search(rf"{field}:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None, f"the kernel does not tell {field}"
    return int(found[1]) * 1024


def _generate_share() -> dict[str, Any]:
    """How much of a greedy step is `generate()` itself."""
    model = make_model().eval()
    never_end(model.lm_head)
    spent: list[float] = []
    forward = model.forward

    @wraps(forward)
    def timed(*args: Any, **kwargs: Any) -> Any:
        start = time.process_time()
        try:
            return forward(*args, **kwargs)
        finally:
            spent.append(time.process_time() - start)

    model.forward = timed  # type: ignore[method-assign]
    whole, inside = [], []
    with torch.inference_mode():
        listened = model.model.listener(torch.randn(CLIPS, FRAMES, MELS))
        for _ in range(ROUNDS + 1):
            spent.clear()
            start = time.process_time()
            model.generate(encoder_outputs=listened, num_beams=1, max_new_tokens=TEXT)
            whole.append((time.process_time() - start) / TEXT * 1000)
            inside.append(sum(spent) / TEXT * 1000)
    step, model_share = (statistics.median(each[1:]) for each in (whole, inside))
    share = 1 - model_share / step
    name = f"LAS greedy step, {CLIPS} clips, with generate() against the model alone: {share:.0%} is not the model"
    return _row(name, step, model_share, None, "ms")


def _fewer_bits() -> Iterator[dict[str, Any]]:
    """The size above, for seconds; the demo's model on held-out strings, for word errors."""
    model, features = make_model().eval(), torch.randn(CLIPS, FRAMES, MELS)
    never_end(model.lm_head)
    kinds = {"bf16": lambda m: deepcopy(m).to(torch.bfloat16), "int8": quantize_dynamic}

    @torch.inference_mode()
    def search(model: LasForConditionalGeneration) -> None:
        model.generate(features, num_beams=BEAMS, max_new_tokens=TEXT)

    copies = [convert(model) for convert in kinds.values()]
    full, *fewer = medians(2, *(partial(search, each) for each in (model, *copies)))
    errors = [_word_errors(convert) for convert in (lambda m: m, *kinds.values())]
    for kind, seconds, found in zip(kinds, fewer, errors[1:], strict=True):
        change = f"WER {found:.2%} against {errors[0]:.2%} on {STRINGS} strings of the demo"
        yield _row(f"LAS beam {BEAMS}, {SIZE}, {kind} against float32; {change}", seconds, full, None)


def _word_errors(convert: Callable[[Any], Any]) -> float:
    """Word error rate of a copy of the demo's model on strings that it has not seen."""
    model, processor = LasForConditionalGeneration.from_pretrained(DEMO).eval(), AuralProcessor.from_pretrained(DEMO)
    strings = ComposedStrings(load_clips(WORDS), processor, STRINGS, seed=30_000, stages=COMPOSITION, held_out=True)
    copy, collate, written = convert(model), SpeechCollator(), []
    for start in range(0, STRINGS, BATCH):
        batch = collate([strings[i] for i in range(start, start + BATCH)])
        tokens = copy.generate(batch["input_features"], attention_mask=batch["attention_mask"], num_beams=BEAMS)
        written += processor.batch_decode(tokens, skip_special_tokens=True)
    return score_texts([strings.compose(i)[1] for i in range(STRINGS)], written)["wer"]


if __name__ == "__main__":
    main(sys.argv[1])

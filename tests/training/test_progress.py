"""What a run shows where nobody looks at a bar."""

import io

from rich.console import Console
from transformers import TrainerControl, TrainerState, TrainingArguments

from aural.training.progress import RichProgress


def shown(tmp_path, terminal, lines=True, first=True):
    out = io.StringIO()
    bar = RichProgress(Console(file=out, force_terminal=terminal, width=100), lines=lines)
    state = TrainerState(global_step=50, max_steps=200, is_world_process_zero=first)
    common = (TrainingArguments(str(tmp_path), use_cpu=True), state, TrainerControl())
    bar.on_train_begin(*common)
    bar.on_log(*common, logs={"loss": 2.34567, "grad_norm": 1.0, "epoch": 0.5})
    bar.on_log(*common, logs={"eval_wer": 0.5, "eval_runtime": 3.0})
    bar.on_log(*common, logs={"train_runtime": 3.0})
    bar.on_train_end(*common)
    return out.getvalue()


def test_a_file_gets_a_line_per_log_with_what_matters(tmp_path):
    assert shown(tmp_path, terminal=False) == "training 50/200: loss 2.346\ntraining 50/200: wer 0.5\n"


def test_a_terminal_gets_the_bar_and_other_processes_nothing(tmp_path):
    assert "50/200" in shown(tmp_path, terminal=True) and "loss 2.35" in shown(tmp_path, terminal=True)
    assert "wer 0.5" not in shown(tmp_path, terminal=True)
    assert shown(tmp_path, terminal=False, first=False) == ""

"""The report of a Trainer's run: measured, read off its arguments, or told by whoever trained, and nothing else.

    facts = card_facts({"license": "cc-by-4.0", "language": "en", "dataset": "my clips"})
    write_report(folder, trainer_report(trainer, facts, base_model=None))

What is notable here:

- results are of the model as a loader gets it (`measuring.py`): its own `generate`, beams and length limit, whatever
  the evaluations during training used (`generation_num_beams=1` is common there), or its probabilities;
- what nobody told and nothing measured is null or left out: no hours without durations, no learning rate of an
  optimizer that was handed over.
"""

import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from .measuring import measure
from .report_reader import LANGUAGE, LICENSE
from .reports import machine_facts
from .texts import writes_text

HOW = 'as in trainer.push_to_hub(license="cc-by-4.0", language="en", dataset="my clips") or AuralTrainer(…, card={…})'
MEASURED = "What the Trainer had as eval_dataset; nothing checks that training did not use it."
TESTED = "Measured once, when training was over; it steered nothing."
TEST_LIMIT = "Measured on test sets that its data came with: other sources, rooms and recorders may fare worse."
LIMIT = "Measured on the evaluation set of its own training alone: other voices, rooms and words may fare worse."
SOUND_LIMIT = (
    "Measured on the evaluation set of its own training alone: other sources, rooms and recorders may fare worse."
)
CHOSEN = "The evaluation set also chose the best checkpoint, which flatters the model."


@dataclass(frozen=True)
class CardFacts:
    """What a card says and no run can measure; the first two are required.

    Args:
        license: Of the model: the Hub's identifier, such as "cc-by-4.0".
        dataset: Name of the training data, or names.
        language: ISO 639 code, or "multilingual"; required of a model that writes text.
        dataset_tags: Its Hub id, or ids: shown as where the data comes from.
        data_license: Of the training data; several as a list.
        model_name: Title; default: the repository's or the output folder's name.
        finetuned_from: Base model; default: what the model was loaded from; "" for none.
        about: One sentence on the model.
        limits: What it cannot do, beside what every such card says of its evaluation.
    """

    license: str
    dataset: str | Sequence[str]
    language: str | None = None
    dataset_tags: str | Sequence[str] = ()
    data_license: str | Sequence[str] = "not stated"
    model_name: str | None = None
    finetuned_from: str | None = None
    about: str | None = None
    limits: str | Sequence[str] = ()


FACTS = tuple(field.name for field in fields(CardFacts))


def card_facts(told: Mapping[str, Any], text: bool = True) -> CardFacts:
    """`told` as `CardFacts`; None counts as not told, and `dataset_tags` names the data where `dataset` does not.

    Args:
        told: By name.
        text: Whether the card is of a model that writes text, which has a language.

    Raises:
        ValueError: A name that is none of `CardFacts`, a fact that is missing, or an ill-formed licence or language.
    """
    told = {name: value for name, value in told.items() if value is not None}
    if unknown := sorted(told.keys() - set(FACTS)):
        raise ValueError(f"{unknown[0]}={told[unknown[0]]!r} is no fact of a card; allowed: {', '.join(FACTS)}")
    told.setdefault("dataset", told.get("dataset_tags"))
    needed = ("license", "language", "dataset") if text else ("license", "dataset")
    if missing := [name for name in needed if not told.get(name)]:
        raise ValueError(f"a card needs {', '.join(missing)}: say it {HOW}")
    for name, pattern, allowed in (
        ("license", LICENSE, "an identifier of the Hub, such as 'cc-by-4.0'"),
        ("language", LANGUAGE, "an ISO 639 code such as 'en', or 'multilingual'"),
    ):
        if name in told and (not isinstance(told[name], str) or not pattern.fullmatch(told[name])):
            raise ValueError(f"{name}={told[name]!r} must be {allowed}")
    return CardFacts(**told)


def base_of(model: Any, output_dir: str | Path) -> str | None:
    """What a model was loaded from: a Hub id whole, of a folder its last part; None for neither.

    `output_dir` and the checkpoints in it are the run's own and no base.
    """
    name = str(getattr(getattr(model, "config", None), "_name_or_path", None) or "")
    folder, output = Path(name).resolve(), Path(output_dir).resolve()
    if not name or folder == output or (folder.parent == output and folder.name.startswith(PREFIX_CHECKPOINT_DIR)):
        return None
    if not folder.exists() and re.fullmatch(r"\w[\w.-]*/[\w.-]+", name):
        return name
    return folder.name


def trainer_report(
    trainer: Any, facts: CardFacts, base_model: str | None, tests: Mapping[str, Mapping[str, Any]] | None = None
) -> dict[str, Any]:
    """Measure the model of a `Trainer` on its evaluation data, and tell how it was trained.

    Args:
        trainer: An `AuralTrainer`; its `eval_dataset` is a data set or a dict of them.
        facts: What is known besides.
        base_model: `base_of` the model, used where `facts` do not say.
        tests: By name, what `measure` gave of test sets; None measures the evaluation data.

    Returns:
        The report, ready for `write_report`.

    Raises:
        ValueError: The evaluation data have no labels, or none that a score can be counted from.
    """
    started = time.perf_counter()
    results = _results(trainer, facts) if tests is None else _tested(tests)
    measuring, training = time.perf_counter() - started, _training_seconds(trainer)
    told_base = facts.finetuned_from
    base = base_model if told_base is None else told_base or None
    title = facts.model_name or Path(trainer.hub_model_id or trainer.args.hub_model_id or _output(trainer)).name
    start = "Trained" if base is None else f"{base}, fine-tuned"
    chosen = [CHOSEN] if tests is None and trainer.args.load_best_model_at_end else []
    text = writes_text(trainer.model)
    return {
        "title": title,
        "about": facts.about or f"{start} with aural on {_listed(facts.dataset)}.",
        "language": facts.language,
        "license": facts.license,
        "base_model": base,
        "data": [_data(trainer, facts)],
        "recipe": _recipe(trainer),
        "seed": trainer.args.seed,
        "results": results,
        **({"example": results[0]["transcripts"][0]} if "transcripts" in results[0] else {}),
        "limits": [
            *([facts.limits] if isinstance(facts.limits, str) else facts.limits),
            TEST_LIMIT if tests is not None else LIMIT if text else SOUND_LIMIT,
            *chosen,
        ],
        "seconds": {"training": training, "total": None if training is None else training + measuring},
        "machine": machine_facts() | ({"device": "cpu"} if trainer.args.device.type == "cpu" else {}),
    }


def _output(trainer: Any) -> Path:
    return Path(trainer.args.output_dir).resolve()


def _listed(names: str | Sequence[str]) -> str:
    return names if isinstance(names, str) else ", ".join(names)


def _results(trainer: Any, facts: CardFacts) -> list[dict[str, Any]]:
    sets = trainer.eval_dataset
    named = sets if isinstance(sets, dict) else {_listed(facts.dataset): sets}
    return [
        {"dataset": name, "split": "evaluation", "about": MEASURED, **measure(trainer, dataset)}
        for name, dataset in named.items()
    ]


def _tested(tests: Mapping[str, Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{"dataset": name, "split": "test", "about": TESTED, **result} for name, result in tests.items()]


def _training_seconds(trainer: Any) -> float | None:
    """Wall time of the last `train()`; 0 before the first step, None amid one."""
    times = [entry["train_runtime"] for entry in trainer.state.log_history if "train_runtime" in entry]
    return times[-1] if times else None if trainer.state.global_step else 0.0


def _data(trainer: Any, facts: CardFacts) -> dict[str, Any]:
    durations = getattr(trainer.train_dataset, "durations", None)
    return {
        "name": _listed(facts.dataset),
        "license": facts.data_license if isinstance(facts.data_license, str) else list(facts.data_license),
        "hours": None if durations is None else round(sum(durations) / 3600, 4),
        "source": _listed(facts.dataset_tags) or "named by whoever trained the model",
    }


def _recipe(trainer: Any) -> dict[str, Any]:
    """The telling arguments, as plain values."""
    args, state = trainer.args, trainer.state
    precision = "bfloat16, mixed" if args.bf16 else "float16, mixed" if args.fp16 else None
    schedule = {
        "optimizer": args.optim,
        "learning_rate": args.learning_rate,
        "schedule": args.lr_scheduler_type,
        "warmup_steps": args.warmup_steps,
        "weight_decay": args.weight_decay,
    }
    recipe = {
        "updates": state.global_step,
        "epochs": round(state.epoch or 0.0, 3),
        "batch_size": args.per_device_train_batch_size,
        "gradient_accumulation_steps": args.gradient_accumulation_steps,
        "processes": args.world_size,
        **({"optimizer": "given to the Trainer"} if trainer.optimizer_was_given else schedule),
        "max_grad_norm": args.max_grad_norm,
        "precision": precision or str(trainer.model.dtype).removeprefix("torch."),
        "parameters": trainer.model.num_parameters(),
    }
    return {name: getattr(value, "value", value) for name, value in recipe.items()}  # enums by their value

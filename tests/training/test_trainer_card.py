"""A training of the user's own reaches its report, its card and `aural publish`, with numbers that were measured."""

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from datasets import Dataset
from huggingface_hub import ModelCard
from transformers import AutoModelForSpeechSeq2Seq, Seq2SeqTrainer, Seq2SeqTrainingArguments, TrainerCallback

from aural import AuralProcessor, LogMelFeatureExtractor, train_tokenizer
from aural.training.cards import check_card, write_card
from aural.training.collator import SpeechCollator
from aural.training.data import SpeechDataset
from aural.training.metrics import compute_metrics, score_texts
from aural.training.publishing import plan_publication
from aural.training.trainer import AuralTrainer
from aural.training.trainer_report import base_of
from tests.tiny import tiny_las
from tests.whole import save_folder, wave

TOLD = {"license": "cc-by-4.0", "language": "en", "dataset": "my clips"}
SPOKEN = ["a", "ab c", "axe", "d a b", "c"]  # the vocabulary has no x and no e
HEARD = ["a", "ab c", "a\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}", "d a b", "c"]


def make_data(processor: AuralProcessor, texts: list[str] = SPOKEN) -> SpeechDataset:
    waves = [{"array": wave(0.2 + 0.05 * i, seed=i), "sampling_rate": 16_000} for i in range(len(texts))]
    return SpeechDataset(Dataset.from_dict({"audio": waves, "text": texts}), processor)


def make_trainer(folder: Path, model: Any = None, trainer_class: Any = AuralTrainer, **options: Any) -> Any:
    """A Trainer of two updates; `options` go to it where it knows them, else to its arguments."""
    processor = AuralProcessor(LogMelFeatureExtractor(num_mel_bins=6), train_tokenizer(["abcd "]))
    given = {
        "processing_class": processor,
        "eval_dataset": make_data(processor),
        **{name: options.pop(name) for name in ("card", "eval_dataset", "processing_class") if name in options},
    }
    arguments = {"max_steps": 2, "per_device_train_batch_size": 2, "save_strategy": "no", "report_to": "none"}
    return trainer_class(
        model=model or tiny_las(scale=0.3),
        args=Seq2SeqTrainingArguments(
            output_dir=str(folder), use_cpu=True, disable_tqdm=True, **{**arguments, **options}
        ),
        data_collator=SpeechCollator(mels=6),
        train_dataset=make_data(processor),
        **given,
    )


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A trainer after its run from a folder, with a card."""
    place = tmp_path_factory.mktemp("place")
    model = AutoModelForSpeechSeq2Seq.from_pretrained(save_folder(place / "my-base", scale=0.3))
    trainer = make_trainer(
        place / "my-run",
        model,
        save_strategy="steps",
        save_steps=2,
        learning_rate=0.003,
        gradient_accumulation_steps=2,
        predict_with_generate=True,
    )
    trainer.train()
    trainer.save_state()
    trainer.save_metrics("train", {"loss": 1.0})
    trainer.create_model_card(**TOLD, dataset_tags=["me/clips"], data_license="CC0-1.0", limits="Knows four letters.")
    return trainer


@pytest.fixture
def report(trained) -> dict[str, Any]:
    return json.loads((Path(trained.args.output_dir) / "report.json").read_text(encoding="utf-8"))


def test_results_are_of_the_saved_models_own_generate(trained, report):
    model = AutoModelForSpeechSeq2Seq.from_pretrained(trained.args.output_dir).eval()
    items = trained.eval_dataset
    batch = trained.data_collator([items[index] for index in range(len(items))])
    labels = batch.pop("labels")
    written = [
        trained.processing_class.tokenizer.decode(
            [token for token in ids.tolist() if token != trained.processing_class.tokenizer.unk_token_id],
            skip_special_tokens=True,
        )
        for ids in model.generate(**batch)
    ]
    result = report["results"][0]
    assert [pair["spoken"] for pair in result["transcripts"]] == HEARD
    assert [pair["written"] for pair in result["transcripts"]] == written
    assert {name: result[name] for name in score_texts(HEARD, written)} == score_texts(HEARD, written)
    ids = model.generate(**batch)
    prediction = type("Prediction", (), {"predictions": ids.numpy(), "label_ids": labels.numpy()})
    scores = compute_metrics(trained.processing_class)(prediction)
    assert (result["wer"], result["cer"]) == (scores["wer"], scores["cer"])
    assert report["example"] == result["transcripts"][0]


def test_the_report_says_how_it_was_trained_and_on_what(trained, report):
    recipe = report["recipe"]
    expected = {"updates": 2, "batch_size": 2, "gradient_accumulation_steps": 2, "processes": 1}
    expected |= {"learning_rate": 0.003, "schedule": "linear", "precision": "float32"}
    assert {name: recipe[name] for name in expected} == expected
    assert recipe["parameters"] == trained.model.num_parameters()
    seconds = sum(trained.train_dataset.durations)
    hours = round(seconds / 3600, 4)
    assert report["data"] == [{"name": "my clips", "license": "CC0-1.0", "hours": hours, "source": "me/clips"}]
    assert report["seconds"]["total"] > report["seconds"]["training"] > 0
    assert report["seconds"]["training"] == trained.state.log_history[-1]["train_runtime"]
    assert report["title"] == "my-run"
    assert report["limits"][0] == "Knows four letters."
    assert len(report["limits"]) == 2


def test_the_card_names_its_base_and_no_local_path(trained, report):
    folder = Path(trained.args.output_dir)
    text = (folder / "README.md").read_text(encoding="utf-8")
    check_card(text, folder)
    assert report["base_model"] == "my-base"
    assert "Fine-tuned from my-base." in text
    assert ModelCard(text).data.base_model is None  # not on the Hub, where the name may be somebody's
    assert str(folder.parent) not in text + json.dumps(report)


def test_a_trainers_folder_is_publishable(trained):
    folder = Path(trained.args.output_dir)
    (folder / "runs").mkdir(exist_ok=True)
    plan = plan_publication(folder, "user/name")
    assert plan.left_out == ("all_results.json", "checkpoint-2", "runs", "train_results.json", "trainer_state.json")
    assert {"README.md", "report.json", "model.safetensors"} <= {file.name for file in plan.files}


def test_a_stock_trainers_folder_is_publishable_without_its_pickle(tmp_path):
    trainer = make_trainer(tmp_path / "run", trainer_class=Seq2SeqTrainer)
    trainer.save_model()
    (tmp_path / "run" / "README.md").write_text("---\nlicense: mit\n---\n")
    assert plan_publication(tmp_path / "run", "user/name").left_out == ("training_args.bin",)
    (tmp_path / "run" / "other.bin").write_bytes(b"")
    with pytest.raises(ValueError, match=r"other\.bin is pickled"):
        plan_publication(tmp_path / "run", "user/name")


def test_training_arguments_are_pickled_into_checkpoints_alone(trained):
    folder = Path(trained.args.output_dir)
    assert [path.parent.name for path in folder.rglob("training_args.bin")] == ["checkpoint-2"]


def test_every_evaluation_set_has_its_result_and_what_is_unknown_is_null(tmp_path):
    processor = AuralProcessor(LogMelFeatureExtractor(num_mel_bins=6), train_tokenizer(["abcd "]))
    sets = {"near": make_data(processor, ["a b", "c"]), "far": make_data(processor, ["d"])}
    trainer = make_trainer(tmp_path / "run", eval_dataset=sets, card={"dataset_tags": "me/clips", "language": "en"})
    trainer.train_dataset = [trainer.train_dataset[0]]
    trainer.create_model_card(license="mit", model_name="Mine")
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    assert [(each["dataset"], each["utterances"]) for each in report["results"]] == [("near", 2), ("far", 1)]
    assert (report["title"], report["base_model"]) == ("Mine", None)
    told = {"name": "me/clips", "license": "not stated", "source": "me/clips"}
    assert report["data"] == [{**told, "hours": None}]
    assert report["seconds"]["training"] == 0
    assert report["recipe"]["updates"] == 0
    write_card(tmp_path / "run", "me/run")  # `aural card` makes it again from the report


def test_an_optimizer_that_was_handed_over_is_not_described_by_the_arguments(tmp_path):
    model = tiny_las()
    trainer = make_trainer(tmp_path, model, trainer_class=lambda **options: AuralTrainer(
        **options, optimizers=(torch.optim.SGD(model.parameters(), lr=0.5), None), card=TOLD
    ))  # fmt: skip
    trainer.train()
    trainer.create_model_card()
    recipe = json.loads((tmp_path / "report.json").read_text())["recipe"]
    assert recipe["optimizer"] == "given to the Trainer"
    assert "learning_rate" not in recipe


def test_a_card_amid_training_changes_nothing_of_the_run(tmp_path):
    class Carding(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            if state.global_step == 1:
                trainers[-1].create_model_card(**TOLD)

    weights, trainers = [], []
    for name in ("plain", "carding"):
        torch.manual_seed(0)
        trainers.append(make_trainer(tmp_path / name, tiny_las(scale=0.3, listener_dropout=0.3)))
        if name == "carding":
            trainers[-1].add_callback(Carding())
        trainers[-1].train()
        weights.append(trainers[-1].model.state_dict())
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    report = json.loads((tmp_path / "carding" / "report.json").read_text())
    assert report["seconds"] == {"training": None, "total": None}
    assert "| training, h:mm:ss | – |" in (tmp_path / "carding" / "README.md").read_text()


@pytest.mark.parametrize(
    ("told", "message"),
    [
        ({"language": "en"}, r"a card needs license, dataset: say it as in trainer\.push_to_hub\(license="),
        ({**TOLD, "license": "CC BY"}, "license='CC BY' must be an identifier of the Hub"),
        ({**TOLD, "language": "english"}, "language='english' must be an ISO 639 code"),
        ({**TOLD, "licence": "mit"}, "licence='mit' is no fact of a card; allowed: license"),
    ],
)
def test_what_a_card_lacks_is_named_before_anything_is_measured_or_sent(tmp_path, told, message):
    trainer = make_trainer(tmp_path / "run")
    for call in (trainer.create_model_card, trainer.push_to_hub):
        with pytest.raises(ValueError, match=message):
            call(**told)
    assert not (tmp_path / "run" / "config.json").exists()
    assert trainer.hub_model_id is None


def test_a_card_without_measurement_is_refused(tmp_path):
    with pytest.raises(ValueError, match="eval_dataset is missing"):
        make_trainer(tmp_path, eval_dataset=None).create_model_card(**TOLD)
    with pytest.raises(ValueError, match="processing_class has no tokenizer"):
        make_trainer(tmp_path, processing_class=None).create_model_card(**TOLD)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hub_token": "hf_secret"}, r"hub_token would be saved in training_args\.bin: log in with `hf auth login`"),
        ({"push_to_hub": True}, "a card needs license, language, dataset"),
        ({"push_to_hub": True, "card": TOLD, "eval_dataset": None}, "eval_dataset is missing"),
        ({"push_to_hub": True, "card": TOLD, "hub_strategy": "all_checkpoints"}, "'all_checkpoints' sends pickles"),
        ({"card": {"licence": "mit"}}, "card has 'licence'; allowed: license"),
    ],
)
def test_a_trainer_that_could_not_push_a_card_is_not_made(tmp_path, options, message):
    with pytest.raises(ValueError, match=message) as raised:
        make_trainer(tmp_path, **options)
    assert "hf_secret" not in str(raised.value)


def test_a_base_is_a_hub_id_or_the_last_part_of_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "models" / "here").mkdir(parents=True)
    model = tiny_las()
    assert base_of(model, "run") is None
    for name, base in {
        "someone/las-base": "someone/las-base",
        str(tmp_path / "models" / "mine"): "mine",
        "models/here": "here",
        "../a/b/": "b",
        "run": None,
        "run/checkpoint-4": None,
    }.items():
        model.config._name_or_path = name
        assert base_of(model, "run") == base
    model.config._name_or_path = "someone/las-base"
    assert base_of(model, ".") == "someone/las-base"

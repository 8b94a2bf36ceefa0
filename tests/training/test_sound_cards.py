"""Cards of models that hear sounds: every number is counted from the predictions, code runs, sources are named."""

import json
import re
import shutil
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from sklearn.metrics import average_precision_score, confusion_matrix
from typer.testing import CliRunner

from aural import (
    LogMelFeatureExtractor,
    SpectrogramTransformerForAudioFrameClassification,
    SpectrogramTransformerModel,
)
from aural import tag as tag_files
from aural.cli import app
from aural.training.card_sounds import confusions, tag_classes
from aural.training.card_usage import task_of, usage
from aural.training.cards import check_card, render_card, write_card
from aural.training.citations import bibtex
from aural.training.publishing import publish_folder
from aural.training.report_reader import read_report
from aural.training.reports import write_report
from aural.training.sound_results import tag_result
from aural.training.tag_scores import MULTI
from tests.tiny_spectrogram import MELS, tiny_spectrogram
from tests.training.test_cards import HOSTILE, code_blocks, front_matter, section, structure
from tests.training.test_sound_results import LABELS, SCORES, converted, events, sound_report, tags
from tests.whole import save_tagger, wave

CONFIG = {"model_type": "spectrogram_transformer", "architectures": ["SpectrogramTransformerForAudioClassification"]}


def save_report(folder: Path, report: dict[str, Any], **config: Any) -> Path:
    folder.mkdir(exist_ok=True)
    write_report(folder, report)
    if not (folder / "config.json").exists():
        (folder / "config.json").write_text(json.dumps({**CONFIG, **config}))
    return folder


def rows(text: str, header: str) -> list[list[str]]:
    """Cells of the table whose header begins so."""
    table = text.split(f"\n{header}", 1)[1].split("\n\n")[0].split("\n")[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table if line]


def test_metrics_in_the_front_matter_are_the_reports(tmp_path):
    report = sound_report(tags(), tags(MULTI, split="several"), events(), tags(split="b", system="linear"))
    data = front_matter(str(render_card(save_report(tmp_path, report))))
    assert data["pipeline_tag"] == "audio-classification"
    assert data["tags"] == ["aural", "spectrogram_transformer", "audio-classification"]
    assert data["license"] == "cc-by-sa-3.0" and "language" not in data
    results = data["model-index"][0]["results"]
    assert len(results) == 3  # what another system did is not the model's
    for entry, result in zip(results, report["results"], strict=False):
        assert entry["task"] == {"type": "audio-classification", "name": "Audio Classification"}
        assert (entry["dataset"]["name"], entry["dataset"]["split"]) == (result["dataset"], result["split"])
        for metric in entry["metrics"]:
            assert metric["value"] == result[metric["type"]]
            assert metric["args"]["clips"] == result["clips"]
            assert metric["args"].get("interval_95") == result.get(f"{metric['type']}_interval")
    names = [[metric["type"] for metric in entry["metrics"]] for entry in results]
    assert names == [
        ["accuracy", "macro_recall", "map"],
        ["map", "auc", "d_prime"],
        ["event_f1_macro", "event_f1_micro"],
    ]
    assert data["metrics"] == ["accuracy", "macro_recall", "map", "auc", "d_prime", "event_f1_macro", "event_f1_micro"]


def test_tags_and_events_of_the_same_clips_stand_in_one_row_beside_the_baseline(tmp_path):
    place = {"dataset": "mixes", "split": "two sounds", "about": "Kits it never heard."}
    several = {**tag_result(["a", "b", "c"], np.eye(3)[[0, 1, 1]], SCORES[:3], ["x", "y", "z"], MULTI), **place}
    report = sound_report(
        several, events(), {**several, "system": "linear | model"}, events(system="linear | model"), tags()
    )
    text = section(str(render_card(save_report(tmp_path, report))), "Results")
    table = rows(text, "| Data |")
    header = next(line for line in text.splitlines() if line.startswith("| Data |"))
    assert header.startswith("| Data | System | Clips | Accuracy (95% interval) | Macro recall (95% interval) | Mean")
    assert "| Mean ROC area | d′ | Event F1, macro (95% interval) |" in header
    assert [row[:3] for row in table] == [
        ["mixes (two sounds)", "this model", "3"],
        ["mixes (two sounds)", "linear &vert; model", "3"],
        ["drums (five folds)", "this model", "6"],
    ]
    low, high = several["map_interval"]
    assert table[0][5] == f"{several['map']:.3f} ({low:.3f} to {high:.3f})"
    assert table[0][3] == table[0][4] == "–"
    low, high = events()["event_f1_macro_interval"]
    assert table[0][8] == f"{events()['event_f1_macro']:.3f} ({low:.3f} to {high:.3f})"
    assert table[2][3] == "66.7% (33.3% to 100.0%)"
    assert text.count("mixes (two sounds): Kits it never heard.") == 1
    assert "begins at most 0.2 s off; each counts once" in text


def test_the_condition_on_ends_is_said(tmp_path):
    text = str(render_card(save_report(tmp_path, sound_report(events(0.5)))))
    assert "begins at most 0.2 s off, and ends at most 0.2 s or 50% of its length off; each counts once" in text


def test_without_a_baseline_there_is_no_column_for_it(tmp_path):
    assert "| Data | Clips | Accuracy" in str(render_card(save_report(tmp_path, sound_report(tags()))))


def test_every_class_has_its_recall_precision_and_average_precision(tmp_path):
    text = section(str(render_card(save_report(tmp_path, sound_report(tags())))), "Classes")
    present, scores = np.eye(3)[LABELS], np.array(SCORES)
    each = [f"{average_precision_score(present[:, index], scores[:, index]):.3f}" for index in range(3)]
    # heard: kick, snare, snare, snare, hihat, snare
    assert rows(text, "| Class |") == [
        ["kick", "2", "50.0%", "100.0%", each[0]],
        ["snare", "2", "100.0%", "50.0%", each[1]],
        ["hihat", "2", "50.0%", "100.0%", each[2]],
    ]


def test_classes_of_several_labels_count_from_a_threshold(tmp_path):
    labels = np.array([[1, 0], [1, 0], [0, 0]])
    result = {
        **tags(),
        **tag_result(["a", "b", "c"], labels, [[0.5, 0.1], [0.49, 0.9], [0.7, 0.2]], ["x", "y"], MULTI),
    }
    text = str(render_card(save_report(tmp_path, sound_report(result))))
    table = rows(section(text, "Classes"), "| Class |")
    assert table[0][:4] == ["x", "2", "50.0%", "50.0%"]
    assert table[1] == ["y", "0", "–", "0.0%", "–"]
    assert "a label is given from a score of 0.5" in text
    assert "## Confusions" not in text


def test_events_are_counted_by_class(tmp_path):
    text = section(str(render_card(save_report(tmp_path, sound_report(events())))), "Classes")
    assert rows(text, "| Class |") == [
        ["kick", "1", "100.0%", "50.0%", "0.667"],
        ["snare", "1", "0.0%", "0.0%", "0.000"],
        ["hihat", "1", "100.0%", "100.0%", "1.000"],
    ]


def test_confusions_are_scikit_learns(tmp_path):
    text = section(str(render_card(save_report(tmp_path, sound_report(tags())))), "Confusions")
    counts = [[int(cell) for cell in row[1:]] for row in rows(text, "|  | kick |")]
    assert counts == confusion_matrix(LABELS, np.argmax(SCORES, axis=1)).tolist()


def many_classes(tmp_path: Path, classes: int) -> Any:
    labels = np.arange(classes).repeat(2)
    scores = 0.1 * np.random.default_rng(0).random((2 * classes, classes)) + np.eye(classes)[labels]
    scores[:2] = np.eye(classes)[1]  # class 0 is always taken for class 1
    names = [f"class {index}" for index in range(classes)]
    result = {**tags(), **tag_result([str(i) for i in range(2 * classes)], labels, scores, names)}
    return read_report(write_report(tmp_path, sound_report(result))).results[0]


def test_many_classes_show_the_most_frequent_confusions_and_the_best_and_the_worst(tmp_path):
    result = many_classes(tmp_path, 60)
    assert rows(confusions(result), "| What it is |") == [["class 0", "class 1", "2"]]
    text = tag_classes(result)
    assert "The 25 best of 60 classes" in text and "The 25 worst" in text
    shown = [row[0] for row in rows(text.split("The 25 worst")[1], "| Class |")]
    assert len(shown) == 25 and shown[-1] == "class 0"
    assert text.count("| class ") == 50


def test_best_and_worst_clips_are_those_with_the_widest_and_the_narrowest_margin(tmp_path):
    labels, scores, names = [0] * 12, [[i / 20, 0.3] for i in range(12)], [f"{i}.wav" for i in range(12)]
    result = {**tags(), **tag_result(names, labels, scores, ["x", "y"])}
    text = section(str(render_card(save_report(tmp_path, sound_report(result)))), "Clips")
    assert [row[0] for row in rows(text, "| Clip |")] == ["11.wav", "10.wav", "9.wav", "8.wav", "7.wav"]
    worst = rows(text.split("The 5 worst")[1], "| Clip |")
    assert [row[0] for row in worst] == ["0.wav", "1.wav", "2.wav", "3.wav", "4.wav"]
    assert worst[1] == ["1.wav", "x", "y 0.30", "-0.25"]
    few = section(str(render_card(save_report(tmp_path, sound_report(tags())))), "Clips")
    assert "All of drums (five folds), best first." in few
    assert rows(few, "| Clip |")[0] == ["a.wav", "kick", "kick 0.90", "0.84"]


def test_clips_with_several_labels_or_none_have_a_margin(tmp_path):
    labels = [[1, 1, 0], [0, 0, 0], [1, 1, 1]]
    scores = [[0.9, 0.2, 0.5], [0.1, 0.6, 0.2], [0.3, 0.4, 0.5]]
    result = {**tags(), **tag_result(["a", "b", "c"], labels, scores, ["x", "y", "z"], MULTI)}
    text = section(str(render_card(save_report(tmp_path, sound_report(result)))), "Clips")
    assert rows(text, "| Clip |") == [
        ["c", "x, y, z", "z 0.50, y 0.40, x 0.30", "0.30"],
        ["a", "x, y", "x 0.90, z 0.50", "-0.30"],
        ["b", "–", "y 0.60", "-0.60"],
    ]


def test_clips_of_events_are_shown_by_their_f1(tmp_path):
    text = section(str(render_card(save_report(tmp_path, sound_report(events())))), "Clips")
    assert rows(text, "| Clip |") == [
        ["b.wav", "hihat 0.20", "hihat 0.20", "1 of 1"],
        ["a.wav", "kick 0.10, snare 0.50", "kick 0.15, snare 0.90", "1 of 2"],
        ["c.wav", "–", "kick 1.00", "0 of 0"],
    ]


def test_all_licences_of_the_data_are_named(tmp_path):
    text = str(render_card(save_report(tmp_path, sound_report(tags()))))
    assert "| kits | GPL-2, CC0-1.0 | 0.2 | hydrogen |" in section(text, "Data")


@pytest.mark.parametrize("kind", ["tags", "events"])
def test_the_picture_is_that_of_the_kind(tmp_path, kind):
    folder = save_report(
        tmp_path, sound_report(tags() if kind == "tags" else events(), example={"caption": "A kick."})
    )
    (folder / "alignment.png").write_bytes(b"\x89PNG")
    assert ".png" not in str(render_card(folder))
    (folder / f"{kind}.png").write_bytes(b"\x89PNG")
    assert f"]({kind}.png)\n\nA kick.\n\n## Results" in str(render_card(folder))


def test_a_card_that_was_changed_does_not_pass(tmp_path):
    folder = save_report(tmp_path, sound_report(tags()))
    text = write_card(folder).read_text(encoding="utf-8")
    check_card(text, folder)
    with pytest.raises(ValueError, match="model-index is not that of"):
        check_card(text.replace("value: 0.6666666666666666", "value: 0.7"), folder)
    with pytest.raises(ValueError, match="language is not that of"):
        check_card(text.replace("license: cc", "language: en\nlicense: cc"), folder)


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_stay_texts(tmp_path, text):
    def hostile(text: str) -> dict[str, Any]:
        names = [f"{text}{index}" for index in range(3)]
        result = {**tags(), **tag_result([text] * 6, LABELS, SCORES, names), "system": text}
        report = sound_report(result, {**events(), "about": text}, {**result, "system": None, "split": text})
        report["converted"] = converted(file=text, dialect=text, source_license=text, unused=[text], note=text)[
            "converted"
        ]
        return {**report, "example": {"caption": text}, "base_model": text}

    cards = []
    for name, words in (("hostile", text), ("tame", "word")):
        folder = save_report(tmp_path / name, sound_report(tags()))
        (folder / "report.json").write_text(json.dumps({"format": 2, **hostile(words)}))  # as it would not be written
        (folder / "tags.png").write_bytes(b"\x89PNG")
        cards.append(str(render_card(folder)))
    assert structure(cards[0]) == structure(cards[1])
    assert "<script" not in cards[0] and "\u202e" not in cards[0]
    check_card(cards[0], tmp_path / "hostile")


# Conversions


def test_a_conversion_says_where_the_weights_come_from(tmp_path):
    report = converted(unused=["v.head.weight", "v.head.bias"], note="Positions were stretched.", base_model="MIT/ast")
    text = str(render_card(save_report(tmp_path, report)))
    data = front_matter(text)
    assert data["license"] == "bsd-3-clause" and data["base_model"] == "MIT/ast"
    assert not data.keys() & {"model-index", "metrics", "model_name", "language"}
    assert "Converted from MIT/ast." in text
    assert "Nothing was measured after the conversion." in section(text, "Results")
    told = section(text, "Conversion")
    assert f"| SHA-256 | {'0123456789abcdef' * 4} |" in told
    assert "| licence of the source, as told | BSD-3-Clause |" in told
    assert "| tensors not used | v.head.weight, v.head.bias |" in told
    assert "| source | audioset\\_0.4593.pth |" in told
    assert "Positions were stretched." in told
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings == ["Results", "How to use", "Data", "Conversion", "Machine", "Limits", "Citation"]
    check_card(text, tmp_path)


def test_a_trained_model_has_no_section_on_conversion(tmp_path):
    text = str(render_card(save_report(tmp_path, sound_report(tags()))))
    headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
    assert headings == [
        "Results",
        "How to use",
        "Data",
        "Recipe",
        "Machine",
        "Classes",
        "Confusions",
        "Clips",
        "Limits",
        "Citation",
    ]


BLIND = {"architectures": ["SpectrogramTransformerForPreTraining"]}


@pytest.mark.parametrize(
    ("config", "dialect", "ids"),
    [
        ({"model_type": "las"}, "", ["1508.01211"]),
        (CONFIG, "the original AST", ["2104.01778"]),
        (CONFIG, "SSAST, fine-tuned", ["2104.01778", "2110.09784"]),
        (CONFIG, "PaSST", ["2104.01778", "2110.05069"]),
        (CONFIG, "AudioMAE", ["2104.01778", "2207.06405"]),
        ({**CONFIG, "patchout_time": 0.2}, "", ["2104.01778", "2110.05069"]),
        ({**CONFIG, "position_kind": "factorized"}, "", ["2104.01778", "2110.05069"]),
        ({**CONFIG, "position_kind": "joint", "patchout_time": 0.0}, "", ["2104.01778"]),
        ({"model_type": "spectrogram_transformer_seq2seq"}, "", ["2104.01778", "1706.03762"]),
        ({**CONFIG, **BLIND, "pretraining_objective": "masked_autoencoder"}, "", ["2104.01778", "2207.06405"]),
        ({**CONFIG, **BLIND, "pretraining_objective": "discriminative_generative"}, "", ["2104.01778", "2110.09784"]),
    ],
)
def test_the_papers_behind_a_model_are_cited(config, dialect, ids):
    assert re.findall(r"eprint = \{(.*)\}", bibtex(config, "0.2.0", dialect)) == ids


def test_a_ctc_card_cites_ctc():
    entries = bibtex({**CONFIG, "architectures": ["SpectrogramTransformerForCTC"]}, "0.2.0")
    assert re.findall(r"^@\w+\{(.*),", entries, re.MULTILINE) == ["gong2021ast", "graves2006connectionist", "aural"]


@pytest.mark.parametrize(
    ("head", "task", "code"),
    [
        ("SpectrogramTransformerForCTC", "automatic-speech-recognition", "aural.transcribe("),
        ("SpectrogramTransformerForAudioClassification", "audio-classification", "aural.tag("),
        ("SpectrogramTransformerForPreTraining", "feature-extraction", "AutoModel.from_pretrained("),
    ],
)
def test_the_head_decides_on_task_and_code(head, task, code):
    config = {**CONFIG, "architectures": [head]}
    assert task_of(config) == task and code in usage("user/model", config)


def test_the_kept_demos_card_is_what_it_was():
    folder = Path(__file__).parents[2] / "model_cards" / "las-demo"
    assert json.loads((folder / "report.json").read_text(encoding="utf-8"))["format"] == 1
    assert str(render_card(folder)).encode() == (folder / "README.md").read_bytes()


# Folders


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder that holds sound.wav and, beside it, a whole tagging folder with its card."""
    place = tmp_path_factory.mktemp("place")
    folder = save_tagger(place / "bells", problem_type="single_label_classification", position_frames=100)
    write_report(folder, sound_report(tags()))
    write_card(folder)
    soundfile.write(place / "sound.wav", wave(0.6), 16000)
    return place


def test_the_code_of_the_card_runs_offline(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the code of the card went online"))
    blocks = code_blocks(Path("bells/README.md").read_text(encoding="utf-8"))
    assert len(blocks) == 2
    capsys.readouterr()
    for block in blocks:
        exec(block, {})
    with_aural, with_transformers = (eval(line) for line in capsys.readouterr().out.splitlines())
    expected = tag_files("sound.wav", "bells")[0].top(3)
    assert with_aural == expected
    assert [(each["label"], pytest.approx(each["score"], abs=1e-5)) for each in with_transformers] == expected


def test_the_code_for_transformers_alone_runs_without_aural(place, tmp_path):
    text = (place / "bells" / "README.md").read_text(encoding="utf-8")
    assert "With transformers alone:" in text
    output = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"import sys\nsys.modules['aural'] = None\n{code_blocks(text)[1]}"],
        capture_output=True,
        text=True,
        cwd=place,
        env={"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PATH": ""},
    )
    assert output.returncode == 0, output.stderr
    assert eval(output.stdout)[0]["label"] == tag_files(place / "sound.wav", place / "bells")[0].top(1)[0][0]


@pytest.mark.parametrize("kind", [SpectrogramTransformerForAudioFrameClassification, SpectrogramTransformerModel])
def test_the_code_for_other_heads_runs(tmp_path, monkeypatch, capsys, kind):
    folder = tmp_path / "model"
    model = tiny_spectrogram(kind)
    model.save_pretrained(folder)
    LogMelFeatureExtractor(num_mel_bins=MELS).save_pretrained(folder)
    soundfile.write(tmp_path / "sound.wav", wave(0.6), 16000)
    write_report(folder, converted())
    text = write_card(folder).read_text(encoding="utf-8")
    headless = kind is SpectrogramTransformerModel
    assert front_matter(text)["pipeline_tag"] == ("feature-extraction" if headless else "audio-classification")
    blocks = code_blocks(text)
    assert len(blocks) == (1 if headless else 2)
    monkeypatch.chdir(tmp_path)
    shown: list[torch.Tensor] = []
    exec(blocks[-1], {"print": shown.append})
    features = LogMelFeatureExtractor(num_mel_bins=MELS)(wave(0.6), sampling_rate=16000, return_tensors="pt")
    with torch.no_grad():
        output = model(**features)
    expected = output.pooler_output if headless else output.logits.sigmoid()
    assert torch.allclose(shown[0], expected, atol=1e-4)


def test_a_folder_without_its_code_does_not_promise_to_load_without_aural(tmp_path):
    for head in ("ForAudioClassification", "ForAudioFrameClassification", "Model"):
        folder = save_report(tmp_path / head, sound_report(tags()), architectures=[f"SpectrogramTransformer{head}"])
        text = str(render_card(folder))
        assert "With transformers alone" not in text
        assert "import aural  # registers the model type" in code_blocks(text)[-1]


def test_a_tagging_folder_can_be_published(place):
    plan = publish_folder(place / "bells", "user/bells", dry_run=True)
    names = [file.name for file in plan.files]
    assert {"README.md", "config.json", "model.safetensors", "preprocessor_config.json", "report.json"} <= set(names)
    (place / "bells" / "preprocessor_config.json").rename(place / "kept")
    try:
        with pytest.raises(FileNotFoundError, match=r"lacks preprocessor_config\.json"):
            publish_folder(place / "bells", "user/bells", dry_run=True)
    finally:
        (place / "kept").rename(place / "bells" / "preprocessor_config.json")


def test_the_command_line_makes_the_card_and_plans_the_publication(place, tmp_path):
    folder = Path(shutil.copytree(place / "bells", tmp_path / "bells"))
    written = (folder / "README.md").read_text(encoding="utf-8")
    (folder / "README.md").unlink()
    run = CliRunner()
    assert run.invoke(app, ["card", str(folder)]).exit_code == 0
    assert (folder / "README.md").read_text(encoding="utf-8") == written
    result = run.invoke(app, ["publish", str(folder), "user/bells", "--dry-run"])
    assert result.exit_code == 0, result.output
    assert "preprocessor_config.json" in result.output

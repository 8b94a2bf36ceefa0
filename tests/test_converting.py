"""`aural convert`: a file or folder in, a whole folder out that loads, is published, and says where it comes from."""

import hashlib
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    ASTFeatureExtractor,
    ASTForAudioClassification,
    AutoFeatureExtractor,
    AutoModel,
    AutoModelForAudioClassification,
    pipeline,
)

from aural import (
    LogMelFeatureExtractor,
    SpectrogramTransformerForAudioClassification,
    SpectrogramTransformerForAudioFrameClassification,
    cli,
)
from aural.converting import convert, from_transformers, read_labels, to_transformers, with_labels
from aural.modeling.convert_ast import ast_features
from aural.modeling.convert_dialect import convert_state_dict
from aural.modeling.convert_shared import Told
from aural.training.publishing import publish_folder
from tests import foreign
from tests.modeling.test_convert_transformers_ast import assert_alike, clips, theirs
from tests.tiny_spectrogram import spectrograms, tiny_spectrogram

NAMES = ["Dog", "Cat", "Rain", "Bell, small", "Wind", "Door", "Car"]


def wave(seconds: float, rate: int = 16_000, seed: int = 0) -> np.ndarray:
    return (0.1 * np.random.default_rng(seed).standard_normal(int(seconds * rate))).astype(np.float32)


@pytest.fixture(scope="module")
def source(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("source") / "audioset_0.4593.pth"
    torch.save(foreign.original_ast(columns=12), path)  # for 128 frames
    return path


@pytest.fixture
def labels(tmp_path) -> Path:
    path = tmp_path / "class_labels_indices.csv"
    rows = [f'{i},/m/{i},"{name}"' for i, name in enumerate(NAMES)]
    path.write_text("\n".join(["index,mid,display_name", *rows]) + "\n")
    return path


def run(capsys, monkeypatch, *arguments) -> tuple[int, str, str]:
    monkeypatch.setattr(sys, "argv", ["aural", *map(str, arguments)])
    capsys.readouterr()
    with pytest.raises(SystemExit) as exit_code:
        cli.main()
    captured = capsys.readouterr()
    return exit_code.value.code or 0, captured.out, captured.err


def test_the_folder_loads_everywhere_and_gives_the_checkpoints_own_scores(source, labels, tmp_path):
    out = tmp_path / "ast"
    convert(source, out, labels, license="bsd-3-clause")
    model = AutoModelForAudioClassification.from_pretrained(out)
    extractor = AutoFeatureExtractor.from_pretrained(out)
    assert isinstance(model, SpectrogramTransformerForAudioClassification)
    assert isinstance(extractor, LogMelFeatureExtractor)
    sound = wave(2.0)
    # Independently: transformers' features with Speech Commands' statistics, and the reference on the file's names.
    their_extractor = ASTFeatureExtractor(max_length=128, mean=-6.845978, std=5.5654526)
    features = their_extractor(sound, sampling_rate=16_000, return_tensors="pt").input_values.float()
    state = torch.load(source, weights_only=True)
    _, logits = foreign.reference_under_v(state, features, (10, 10), lambda states: (states[:, 0] + states[:, 1]) / 2)
    expected = dict(zip(NAMES, logits[0].softmax(-1).tolist(), strict=True))
    scores = pipeline("audio-classification", model=str(out))(sound, top_k=7)
    assert {score["label"]: score["score"] for score in scores} == pytest.approx(expected, abs=1e-4)


def test_report_and_card_say_where_it_comes_from_and_it_can_be_published(source, tmp_path):
    out = tmp_path / "ast"
    converted = convert(source, out, license="bsd-3-clause")
    record = json.loads((out / "report.json").read_text())["converted"]
    assert record["file"] == "audioset_0.4593.pth"
    assert record["sha256"] == hashlib.sha256(source.read_bytes()).hexdigest()
    assert record["dialect"] == "the original AST"
    assert record["license"] == "bsd-3-clause, as told by whoever converted it"
    assert record["unused"] == [f"module.v.head{end}" for end in (".bias", ".weight", "_dist.bias", "_dist.weight")]
    card = (out / "README.md").read_text()
    assert "license: bsd-3-clause" in card
    assert record["sha256"] in card
    plan = publish_folder(out, "user/name", dry_run=True)
    assert "model.safetensors" in [file.name for file in plan.files]
    assert converted.unused == tuple(record["unused"])
    assert converted.parameters == sum(t.numel() for t in load_file(out / "model.safetensors").values())


def test_pretrained_encoders_become_publishable_folders_too(tmp_path):
    torch.save({"model": foreign.audiomae(True)}, tmp_path / "pretrained.pth")
    convert(tmp_path / "pretrained.pth", tmp_path / "mae", license="cc-by-nc-4.0")
    features = torch.randn(1, 1024, 128, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        got = AutoModel.from_pretrained(tmp_path / "mae").eval()(features).last_hidden_state
    expected, _ = foreign.reference_audiomae(foreign.audiomae(True), features)
    torch.testing.assert_close(got[:, 0], expected[:, 0], atol=1e-5, rtol=0)
    publish_folder(tmp_path / "mae", "user/name", dry_run=True)


def test_passt_becomes_a_folder_with_its_own_rate(tmp_path):
    torch.save(foreign.passt(), tmp_path / "passt.pt")
    convert(tmp_path / "passt.pt", tmp_path / "passt", license="apache-2.0")
    classifier = pipeline("audio-classification", model=str(tmp_path / "passt"))
    assert classifier.feature_extractor.sampling_rate == 32_000
    assert len(classifier(wave(1.0, 32_000), top_k=3)) == 3
    publish_folder(tmp_path / "passt", "user/name", dry_run=True)


@pytest.mark.parametrize("pickled", [False, True])
def test_a_folder_of_transformers_there_and_back(tmp_path, pickled):
    model = theirs()
    model.save_pretrained(tmp_path / "theirs")
    ASTFeatureExtractor(num_mel_bins=16, max_length=26, mean=-3.0).save_pretrained(tmp_path / "theirs")
    (tmp_path / "theirs" / "README.md").write_text("---\nlicense: bsd-3-clause\n---\n")
    if pickled:
        weights = tmp_path / "theirs" / "model.safetensors"
        torch.save(load_file(weights), weights.with_name("pytorch_model.bin"))
        weights.unlink()
    converted = convert(tmp_path / "theirs", tmp_path / "ours")
    assert converted.license == "bsd-3-clause"
    ours = AutoModelForAudioClassification.from_pretrained(tmp_path / "ours").eval()
    assert_alike(ours, model, clips())
    assert ours.config.id2label == {0: "Dog", 1: "Rain", 2: "Bell"}
    convert(tmp_path / "ours", tmp_path / "again", to="transformers")
    again = ASTForAudioClassification.from_pretrained(tmp_path / "again").eval()
    assert_alike(ours, again, clips())
    extractor = AutoFeatureExtractor.from_pretrained(tmp_path / "again")
    assert isinstance(extractor, ASTFeatureExtractor)
    assert (extractor.mean, extractor.max_length, extractor.num_mel_bins) == (-3.0, 26, 16)
    assert (tmp_path / "again" / "report.json").is_file()


def test_models_in_memory_there_and_back():
    model = theirs()
    ours = from_transformers(model)
    assert_alike(ours, model, clips())
    assert_alike(ours, to_transformers(ours), clips())
    with pytest.raises(TypeError, match="FrameClassification has no counterpart"):
        to_transformers(tiny_spectrogram(SpectrogramTransformerForAudioFrameClassification))


def our_folder(path: Path, model_class: type = SpectrogramTransformerForAudioClassification, **overrides) -> Path:
    model = tiny_spectrogram(model_class, **overrides)
    model.save_pretrained(path)
    LogMelFeatureExtractor(**ast_features(20, 8)).save_pretrained(path)
    return path


def test_ours_with_rectangular_patches_have_no_counterpart(tmp_path):
    folder = our_folder(tmp_path / "mine")
    with pytest.raises(ValueError, match=r"patch_size=\[4, 6\] does not fit transformers' AST"):
        convert(folder, tmp_path / "theirs", to="transformers")
    frames = our_folder(tmp_path / "frames", SpectrogramTransformerForAudioFrameClassification)
    with pytest.raises(ValueError, match="only clip classifiers and encoders have"):
        convert(frames, tmp_path / "theirs", to="transformers")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["frames", "mine"]


def test_a_folder_of_ours_is_resampled_and_its_origin_not_forgotten(source, tmp_path):
    convert(source, tmp_path / "ast", license="bsd-3-clause")
    converted = convert(tmp_path / "ast", tmp_path / "long", frames=256)
    assert (converted.license, converted.config.position_frames) == ("bsd-3-clause", 256)
    model = AutoModelForAudioClassification.from_pretrained(tmp_path / "long")
    assert model.spectrogram_transformer.embeddings.positions.table.shape == (12, 25, foreign.WIDTH)
    assert AutoFeatureExtractor.from_pretrained(tmp_path / "long").max_length == 256
    note = json.loads((tmp_path / "long" / "report.json").read_text())["converted"]["note"]
    assert "ast was converted from audioset_0.4593.pth (SHA-256 " in note
    assert "resampled from 12 x 12 to 12 x 25" in note


def test_a_folder_of_ours_to_its_own_length_is_bit_equal(tmp_path):
    folder = our_folder(tmp_path / "mine")
    convert(folder, tmp_path / "same", frames=20, stride=(2, 3))
    before, after = load_file(folder / "model.safetensors"), load_file(tmp_path / "same" / "model.safetensors")
    assert set(before) == set(after)
    assert all(torch.equal(before[name], after[name]) for name in before)
    features = spectrograms([20])[0]
    with torch.no_grad():
        first, second = (
            AutoModelForAudioClassification.from_pretrained(path)(features).logits
            for path in (folder, tmp_path / "same")
        )
    assert torch.equal(first, second)


def test_a_licence_that_nobody_told_is_unknown_and_the_hint_names_the_authors(source, tmp_path):
    converted = convert(source, tmp_path / "ast")
    assert converted.license == "unknown"
    assert "published are under bsd-3-clause" in str(converted)
    assert "license: unknown" in (tmp_path / "ast" / "README.md").read_text()
    with pytest.raises(ValueError, match="license='BSD 3' must be an identifier of the Hub"):
        convert(source, tmp_path / "other", license="BSD 3")


def test_labels_come_from_a_table_or_a_list(labels, tmp_path):
    assert read_labels(labels) == NAMES
    plain = tmp_path / "names.txt"
    plain.write_text("\n".join(NAMES) + "\n", encoding="utf-8-sig")
    assert read_labels(plain) == NAMES
    shuffled = tmp_path / "shuffled.csv"
    shuffled.write_text("index,mid,display_name\n1,/m/b,B\n0,/m/a,A\n")
    assert read_labels(shuffled) == ["A", "B"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("Dog\n\nCat\n", "label 1 is empty"),
        ("Dog\nCat\nDog\n", "'Dog' is there twice, as label 0 and 2"),
        ("index,display_name\n0,Dog\n2,Cat\n", "must hold 0 to 1"),
        ("index,display_name\nx,Dog\n", "whole numbers"),
    ],
)
def test_wrong_labels_are_named(tmp_path, text, said):
    path = tmp_path / "labels.csv"
    path.write_text(text)
    with pytest.raises(ValueError, match=said):
        read_labels(path)


def test_labels_must_be_as_many_as_the_classes():
    conversion = convert_state_dict(foreign.original_ast(columns=12))
    with pytest.raises(ValueError, match="labels: 2 names, but the checkpoint has 7 classes"):
        with_labels(conversion, ["a", "b"])
    named = with_labels(conversion, NAMES).config
    assert (named.id2label[3], named.label2id["Car"], named.num_labels) == ("Bell, small", 6, 7)
    encoder = convert_state_dict(foreign.audiomae(True))
    with pytest.raises(ValueError, match="has no classifier"):
        with_labels(encoder, ["a", "b"])


def test_nothing_is_left_where_something_is_wrong(source, tmp_path):
    taken = tmp_path / "taken"
    taken.mkdir()
    (taken / "mine.txt").write_text("keep")
    with pytest.raises(FileExistsError, match="is there already"):
        convert(source, taken)
    assert [path.name for path in taken.iterdir()] == ["mine.txt"]
    broken = tmp_path / "broken.pth"
    broken.write_bytes(source.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"broken\.pth is damaged"):
        convert(broken, tmp_path / "out")
    with pytest.raises(ValueError, match="to='onnx' must be one of aural, transformers"):
        convert(source, tmp_path / "out", to="onnx")
    with pytest.raises(ValueError, match="head_norm_eps=1e-05 does not fit"):
        convert(source, tmp_path / "out", to="transformers")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["broken.pth", "taken"]
    empty = tmp_path / "empty"
    empty.mkdir()
    convert(source, empty)
    assert (empty / "config.json").is_file()


def test_another_family_is_named_with_the_path(tmp_path):
    folder = tmp_path / "wav2vec2"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "wav2vec2"}')
    save_file({"a": torch.zeros(2)}, folder / "model.safetensors")
    with pytest.raises(ValueError, match="wav2vec2 holds a model of type 'wav2vec2', which is not converted"):
        convert(folder, tmp_path / "out")
    save_file({"conv_block1.conv1.weight": torch.zeros(2)}, tmp_path / "cnn14.safetensors")
    with pytest.raises(ValueError, match=r"cnn14\.safetensors: the checkpoint looks like PANNs"):
        convert(tmp_path / "cnn14.safetensors", tmp_path / "out")


def test_a_config_that_cannot_be_is_one_line(tmp_path):
    theirs().save_pretrained(tmp_path / "theirs")
    path = tmp_path / "theirs" / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "num_attention_heads": 3}))
    with pytest.raises(ValueError, match="hidden_size=16 must be divisible by num_attention_heads=3"):
        convert(tmp_path / "theirs", tmp_path / "out")


def test_the_command_prints_dialect_geometry_and_what_was_not_used(source, labels, tmp_path, capsys, monkeypatch):
    code, out, err = run(capsys, monkeypatch, "convert", source, tmp_path / "ast", "--labels", labels)
    assert code == 0, err
    for part in ("the original AST → aural", "12 x 12 patches of 16 x 16 every 10 x 10", "128 frames", "1 heads"):
        assert part in out
    assert "4 tensors not used: module.v.head.bias" in out
    assert AutoModelForAudioClassification.from_pretrained(tmp_path / "ast").config.id2label[3] == "Bell, small"


def test_every_option_of_the_command_arrives(source, tmp_path, capsys, monkeypatch):
    told = ("--dialect", "ssast", "--pooling", "cls", "--heads", "4", "--source-frames", "128")
    more = ("--source-stride", "10,10", "--multi-label", "--frames", "100", "--stride", "16,12", "--license", "mit")
    code, _, err = run(capsys, monkeypatch, "convert", source, tmp_path / "a", *told, *more)
    assert code == 0, err
    config = AutoModelForAudioClassification.from_pretrained(tmp_path / "a").config
    assert (config.pooling, config.num_attention_heads, config.num_class_tokens) == ("cls", 4, 2)
    assert (config.position_frames, config.patch_stride) == (100, [16, 12])
    assert config.problem_type == "multi_label_classification"
    report = json.loads((tmp_path / "a" / "report.json").read_text())
    assert (report["license"], report["converted"]["dialect"]) == ("mit", "SSAST, fine-tuned")
    torch.save(foreign.passt(columns=200), tmp_path / "passt.pt")
    code, _, err = run(capsys, monkeypatch, "convert", tmp_path / "passt.pt", tmp_path / "p", "--frame-shift", "5")
    assert code == 0, err
    assert AutoFeatureExtractor.from_pretrained(tmp_path / "p").frame_shift_ms == 5


def test_trouble_is_one_line_and_exit_code_2(source, tmp_path, capsys, monkeypatch):
    code, _, err = run(capsys, monkeypatch, "convert", tmp_path / "gone.pth", tmp_path / "out")
    assert (code, err.count("aural: error:")) == (2, 1)
    assert "gone.pth does not exist" in err
    code, _, err = run(capsys, monkeypatch, "convert", source, tmp_path / "out", "--stride", "10")
    assert code == 2
    assert "must be two numbers" in " ".join(err.replace("│", " ").split())


def test_help_holds_an_example(capsys, monkeypatch):
    code, out, _ = run(capsys, monkeypatch, "convert", "--help")
    assert code == 0
    assert "Example: aural convert" in " ".join(out.replace("`", "").split())


def test_what_a_config_tells_cannot_be_told_otherwise(tmp_path):
    with pytest.raises(ValueError, match="mine: heads=4 cannot be told: its config tells it"):
        convert(our_folder(tmp_path / "mine"), tmp_path / "out", told=Told(heads=4))

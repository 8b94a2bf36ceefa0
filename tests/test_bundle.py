"""Saved folders carry their code: flat, exact, and enough for a machine that has no aural."""

import ast
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import transformers
from huggingface_hub import HfApi
from transformers.utils import PushToHubMixin

import aural.bundle
import aural.modeling
from aural import (
    AuralProcessor,
    CtcTokenizer,
    LasConfig,
    LasForConditionalGeneration,
    LogMelFeatureExtractor,
    SpectrogramTransformerConfig,
    SpectrogramTransformerForAudioClassification,
    train_tokenizer,
)
from aural.bundle import bundle, flat_name
from aural.configuration.spectrogram_seq2seq import SpectrogramTransformerSeq2SeqConfig
from aural.registration import MODELS, OTHERS, TOKENIZERS
from tests.tiny_seq2seq import tiny_seq2seq
from tests.tones import save_tones, sung
from tests.whole import save_folder, save_tagger, wave

FIXTURE = Path(__file__).parent / "fixtures" / "las-format-1"
TAGGER_FIXTURE = Path(__file__).parent / "fixtures" / "spectrogram-format-1"
ROOT = Path(__file__).parent.parent
EVERYTHING = [*MODELS, *(model for models in MODELS.values() for model in models.values()), *OTHERS.values()]
EVERYTHING += TOKENIZERS.values()


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_folder(tmp_path_factory.mktemp("hub") / "las")


@pytest.fixture(scope="module")
def tagger(tmp_path_factory):
    return save_tagger(tmp_path_factory.mktemp("hub") / "tagger")


def run_without_aural(folder, tmp_path, mels, sound=None) -> dict:
    """What a process without aural gets from `folder`."""
    rng = np.random.default_rng(0)
    inputs = {
        "features": rng.normal(size=(2, 24, mels)).astype(np.float32),
        "decoder_input_ids": np.array([[1, 5, 6], [1, 7, 4]]),
        "wave": wave(1.0) if sound is None else sound,
    }
    np.savez(tmp_path / "inputs.npz", **inputs)
    script = Path(__file__).parent / "without_aural.py"
    output = subprocess.run(
        [sys.executable, "-W", "ignore", script, folder, tmp_path / "inputs.npz"],
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        cwd=tmp_path,
        env={"HF_HOME": str(tmp_path / "cache"), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PATH": ""},
    )
    assert output.returncode == 0, output.stderr
    return {**inputs, **json.loads(output.stdout)}


def check_logits(there, folder, models, **texts) -> None:
    """All `models`, and no other, gave there what they give here."""
    assert set(there["logits"]) == {f"{flat_name(m.__module__)}.{m.__name__}" for m in models}
    for model_class in models:
        model = model_class.from_pretrained(folder).eval()
        output = model(torch.from_numpy(there["features"]), **texts)[0]
        mine = there["logits"][f"{flat_name(model_class.__module__)}.{model_class.__name__}"]
        np.testing.assert_allclose(output.detach().numpy(), mine, atol=1e-6)


def check_saved_again(there, folder) -> None:
    """What was loaded without aural was saved with the same code: all of it, but for heads that the folder lacks."""
    saved_again = {p.name: p.read_bytes() for p in Path(f"{folder}-again").glob("*.py")}
    files = {p.name: p.read_bytes() for p in folder.glob("*.py")}
    assert saved_again.items() <= files.items()
    loaded = {f"{reference.split('.')[0]}.py" for reference in there["logits"]}
    assert loaded | {name for name in files if not name.startswith("modeling_")} <= saved_again.keys()


@pytest.mark.parametrize("kind", ["las", "seq2seq"])
def test_a_machine_without_aural_gets_the_same_logits_features_and_text(folder, tmp_path, kind):
    if kind == "seq2seq":
        folder = tmp_path / "seq2seq"
        tiny_seq2seq().save_pretrained(folder)
        AuralProcessor(LogMelFeatureExtractor(num_mel_bins=6), train_tokenizer(["abcd "])).save_pretrained(folder)
    there = run_without_aural(folder, tmp_path, mels=6)
    assert there["aural"] == []
    models = MODELS[LasConfig if kind == "las" else SpectrogramTransformerSeq2SeqConfig].values()
    check_logits(there, folder, models, decoder_input_ids=torch.from_numpy(there["decoder_input_ids"]))
    processor = AuralProcessor.from_pretrained(folder)
    features = processor(audio=there["wave"], sampling_rate=16000, return_tensors="np")["input_features"]
    np.testing.assert_allclose(there["heard"], features, atol=1e-6)
    assert there["same_features"]
    assert there["labels"] == processor(text="ab ba")["labels"]
    recognizer = transformers.pipeline("automatic-speech-recognition", model=str(folder))
    assert there["answer"] == recognizer(wave(1.0))["text"]
    check_saved_again(there, folder)


def test_a_machine_without_aural_gets_the_same_tags(tagger, tmp_path):
    there = run_without_aural(tagger, tmp_path, mels=8)
    assert there["aural"] == []
    classes = ("AutoModel", "AutoModelForAudioClassification", "AutoModelForAudioFrameClassification")
    check_logits(there, tagger, [MODELS[SpectrogramTransformerConfig][name] for name in classes])
    mine = transformers.pipeline("audio-classification", model=str(tagger))(wave(1.0))
    assert [tag["label"] for tag in there["answer"]] == [tag["label"] for tag in mine]
    np.testing.assert_allclose([tag["score"] for tag in there["answer"]], [tag["score"] for tag in mine], atol=1e-5)
    check_saved_again(there, tagger)


def test_a_machine_without_aural_gets_the_same_text_and_times_from_a_ctc_folder(tmp_path):
    folder = save_tones(tmp_path / "tones")
    there = run_without_aural(folder, tmp_path, mels=8, sound=sung("seen on"))
    assert there["aural"] == []
    models = MODELS[SpectrogramTransformerConfig]
    check_logits(there, folder, [models["AutoModel"], models["AutoModelForCTC"]])
    recognizer = transformers.pipeline("automatic-speech-recognition", model=str(folder))
    mine = recognizer(sung("seen on"), return_timestamps="word")
    assert there["answer"] == mine["text"] == "seen on"
    assert there["chunks"] == [{**chunk, "timestamp": list(chunk["timestamp"])} for chunk in mine["chunks"]]
    check_saved_again(there, folder)
    again = transformers.AutoTokenizer.from_pretrained(f"{folder}-again")
    assert type(again) is CtcTokenizer


def test_every_model_type_is_run_without_aural():
    # each has its test above
    assert set(MODELS) == {LasConfig, SpectrogramTransformerConfig, SpectrogramTransformerSeq2SeqConfig}


def test_no_public_model_class_is_forgotten():
    public = {
        each
        for name in aural.modeling.__all__
        if isinstance(each := getattr(aural.modeling, name), type)
        and issubclass(each, transformers.PreTrainedModel)
        and not name.endswith("PreTrainedModel")
    }
    assert public == {model for models in MODELS.values() for model in models.values()}
    for config, models in MODELS.items():
        assert all(model.config_class is config for model in models.values())


@pytest.mark.parametrize("trust", [None, True])
def test_with_aural_installed_no_remote_code_runs(folder, trust):
    for name in ("AutoConfig", "AutoModelForSpeechSeq2Seq", "AutoProcessor", "AutoFeatureExtractor"):
        loaded = getattr(transformers, name).from_pretrained(folder, trust_remote_code=trust)
        assert type(loaded).__module__.startswith("aural."), name


def test_flat_code_is_the_packages_source_but_for_its_relative_imports():
    for name, text in bundle(EVERYTHING).items():
        modules = [m for m in sys.modules if m.startswith("aural.") and f"{flat_name(m)}.py" == name]
        source = Path(sys.modules[modules[0]].__file__).read_text(encoding="utf-8")
        changed = [
            (mine, theirs)
            for mine, theirs in zip(text.splitlines(), source.splitlines(), strict=True)
            if mine != theirs
        ]
        assert all(
            mine.split(" import ")[1] == theirs.split(" import ")[1] and theirs.startswith("from .")
            for mine, theirs in changed
        )


def test_flat_files_import_each_other_and_nothing_else_of_aural():
    files = bundle(EVERYTHING)
    assert {"configuration_las.py", "modeling_las.py", "feature_extraction_log_mel.py", "processing_aural.py"} <= set(
        files
    )
    for name, text in files.items():
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.ImportFrom) and node.level:
                assert node.level == 1
                assert f"{node.module}.py" in files, f"{name} imports {node.module}"
            elif isinstance(node, ast.ImportFrom | ast.Import):
                assert "aural" not in ast.unparse(node)


def test_the_same_sources_give_the_same_bytes(folder, tmp_path):
    again = save_folder(tmp_path / "las")
    assert {p.name: p.read_bytes() for p in again.iterdir()} == {p.name: p.read_bytes() for p in folder.iterdir()}


def test_only_aurals_own_code_travels():
    with pytest.raises(ValueError, match="is not part of aural"):
        bundle([transformers.PreTrainedConfig])


def test_a_users_own_subclass_is_saved_without_a_claim_to_carry_its_code(tmp_path):
    class Mine(LogMelFeatureExtractor):
        pass

    Mine(num_mel_bins=6).save_pretrained(tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["preprocessor_config.json"]
    assert "auto_map" not in json.loads((tmp_path / "preprocessor_config.json").read_text())


def test_a_feature_extractor_alone_carries_its_own_code_only(tmp_path):
    LogMelFeatureExtractor(num_mel_bins=6).save_pretrained(tmp_path)
    names = {p.name for p in tmp_path.iterdir()}
    assert names == {
        "preprocessor_config.json",
        "feature_extraction_log_mel.py",
        "processing_log_mel.py",
        "configuration_travel.py",
    }


def test_a_folder_of_format_1_still_loads_and_says_the_same():
    expected = json.loads((FIXTURE / "expected.json").read_text())
    model = LasForConditionalGeneration.from_pretrained(FIXTURE).eval()
    processor = AuralProcessor.from_pretrained(FIXTURE)
    sound = wave(0.3, seed=5)
    features = processor(audio=sound, sampling_rate=16000, return_tensors="pt")["input_features"]
    np.testing.assert_allclose(features[0, :3], expected["features"], atol=1e-4)
    logits = model(features, decoder_input_ids=torch.tensor([[1, 5]])).logits
    np.testing.assert_allclose(logits[0].detach(), expected["logits"], atol=1e-4)
    assert processor.decode(model.generate(features)[0]) == expected["text"]
    assert processor(text="ab")["labels"] == expected["labels"]


def test_a_tagging_folder_of_format_1_still_loads_and_says_the_same():
    expected = json.loads((TAGGER_FIXTURE / "expected.json").read_text())
    model = SpectrogramTransformerForAudioClassification.from_pretrained(TAGGER_FIXTURE).eval()
    extractor = LogMelFeatureExtractor.from_pretrained(TAGGER_FIXTURE)
    features = extractor(wave(0.3, seed=5), sampling_rate=16000, return_tensors="pt")["input_features"]
    np.testing.assert_allclose(features[0, :3], expected["features"], atol=1e-4)
    np.testing.assert_allclose(model(features).logits[0].detach(), expected["logits"], atol=1e-4)
    assert model.config.id2label == {0: "bell", 1: "drum", 2: "horn"}


def test_a_newer_format_is_refused_by_name(folder, tmp_path):
    config = json.loads((folder / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "aural_format": 2}))
    with pytest.raises(Exception, match=r"aural_format=2.*saved by a newer aural"):
        LasConfig.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("from ..configuration import LasConfig", "line 2: import from the file, not from the package"),
        ("from . import attention", "line 2: import from the file, not from the package"),
        (
            "from ..configuration.las  import LasConfig",
            "line 2: expected `from …configuration.las import` on one line",
        ),
    ],
)
def test_an_import_that_a_flat_folder_cannot_follow_is_refused(monkeypatch, line, message):
    monkeypatch.setattr(aural.bundle, "_source", lambda module: f"import torch\n{line}\n")
    with pytest.raises(ValueError, match=message):
        aural.bundle._flatten.__wrapped__("aural.modeling.las")


def test_saving_that_uploads_finds_the_code_already_there(monkeypatch, tmp_path):
    sent = {}

    def upload(self, working_dir, *args, **kwargs):
        sent[type(self)] = {path.name for path in Path(working_dir).iterdir()}

    monkeypatch.setattr(PushToHubMixin, "_upload_modified_files", upload)
    monkeypatch.setattr(HfApi, "create_repo", lambda self, repo_id, **_: SimpleNamespace(repo_id=repo_id))
    features = LogMelFeatureExtractor(num_mel_bins=6)
    for saved, code in (
        (LasConfig(), "modeling_las.py"),
        (features, "feature_extraction_log_mel.py"),
        (AuralProcessor(features, train_tokenizer(["ab"])), "processing_aural.py"),
    ):
        saved.save_pretrained(str(tmp_path / type(saved).__name__), push_to_hub=True)
        assert code in sent[type(saved)]

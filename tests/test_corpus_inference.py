"""`aural transcribe --dataset` and `aural tag --dataset`: each clip once, whatever the processes, kills and files."""

import csv
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import jiwer
import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile
from datasets import Audio, ClassLabel, Dataset, Features, Value, load_dataset
from sklearn.metrics import average_precision_score

from aural import Tagger, Transcriber, tag, transcribe
from aural.corpus_inference import Watcher, annotate_corpus
from aural.corpus_rows import open_corpus
from aural.corpus_shards import Shards
from aural.training.data import UNDECODED
from aural.training.normalization import FILE_NAME, normalization_json
from aural.training.world import World
from tests.test_cli import error_line, run
from tests.whole import save_folder, save_tagger, wave

CLIPS, SHARD, BROKEN, GONE = 11, 3, 4, 7
SECONDS = [0.3 + 0.1 * (index * 7 % 5) for index in range(CLIPS)]
LABELS = ("bell", "drum", "horn")


@pytest.fixture(scope="module")
def speech(tmp_path_factory):
    return save_folder(tmp_path_factory.mktemp("speech"))


@pytest.fixture(scope="module")
def sounds(tmp_path_factory):
    return save_tagger(tmp_path_factory.mktemp("sounds"))


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    """An audiofolder of 11 clips, of which one is no audio and one is not there."""
    folder = tmp_path_factory.mktemp("corpus")
    (folder / "clips").mkdir()
    with open(folder / "metadata.csv", "w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["file_name", "text", "label", "speaker"])
        for index, seconds in enumerate(SECONDS):
            name = f"clips/{index:02d}.wav"
            table.writerow([name, "Ab, cd", LABELS[index % 3], f"{index:03d}"])
            soundfile.write(folder / name, wave(seconds, index), 16_000)
    (folder / "clips" / f"{BROKEN:02d}.wav").write_bytes(b"no sound")
    (folder / "clips" / f"{GONE:02d}.wav").unlink()
    return folder


@pytest.fixture(scope="module")
def done(speech, corpus, tmp_path_factory):
    """The rows of one process."""
    out = tmp_path_factory.mktemp("done") / "out"
    annotate_corpus(Transcriber(speech), str(corpus), out, shard_rows=SHARD)
    return out


def parts(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.glob("*.parquet"))}


def rows(out: Path) -> list[dict]:
    return [row for path in sorted(out.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def test_every_clip_is_a_row_with_its_text_or_its_error(done, speech, corpus):
    found = rows(done)
    good = [index for index in range(CLIPS) if index not in (BROKEN, GONE)]
    files = [corpus / "clips" / f"{index:02d}.wav" for index in range(CLIPS)]
    assert [row["row"] for row in found] == list(range(CLIPS))
    assert [row["file"] for row in found] == [f"clips/{index:02d}.wav" for index in range(CLIPS)]
    assert [row["speaker"] for row in found] == [f"{index:03d}" for index in range(CLIPS)]
    assert {row["text"] for row in found} == {"Ab, cd"}
    expected = transcribe([files[index] for index in good], speech, batch_size=1)
    assert [found[index]["predicted_text"] for index in good] == [result.text for result in expected]
    assert [found[index]["duration"] for index in good] == pytest.approx([SECONDS[index] for index in good])
    assert [index for index in range(CLIPS) if found[index]["error"]] == [BROKEN, GONE]
    assert f"{BROKEN:02d}.wav: not audio" in found[BROKEN]["error"]
    assert "no such audio file" in found[GONE]["error"]
    assert [len(pq.read_table(path)) for path in sorted(done.glob("*.parquet"))] == [3, 3, 3, 2]


def launched(arguments: list, processes: int) -> subprocess.CompletedProcess:
    """`aural ARGUMENTS` by torchrun, on CPUs, with this interpreter's aural."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", str(processes), "-m", "aural"]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    return subprocess.run([*launcher, *map(str, arguments)], capture_output=True, text=True, env=environment)


def test_two_processes_write_the_files_of_one(done, speech, corpus, tmp_path):
    out = tmp_path / "out"
    command = ["transcribe", "--dataset", corpus, "--model", speech, "--out", out, "--shard-rows", SHARD]
    result = launched(command, processes=2)
    assert result.returncode == 0, result.stderr
    assert parts(out) == parts(done)
    lines = result.stdout.splitlines()
    assert any(line.startswith("process 0 of 2: wrote 2 shards, 6 rows, 1 error,") for line in lines), lines
    assert any(line.startswith("process 1 of 2: wrote 2 shards, 5 rows, 1 error,") for line in lines), lines
    # Process 1 may have finished its two shards before process 0 looks: neither waits for the other.
    assert re.search("2 processes; 11 rows in 4 shards, of which [012] there already", result.stderr)
    assert sum(f"{out}: 11 rows, 2 errors" in line for line in lines) == 1
    assert json.loads((out / "summary.json").read_text())["rows"] == CLIPS


def as_process(monkeypatch, rank: int, size: int) -> None:
    monkeypatch.setenv("RANK", str(rank))
    monkeypatch.setenv("WORLD_SIZE", str(size))


def test_what_is_whole_is_not_done_again_by_any_number_of_processes(done, speech, corpus, tmp_path, monkeypatch):
    out = tmp_path / "out"
    shutil.copytree(done, out)
    names = sorted(path.name for path in out.glob("*.parquet"))
    (out / names[0]).write_bytes((out / names[0]).read_bytes()[:-100])  # cut, as by a full disk
    (out / names[2]).unlink()
    (out / f".{names[2]}.node-1.part").write_bytes(b"PAR1 half of it")  # as kill -9 leaves it
    kept = (out / names[1]).stat().st_mtime_ns
    as_process(monkeypatch, 1, 3)
    work = annotate_corpus(Transcriber(speech, batch_size=2), str(corpus), out, shard_rows=SHARD)
    assert (work.shards, work.missing, work.summary) == (0, 2, None)
    as_process(monkeypatch, 0, 3)
    work = annotate_corpus(Transcriber(speech, batch_size=2), str(corpus), out, shard_rows=SHARD)
    assert (work.shards, work.missing, work.summary) == (1, 1, None)
    as_process(monkeypatch, 2, 3)
    work = annotate_corpus(Transcriber(speech, batch_size=2), str(corpus), out, shard_rows=SHARD)
    assert (work.shards, work.missing) == (1, 0)
    assert work.summary is not None
    assert work.summary["rows"] == CLIPS
    assert (out / names[1]).stat().st_mtime_ns == kept
    assert parts(out) == parts(done)
    assert sorted(path.name for path in out.iterdir()) == [*names, "run.json", "summary.json"]


class Killed(BaseException):
    """Ends a run where it stands."""


@pytest.mark.parametrize("after", [0, 2, 5, 9])
def test_a_run_that_ends_anywhere_goes_on_where_it_was(done, speech, corpus, tmp_path, after):
    class Killer(Watcher):
        clips = 0

        def heard(self, clips):
            self.clips += clips
            if self.clips > after:
                raise Killed

    out = tmp_path / "out"
    transcriber = Transcriber(speech, batch_size=1)
    with pytest.raises(Killed):
        annotate_corpus(transcriber, str(corpus), out, shard_rows=SHARD, watcher=Killer())
    assert len(parts(out)) == after // SHARD
    work = annotate_corpus(transcriber, str(corpus), out, shard_rows=SHARD)
    assert work.shards == 4 - after // SHARD
    assert parts(out) == parts(done)


def test_of_two_runs_that_do_one_shard_at_a_time_both_go_on(done, tmp_path, monkeypatch):
    shards = Shards(tmp_path, CLIPS, SHARD)
    table = pq.read_table(Shards(done, CLIPS, SHARD).path(1))
    original, processes = pq.write_table, []

    def slow(written, path):
        original(written, path)
        processes.append(path)
        if len(processes) == 1:  # meanwhile the other run is done, and clears away
            monkeypatch.setattr(os, "getpid", lambda: -1)
            shards.write(1, table)

    monkeypatch.setattr("aural.corpus_shards.pq.write_table", slow)
    shards.write(1, table)
    assert len(set(processes)) == 2
    assert [path.name for path in tmp_path.iterdir()] == [shards.path(1).name]
    assert pq.read_table(shards.path(1)).equals(table)


def test_the_summary_scores_against_the_references_as_the_model_writes(speech, corpus, tmp_path):
    model = shutil.copytree(speech, tmp_path / "model")
    (Path(model) / FILE_NAME).write_text(normalization_json("letters"))
    work = annotate_corpus(Transcriber(model), str(corpus), tmp_path / "out")
    heard = [row["predicted_text"] for row in rows(tmp_path / "out") if not row["error"]]
    scores = work.summary["scores"]
    assert (work.summary["errors"], scores["scored"], scores["normalization"]) == (2, 9, "letters")
    assert scores["wer"] == pytest.approx(jiwer.wer(["ab cd"] * 9, heard))
    assert scores["cer"] == pytest.approx(jiwer.cer(["ab cd"] * 9, heard))
    assert json.loads((tmp_path / "out" / "summary.json").read_text()) == work.summary


def test_tags_and_their_accuracy(sounds, corpus, tmp_path):
    work = annotate_corpus(Tagger(sounds, batch_size=3), str(corpus), tmp_path / "out", shard_rows=4)
    good = [index for index in range(CLIPS) if index not in (BROKEN, GONE)]
    found = rows(tmp_path / "out")
    for index in good:
        expected = tag(corpus / "clips" / f"{index:02d}.wav", sounds)[0].top(3)
        assert found[index]["predicted_labels"] == [label for label, _ in expected]
        np.testing.assert_allclose(found[index]["predicted_scores"], [score for _, score in expected], atol=1e-5)
    assert found[BROKEN]["predicted_labels"] == found[GONE]["predicted_scores"] == []
    right = [found[index]["predicted_labels"][0] == LABELS[index % 3] for index in good]
    assert work.summary["scores"]["accuracy"] == pytest.approx(np.mean(right))
    assert work.summary["scores"]["scored"] == 9
    work = annotate_corpus(Tagger(sounds, top_k=1), str(corpus), tmp_path / "top")
    assert "--top-k 1 of 3 labels" in work.summary["scores"]["unscored"]


@pytest.mark.parametrize("problem", ["single_label_classification", "multi_label_classification"])
def test_clips_with_several_labels_are_scored_by_mean_average_precision(tmp_path, problem):
    model = save_tagger(tmp_path / "model", problem_type=problem)
    (tmp_path / "corpus").mkdir()
    lines, truth = ["file_name,kind"], [["bell", "horn"], ["drum"], [], ["horn"], ["bell"], ["drum", "bell"]]
    for index, labels in enumerate(truth):
        soundfile.write(tmp_path / "corpus" / f"{index}.wav", wave(0.4, index), 16_000)
        lines.append(f"{index}.wav,{'; '.join(labels)}")
    (tmp_path / "corpus" / "metadata.csv").write_text("\n".join(lines))
    work = annotate_corpus(Tagger(model), str(tmp_path / "corpus"), tmp_path / "out", target_column="kind")
    # An empty cell is a clip without labels to a model of several, and no reference to a model of one.
    kept = [index for index, labels in enumerate(truth) if labels or problem.startswith("multi")]
    found = [rows(tmp_path / "out")[index] for index in kept]
    by_name = [dict(zip(row["predicted_labels"], row["predicted_scores"], strict=True)) for row in found]
    scores = np.array([[row[name] for name in LABELS] for row in by_name])
    there = np.array([[name in truth[index] for name in LABELS] for index in kept])
    assert work.summary["scores"]["scored"] == len(kept)
    assert work.summary["scores"]["map"] == pytest.approx(average_precision_score(there, scores, average="macro"))


def test_a_label_that_the_model_does_not_know_leaves_the_rows_unscored(sounds, corpus, tmp_path):
    work = annotate_corpus(Tagger(sounds), str(corpus), tmp_path / "out", target_column="speaker")
    assert work.missing == 0
    assert "label '000' is unknown" in work.summary["scores"]["unscored"]


def test_parquet_keeps_types_and_paths_and_gives_what_the_folder_gives(done, speech, sounds, corpus, tmp_path):
    files = [corpus / "clips" / f"{index:02d}.wav" for index in range(CLIPS)]
    audio = [{"bytes": f.read_bytes() if f.exists() else b"", "path": f.name} for f in files]
    features = Features({"sound": UNDECODED, "label": ClassLabel(names=list(LABELS)), "audio": Value("int64")})
    data = {"sound": audio, "label": [index % 3 for index in range(CLIPS)], "audio": list(range(CLIPS))}
    dataset = Dataset.from_dict(data, features=features).cast_column("sound", Audio(decode=False))
    (tmp_path / "data").mkdir()
    for index, part in enumerate((dataset.select(range(5)), dataset.select(range(5, CLIPS)))):
        part.to_parquet(tmp_path / "data" / f"{index}.parquet")
    for source in (tmp_path / "data", tmp_path / "data" / "*.parquet"):
        out = tmp_path / f"out-{source.name[0]}"
        annotate_corpus(Transcriber(speech, audio_column="sound"), str(source), out, shard_rows=SHARD)
        found = rows(out)
        assert [row["predicted_text"] for row in found] == [row["predicted_text"] for row in rows(done)]
        assert [row["file"] for row in found] == [f.name for f in files]
    read = load_dataset("parquet", data_files=str(out / "*.parquet"), split="train", cache_dir=str(tmp_path / "cache"))
    assert read.features["label"] == ClassLabel(names=list(LABELS))
    work = annotate_corpus(Tagger(sounds, audio_column="sound"), str(source), tmp_path / "tags")
    expected = annotate_corpus(Tagger(sounds), str(corpus), tmp_path / "expected")
    assert work.summary["scores"] == pytest.approx(expected.summary["scores"])


def test_folders_without_a_table_with_splits_and_saved_ones(corpus, tmp_path):
    bare = shutil.copytree(corpus / "clips", tmp_path / "bare" / "deep")
    (bare / "notes.txt").write_text("no audio")
    found = open_corpus(str(tmp_path / "bare"))
    assert found.rows["file"][:2] == ["deep/00.wav", "deep/01.wav"]
    assert len(found.rows) == CLIPS - 1  # the one that is gone has no table to stand in
    for split in ("train", "test"):
        shutil.copytree(corpus, tmp_path / "splits" / split)
    assert open_corpus(str(tmp_path / "splits"), "test").rows[0]["audio"]["path"].endswith("splits/test/clips/00.wav")
    with pytest.raises(ValueError, match="has test, train"):
        open_corpus(str(tmp_path / "splits"))
    Dataset.from_dict({"audio": [str(path) for path in sorted(bare.glob("*.wav"))]}).save_to_disk(tmp_path / "saved")
    assert len(open_corpus(str(tmp_path / "saved")).rows) == CLIPS - 1
    with pytest.raises(FileNotFoundError, match=r"neither metadata\.csv nor audio files"):
        (tmp_path / "empty").mkdir()
        open_corpus(str(tmp_path / "empty"))


def test_the_fingerprint_changes_with_rows_and_sizes_not_with_the_place(corpus, tmp_path):
    first = open_corpus(str(corpus)).fingerprint
    moved = shutil.copytree(corpus, tmp_path / "moved")
    assert open_corpus(str(moved)).fingerprint == first
    (moved / "clips" / "01.wav").write_bytes(b"other")
    second = open_corpus(str(moved)).fingerprint
    table = (moved / "metadata.csv").read_text()
    (moved / "metadata.csv").write_text(table.replace("Ab, cd", "ab, cd"))
    assert len({first, second, open_corpus(str(moved)).fingerprint}) == 3


def typed(capsys, monkeypatch, verb, corpus, model, out, *options):
    return run(capsys, monkeypatch, verb, "--dataset", corpus, "--model", model, "--out", out, *options)


def test_as_typed_by_one_process(capsys, monkeypatch, speech, corpus, done, tmp_path):
    monkeypatch.chdir(tmp_path)
    code, out, err = typed(capsys, monkeypatch, "transcribe", corpus, speech, "out", "--shard-rows", SHARD)
    assert code == 0
    assert parts(tmp_path / "out") == parts(done)
    lines = out.splitlines()
    assert lines[0].startswith("process 0 of 1: wrote 4 shards, 11 rows, 2 errors, ")
    assert lines[0].endswith(" s of audio per second")
    assert lines[1] == f"out: 11 rows, 2 errors, {sum(SECONDS) - SECONDS[BROKEN] - SECONDS[GONE]:.0f} s of audio"
    assert f"{BROKEN:02d}.wav: not audio" in lines[2]
    assert lines[3].startswith("WER ")
    assert "1 process; 11 rows in 4 shards, of which 0 there already" in err
    code, out, err = typed(capsys, monkeypatch, "transcribe", corpus, speech, "out", "--shard-rows", SHARD, "--quiet")
    assert (code, err) == (0, "")
    assert out.splitlines() == ["process 0 of 1: wrote 0 shards, 0 rows, 0 errors", *lines[1:]]


def test_options_reach_the_rows(capsys, monkeypatch, speech, sounds, corpus, tmp_path):
    options = ["--beams", "1", "--seconds-per-batch", "1.5", "--target-column", "speaker", "--device", "cpu"]
    assert typed(capsys, monkeypatch, "transcribe", corpus, speech, tmp_path / "texts", *options)[0] == 0
    manifest = json.loads((tmp_path / "texts" / "run.json").read_text())
    assert manifest["options"] == {"num_beams": 1}
    assert (manifest["model"], manifest["source"], manifest["rows"]) == (str(speech), str(corpus), CLIPS)
    expected = transcribe(corpus / "clips" / "00.wav", speech, num_beams=1)[0].text
    assert rows(tmp_path / "texts")[0]["predicted_text"] == expected
    options = ["--top-k", "2", "--window", "0.2", "--hop", "0.1", "--batch-size", "5"]
    assert typed(capsys, monkeypatch, "tag", corpus, sounds, tmp_path / "tags", *options)[0] == 0
    expected = tag(corpus / "clips" / "00.wav", sounds, window=0.2, hop=0.1)[0].top(2)
    assert rows(tmp_path / "tags")[0]["predicted_labels"] == [label for label, _ in expected]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ([], "rows is 11, not 10"),  # another corpus
        (["--beams", "2"], "options is {}, not {'num_beams': 2}"),
        (["--shard-rows", "4"], "shard_rows is 3, not 4"),
        (["--model", "other"], "model is"),
    ],
)
def test_a_folder_of_another_run_is_refused_with_what_differs(
    capsys, monkeypatch, speech, corpus, done, tmp_path, options, said
):
    out = shutil.copytree(done, tmp_path / "out")
    source, model = corpus, speech
    if not options:
        source = shutil.copytree(corpus, tmp_path / "corpus")
        lines = (source / "metadata.csv").read_text().splitlines()
        (source / "metadata.csv").write_text("\n".join(lines[:-1]) + "\n")
    if "--model" in options:
        options, model = [], save_folder(tmp_path / "other", seed=5)
    if "--shard-rows" not in options:
        options = [*options, "--shard-rows", SHARD]
    before = parts(out)
    code, printed, err = typed(capsys, monkeypatch, "transcribe", source, model, out, *options)
    assert (code, printed) == (2, "")
    assert "holds the rows of another run" in error_line(err)
    assert said in error_line(err)
    assert parts(out) == before


def test_folders_that_are_wrong_are_one_line(capsys, monkeypatch, speech, sounds, corpus, tmp_path):
    (tmp_path / "file").write_text("x")
    cases = [
        ("transcribe", corpus, speech, tmp_path / "file", "file: is a file; a folder is needed"),
        ("transcribe", corpus, speech, corpus, "but no run.json; give a new folder"),
        ("transcribe", tmp_path / "nowhere", speech, tmp_path / "out", "nowhere"),
        ("tag", corpus, speech, tmp_path / "out", "`aural transcribe` is the command for it"),
        ("transcribe", corpus, sounds, tmp_path / "out", "`aural tag` is the command for it"),
        ("transcribe", corpus, tmp_path, tmp_path / "out", "no config.json"),
    ]
    for verb, source, model, out, message in cases:
        code, printed, err = typed(capsys, monkeypatch, verb, source, model, out)
        assert (code, printed) == (2, ""), message
        assert message in error_line(err)
    code, _, err = typed(capsys, monkeypatch, "transcribe", corpus, speech, tmp_path / "out", "--target-column", "txt")
    assert code == 2
    assert "target_column='txt' is not in the corpus, which has file, text, label, speaker" in error_line(err)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["{corpus}/clips/00.wav", "--dataset", "{corpus}", "--out", "o"],
        ["--dataset", "{corpus}"],
        ["{corpus}/clips/00.wav", "--split", "test"],
        ["--dataset", "{corpus}", "--out", "o", "--json"],
        ["--dataset", "{corpus}", "--out", "o", "--shard-rows", "0"],
        ["--dataset", "{corpus}", "--out", "o", "--subset", "clean"],
        ["--dataset", "{corpus}", "--out", "o", "--split", "test"],
    ],
)
def test_options_that_do_not_go_together_exit_with_2(capsys, monkeypatch, speech, corpus, tmp_path, options):
    monkeypatch.chdir(tmp_path)
    typed_options = [option.format(corpus=corpus) for option in options]
    code, out, err = run(capsys, monkeypatch, "transcribe", "--model", speech, *typed_options)
    assert (code, out) == (2, "")
    assert "Traceback" not in err
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("option", ["--events", "--csv", "--threshold=0.3", "--median=0.1"])
def test_what_tag_does_for_files_alone_is_refused_for_a_corpus(capsys, monkeypatch, sounds, corpus, tmp_path, option):
    code, _, err = typed(capsys, monkeypatch, "tag", corpus, sounds, tmp_path / "out", option)
    assert code == 2
    assert option.split("=")[0].strip("-") in err
    assert not (tmp_path / "out").exists()


def test_ctrl_c_leaves_whole_shards_and_says_how_to_go_on(
    as_in_a_terminal, capsys, monkeypatch, speech, corpus, done, tmp_path
):
    original = Shards.write

    def interrupted(self, shard, table):
        if shard == 2:
            raise KeyboardInterrupt
        original(self, shard, table)

    monkeypatch.setattr(Shards, "write", interrupted)
    as_in_a_terminal()  # with a bar
    out = tmp_path / "out"
    code, printed, err = typed(capsys, monkeypatch, "transcribe", corpus, speech, out, "--shard-rows", SHARD)
    assert (code, printed) == (130, "")
    assert "Traceback" not in err
    assert "the same command goes on from there" in " ".join(err.split())
    assert len(parts(out)) == 2
    monkeypatch.setattr(Shards, "write", original)
    assert typed(capsys, monkeypatch, "transcribe", corpus, speech, out, "--shard-rows", SHARD)[0] == 0
    assert parts(out) == parts(done)


def test_a_corpus_of_which_nothing_can_be_heard_is_an_error(capsys, monkeypatch, speech, tmp_path):
    (tmp_path / "corpus").mkdir()
    (tmp_path / "corpus" / "a.wav").write_bytes(b"no sound")
    code, out, err = typed(capsys, monkeypatch, "transcribe", tmp_path / "corpus", speech, tmp_path / "out")
    assert code == 2
    assert "1 row, 1 error, 0 s of audio" in out
    assert "none of the clips" in error_line(err)
    assert "a.wav: not audio" in error_line(err)


@pytest.mark.parametrize(("rank", "size"), [("0", None), (None, "2"), ("2", "2"), ("x", "2")])
def test_a_launcher_that_says_half_is_refused(monkeypatch, rank, size):
    for name, value in (("RANK", rank), ("WORLD_SIZE", size)):
        monkeypatch.delenv(name, raising=False)
        if value is not None:
            monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=r"RANK=.* and WORLD_SIZE=.*; a launcher sets both"):
        World.from_environment()

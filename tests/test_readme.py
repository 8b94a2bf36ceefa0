"""README is true: its Python runs as it stands, and every number in it is in a report file."""

import contextlib
import io
import json
import re
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aural import load_audio
from aural.bottleneck_report import report_table
from aural.receipt_report import told as told_of_receipts
from aural.string_report import told
from aural.training.clips import clips_folder

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, flags=re.DOTALL)


def run(code: str) -> str:
    """What the code prints."""
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
    return out.getvalue()


def test_the_first_lines_run_as_they_stand_and_print_what_they_say(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert len(BLOCKS[0].strip().splitlines()) <= 11  # ten lines and an empty one
    printed = run(BLOCKS[0]).splitlines()
    assert printed[0] == "tango"
    assert printed[1].startswith("september (10, ")


def test_the_lines_that_listen_closer_print_times_alternatives_and_doubts(monkeypatch):
    monkeypatch.chdir(ROOT)
    *words, alternatives, doubts = run(BLOCKS[1]).splitlines()
    assert [re.sub(r"[\d.]+", "#", word) for word in words] == ["# to # s  september  #"]
    start, end = map(float, re.findall(r"[\d.]+", words[0])[:2])
    assert 0 <= start < end <= 1
    assert alternatives.startswith("(('september', ") and alternatives.count("(") == 4
    assert re.fullmatch(r"[\d.]+ \(\)", doubts)  # nothing is in doubt


def test_the_lines_that_look_draw_the_picture_that_stands_there(tmp_path, monkeypatch):
    (tmp_path / "model_cards").symlink_to(ROOT / "model_cards")
    monkeypatch.chdir(tmp_path)
    assert run(BLOCKS[2]).strip() == "(3, 157, 4, 39)"  # 3 heads, 4 rows of 39 patches and the clip
    assert (tmp_path / "heads.png").read_bytes().startswith(b"\x89PNG")


def test_what_the_atlas_showed_is_in_its_report():
    report = json.loads((ROOT / "model_cards" / "atlas" / "drums.json").read_text())
    heads = {(head["layer"], head["head"]): head for head in report["heads"]}
    assert len(heads) == 36
    second, sixth = heads["layers.2", 2], heads["layers.6", 2]
    lost = [f"{100 * second[name]:.1f}" for name in ("tags", "tags_low", "tags_high")]
    assert f"mAP falls by {lost[0]} points ({lost[1]} to {lost[2]})" in README
    assert f"onsets get {-100 * sixth['onsets']:.1f} points better" in README
    assert sum((head["content"] or 0) > 0.5 for head in heads.values()) == 2
    assert max(head["own"] - head["by_distance"] for head in heads.values()) < 0.1
    assert "On seven kits" in README and "drums of 7 kits" in report["about"]


def test_the_table_of_receipts_is_its_report():
    report = json.loads((ROOT / "model_cards" / "receipts" / "report.json").read_text())
    rows = told_of_receipts(report).split("\n\n")[0].splitlines()
    assert all(row in README for row in rows if "nats" not in row)


def test_the_published_model_loads_with_the_lines_that_say_so(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    soundfile.write("seven.wav", load_audio(clips_folder() / "phonetic-t_p.opus"), 16000)
    code = BLOCKS[3].replace("you/las-strings", str(ROOT / "model_cards" / "las-demo"))
    assert run(code).strip() == "tango"


def test_the_lines_for_a_whole_corpus_add_its_texts(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "data/prompts-en/dev"
    folder.mkdir(parents=True)
    for name in ("phonetic-t_p", "phonetic-s_p"):
        soundfile.write(folder / f"{name}.flac", load_audio(clips_folder() / f"{name}.opus"), 16000)
    (folder / "metadata.csv").write_text("file_name,text\nphonetic-t_p.flac,tango\nphonetic-s_p.flac,sierra\n")
    code = BLOCKS[4].replace("demo/model", str(ROOT / "model_cards" / "las-demo"))
    assert run(code + "\nprint(rows['predicted_text'][:])").strip() == "['tango', 'sierra']"


def test_the_training_lines_run_on_an_audiofolder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for split in ("train", "dev"):
        folder = tmp_path / "data" / "prompts-en" / split
        folder.mkdir(parents=True)
        rows = ["file_name,text"]
        for i, text in enumerate(("one two", "three")):
            soundfile.write(folder / f"{i}.flac", np.random.default_rng(i).normal(0, 0.1, 16000), 16000)
            rows.append(f"{i}.flac,{text}")
        (folder / "metadata.csv").write_text("\n".join(rows) + "\n")
    code = BLOCKS[5].replace('"runs/prompts",', '"runs/prompts", max_steps=2, report_to="none", disable_tqdm=True,')
    run(code)
    assert json.loads((tmp_path / "runs/prompts/checkpoint-2/trainer_state.json").read_text())["global_step"] == 2


def test_every_error_rate_is_in_a_report():
    names = ("las-demo", "synthetic-en", "synthetic-en-to-prompts-en")
    reports = [json.loads((ROOT / "model_cards" / name / "report.json").read_text()) for name in names]
    results = [result for report in reports for result in report["results"]]
    for result in results:
        low, high = result["wer_interval"]
        row = (
            f"| {result['dataset']}, {result['split']} | {result['wer']:.1%} | {low:.1%} to {high:.1%} "
            f"| {result['cer']:.1%} | {result['utterances']} |"
        )
        assert row in README
    rows = re.findall(r"^\|[^|]*\|[^|]*%.*\|$", README, flags=re.MULTILINE)
    assert len(rows) == len(results)


def test_the_table_of_the_bottleneck_is_in_its_report():
    report = json.loads((ROOT / "model_cards" / "bottleneck.json").read_text())
    assert report_table(report, [1, 3, 6, 9, 12]).strip() in README


def test_the_table_of_heads_is_in_its_report():
    report = json.loads((ROOT / "model_cards" / "strings.json").read_text())
    assert told(report).split("\n\n")[0] in README


def test_the_table_of_captions_is_in_its_report():
    results = json.loads((ROOT / "model_cards" / "captions" / "report.json").read_text())["results"]
    for result in results:
        low, high = result["exact_interval"]
        cells = [f"{result['exact']:.1%} ({low:.1%} to {high:.1%})"]
        cells += [f"{result['slots'][name]:.1%}" for name in ("sources", "order", "counts", "overlap")]
        row = f"| {result['split']} | {result['clips']} | {' | '.join(cells)} | {100 * result['bleu_4']:.1f} |"
        assert row in README


def test_what_the_runs_of_captions_took_and_came_to_is_in_their_reports():
    folder = ROOT / "model_cards" / "captions"
    kept, before = (json.loads((folder / f"{name}.json").read_text()) for name in ("report", "report-before"))
    assert (kept["recipe"]["processes"], before["recipe"]["processes"]) == (2, 2)
    assert f"Training took {kept['seconds']['training'] / 60:.1f} minutes on two cores" in README
    heard, unheard = (f"{result['exact']:.1%}" for result in before["results"])
    told = re.sub(r"\s+", " ", README)
    sizes = f"{before['recipe']['updates']:,} updates of {before['recipe']['batch_size']}"
    assert before["recipe"]["decoder_layers"] == 2 and f"a decoder of two layers and {sizes}" in told
    assert f"came to {heard} and {unheard} on other mixes" in told


def test_the_curve_on_the_demos_card_is_that_of_the_study():
    folders = (ROOT / "model_cards" / name for name in ("las-demo", "receipts"))
    card, study = (json.loads((folder / "report.json").read_text()) for folder in folders)
    assert card["deletion"] == study["deletion"]


def test_what_is_said_of_pre_training_is_in_its_report():
    results = json.loads((ROOT / "model_cards" / "drums-pretraining.json").read_text())["results"]
    accuracy, recall = results["accuracy"], results["macro_recall"]
    said = " ".join(README.split())
    means = [f"{accuracy[name]['mean']:.2f}" for name in ("pre-trained", "from scratch", "difference")]
    assert (
        f"accuracy is {means[0]} after pre-training and {means[1]} from scratch, a difference of {means[2]} with a "
        f"spread over folds of {accuracy['difference']['spread']:.2f}" in said
    )
    assert f"macro recall {recall['pre-trained']['mean']:.2f} and {recall['from scratch']['mean']:.2f}" in said


def test_what_a_step_of_pre_training_costs_was_measured():
    masked, every = json.loads((ROOT / "model_cards" / "bench-pretraining.json").read_text())["rows"]
    assert masked["ratio"] >= masked["bar"]
    said = " ".join(README.split())
    assert f"at 80% masking costs {1 / masked['ratio']:.0%} of a supervised step" in said
    assert 0.9 < every["ratio"] < 1.1 and "SSAST's objective, which runs every patch, as much as one" in said


def drum_rows(report: dict) -> list[str]:
    """README's rows about drums: single hits by system, then mixes by the number of sounds."""
    hits, mixes = [], {}
    for result in report["results"]:
        if result["dataset"] == "drum hits":
            cells = [
                f"{result[name]:.2f} ({result[f'{name}_interval'][0]:.2f} to {result[f'{name}_interval'][1]:.2f})"
                for name in ("accuracy", "macro_recall")
            ]
            hits.append(f"| {result['system']} | {cells[0]} | {cells[1]} |")
        else:
            scores = {name: result[name] for name in ("map", "auc", "event_f1_macro") if name in result}
            of = mixes.setdefault(result["dataset"].split()[2], {"clips": result["clips"]})
            of.setdefault(result["system"], {}).update(scores)
    for number, of in mixes.items():
        systems = [scores for name, scores in of.items() if name != "clips"]  # the model's, then the baseline's
        cells = [f"{scores[name]:.2f}" for scores in systems for name in ("map", "auc", "event_f1_macro")]
        hits.append(f"| {number} | {of['clips']} | {' | '.join(cells)} |")
    return hits


def test_every_number_about_drums_is_in_the_report_over_all_folds():
    rows = drum_rows(json.loads((ROOT / "model_cards" / "drums-folds.json").read_text()))
    assert len(rows) == 4 + 4
    for row in rows:
        assert row in README
    results, _ = README.split("## Publish", 1)[1].split("## Speed")
    assert len(re.findall(r"^\|[^|]*\|.* \d\.\d\d.*\|$", results, flags=re.MULTILINE)) == len(rows)


def test_the_kept_model_hears_the_loop_as_readme_says(monkeypatch):
    monkeypatch.chdir(ROOT)
    printed = run(BLOCKS[6]).splitlines()
    said = re.search(r"It prints.*?```text\n(.*?)```", README, flags=re.DOTALL).group(1).splitlines()
    assert printed == said


def test_the_sound_training_lines_run_on_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for split in ("train", "dev"):
        folder = tmp_path / "data" / "sounds" / split
        folder.mkdir(parents=True)
        rows = ["file_name,label"]
        for i, label in enumerate(("dog", "rain", "dog")):
            soundfile.write(folder / f"{i}.flac", np.random.default_rng(i).normal(0, 0.1, 8000), 16000)
            rows.append(f"{i}.flac,{label}")
        (folder / "metadata.csv").write_text("\n".join(rows) + "\n")
    code = BLOCKS[7].replace('"runs/sounds",', '"runs/sounds", max_steps=2, report_to="none", disable_tqdm=True,')
    run(code.replace('from_preset("tiny",', 'from_preset("tiny", num_hidden_layers=1,'))
    assert json.loads((tmp_path / "runs/sounds/checkpoint-2/trainer_state.json").read_text())["global_step"] == 2


def test_every_speed_ratio_is_in_the_kept_bench():
    kept = json.loads((ROOT / "model_cards" / "bench.json").read_text())["rows"]
    ratios = [float(ratio) for ratio in re.findall(r"\| (\d+\.\d)x \|", README)]
    assert ratios == [pytest.approx(round(row["ratio"], 1)) for row in kept]
    assert all(row["ratio"] >= row["bar"] for row in kept if row["bar"])


def test_the_race_against_the_rival_stands_as_it_went():
    rows = json.loads((ROOT / "model_cards" / "bench-rivals.json").read_text())["rows"]
    raced = [row for row in rows if "speechbrain" in row["name"]]
    cells = re.findall(
        r"^\|.*\| ([\d.]+) (?:s|MiB) \| ([\d.]+) (?:s|MiB) \| ([\d.]+)x \| (.*) \|$", README, re.MULTILINE
    )
    assert cells == [
        (
            f"{row['ours']:.2f}",
            f"{row['theirs']:.2f}",
            f"{row['ratio']:.2f}",
            f"≥ {row['bar']:g}" if row["bar"] else "",
        )
        for row in raced
    ]


def test_what_is_said_of_generate_and_of_fewer_bits_is_in_the_race():
    *_, share, bf16, int8 = json.loads((ROOT / "model_cards" / "bench-rivals.json").read_text())["rows"]
    said = " ".join(README.split())
    assert f"Of a greedy step {1 - share['ratio']:.0%} is `generate()`" in said
    assert f"In bf16 this processor takes {bf16['ours'] / bf16['theirs']:.0f} times as long" in said
    assert f"int8 copies are {int8['ratio']:.2f}x as fast" in said
    rates = {rate for row in (bf16, int8) for rate in re.findall(r"[\d.]+%", row["name"])}
    assert len(rates) == 1 and f"strings of the demo ({rates.pop()})" in said


def test_the_demos_minutes_are_those_of_its_report():
    seconds = json.loads((ROOT / "model_cards" / "las-demo" / "report.json").read_text())["seconds"]["total"]
    minutes = int(re.search(r"`make demo` trains in about (\d+) minutes", " ".join(README.split()))[1])
    assert minutes == round(seconds / 60)


def test_what_is_said_of_thirty_minutes_and_of_word_borders_is_in_the_reports():
    long = json.loads((ROOT / "model_cards" / "long-strings.json").read_text())
    assert f"have a word error rate of {long['wer_long']:.1%}, the same strings alone {long['wer_alone']:.1%}" in (
        " ".join(README.split())
    )
    times = json.loads((ROOT / "model_cards" / "las-demo" / "report.json").read_text())["results"][0]["word_times"]
    borders = f"lie within {1000 * times['median_seconds']:.0f} ms of the truth at the median and"
    assert f"{borders} {1000 * times['p90_seconds']:.0f} ms at the 90th percentile" in " ".join(README.split())


def test_every_linked_file_exists():
    for target in re.findall(r"(?:\]\(|src=\")(?!https?://)([^)#\"]+)[)\"]", README):
        assert (ROOT / target).exists(), target

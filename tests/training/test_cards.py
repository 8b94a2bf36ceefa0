"""Model cards: what they say is the report's, their code runs, and no text from outside becomes markup."""

import json
import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import soundfile
import yaml
from huggingface_hub import ModelCard
from markdown_it import MarkdownIt

from aural import transcribe
from aural.training.card_texts import choose_transcripts
from aural.training.cards import check_card, render_card, write_card
from aural.training.markdown import escape
from aural.training.metrics import score_texts
from aural.training.report_reader import read_report
from aural.training.text_results import Utterance
from tests.whole import save_folder, wave

SPOKEN = [
    "a", "b c", "a b c d", "d d d", "c a b", "a a b b c c", "b", "d c b a", "a d", "c c", "b a d", "d a",
]  # fmt: skip
WRITTEN = [
    "a", "b c", "a b c d", "d d", "b b b", "a a b b c c", "c", "d c b a", "a d", "", "b a d", "d a d a d",
]  # fmt: skip
HOSTILE = [
    "x\n---\nlicense: mit\n---\n# Owned",
    "# heading\n\n## Another\n===\n",
    "a | b | c |\n| --- |\n`code` ```\nfence\n```",
    "<script>alert(1)</script> <img src=x onerror=y> <!-- hidden",
    "[click](javascript:x) ![p](http://e.vil/p.png) <http://e.vil> http://e.vil www.e.vil m@e.vil",
    "\x00- item\n- [ ] task\n1. one\n> quote\n*** \\| _b_ **c** ~~d~~ $e$ &lt;b&gt; \\",
    '{"a": [1]} : % @b & *c !d "\'',
    "\u202egnol\u2028---\u0085\r\nend\ud800",
]


def make_report(spoken: list[str] = SPOKEN, written: list[str] = WRITTEN, **fields: Any) -> dict[str, Any]:
    """A report of two results; the second has the texts in another order."""
    pairs = [{"spoken": s, "written": w} for s, w in zip(spoken, written, strict=True)]
    result = {"dataset": "strings", "split": "test", "about": "New arrangements.", "transcripts": pairs}
    turned = {
        "dataset": "prompts",
        "split": "test",
        "about": "New words.",
        "transcripts": [dict(pair) for pair in pairs[::-1][:7]],
    }
    return {
        "format": 1,
        "title": "LAS on a few letters",
        "about": "Writes four letters.",
        "language": "en",
        "license": "cc-by-sa-3.0",
        "base_model": None,
        "data": [{"name": "clips", "license": "CC-BY-SA-3.0", "hours": 0.0481, "source": "aural"}],
        "recipe": {"updates": 1200, "learning_rate": 0.002, "reductions": [3, 2], "augment": True, "teacher": None},
        "seed": 7,
        "seconds": {"training": 187.2, "total": 4000},
        "machine": {
            "processor": "x86_64",
            "cores": 2,
            "threads": 1,
            "device": "cpu",
            "peak_memory_gb": None,
            "versions": {"aural": "0.1.0", "torch": "2.13.0"},
        },
        "limits": ["Knows four letters.", "One voice."],
        "results": [
            {**score_texts(spoken, written), **result},
            {**score_texts(spoken[::-1][:7], written[::-1][:7]), **turned},
        ],
        "example": {"spoken": "a b", "written": "a c"},
        **fields,
    }


def save_report(folder: Path, report: dict[str, Any]) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "report.json").write_text(json.dumps(report), encoding="utf-8")
    if not (folder / "config.json").exists():
        (folder / "config.json").write_text('{"model_type": "las", "attention_kind": "dot"}')
    return folder


def hostile_report(text: str) -> dict[str, Any]:
    """Every text from outside is `text`."""
    report = make_report([text] * 12, [text + text] * 12)
    for result in report["results"]:
        result.update(dataset=text, split=text, about=text)
    report["machine"] |= {"processor": text, "device": text, "versions": {"aural": text, text: text}}
    report["data"] = [{"name": text, "license": text, "hours": 1, "source": text}]
    report |= {"title": text, "about": text, "base_model": text, "limits": [text], "recipe": {text: text, "b": [text]}}
    return {**report, "example": {"spoken": text, "written": text}}


def front_matter(text: str) -> dict[str, Any]:
    return yaml.safe_load(text.split("\n---\n")[0])


def section(text: str, title: str) -> str:
    return text.split(f"\n## {title}\n")[1].split("\n## ")[0]


def code_blocks(text: str) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)


def structure(text: str) -> list[str]:
    """Tokens of a card's body, blocks and what stands within lines, as CommonMark with tables reads it."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(text.split("\n---\n", 1)[1])
    return [kind for token in tokens for kind in [token.type, *(child.type for child in token.children or [])]]


def test_metrics_in_the_front_matter_are_the_reports(tmp_path):
    report = make_report()
    index = front_matter(str(render_card(save_report(tmp_path, report))))["model-index"][0]
    assert index["name"] == report["title"]
    assert len(index["results"]) == 2
    for entry, result in zip(index["results"], report["results"], strict=True):
        assert entry["task"]["type"] == "automatic-speech-recognition"
        assert (entry["dataset"]["name"], entry["dataset"]["split"]) == (result["dataset"], result["split"])
        for metric, name in zip(entry["metrics"], ("wer", "cer"), strict=True):
            assert (metric["type"], metric["value"]) == (name, result[name])
            assert metric["args"] == {"clips": result["utterances"], "interval_95": result[f"{name}_interval"]}
            assert "verified" not in metric


def test_every_number_of_the_results_table_is_the_reports(tmp_path):
    report = make_report()
    results = section(str(render_card(save_report(tmp_path, report))), "Results")
    rows = [line for line in results.splitlines() if line.startswith("|")][2:]
    for row, result in zip(rows, report["results"], strict=True):
        numbers = [str(result["utterances"])]
        for name in ("wer", "cer"):
            numbers += [f"{rate:.1%}" for rate in (result[name], *result[f"{name}_interval"])]
        assert re.findall(r"\d[\d.]*%?", row) == numbers
    assert "strings (test): New arrangements." in results


def test_results_of_one_name_stay_apart(tmp_path):
    report = make_report()
    report["results"][1]["dataset"] = "strings"
    index = front_matter(str(render_card(save_report(tmp_path, report))))["model-index"][0]
    assert [entry["dataset"]["type"] for entry in index["results"]] == ["strings", "strings-2"]
    values = [[metric["value"] for metric in entry["metrics"]] for entry in index["results"]]
    assert values == [[result["wer"], result["cer"]] for result in report["results"]]


def test_front_matter_names_library_licence_task_and_base(tmp_path):
    text = str(render_card(save_report(tmp_path, make_report(base_model="someone/las-base"))))
    data = front_matter(text)
    assert data["license"] == "cc-by-sa-3.0"
    assert data["library_name"] == "transformers"
    assert data["pipeline_tag"] == "automatic-speech-recognition"
    assert data["tags"] == ["aural", "las", "automatic-speech-recognition"]
    assert data["base_model"] == "someone/las-base"
    assert "Fine-tuned from someone/las-base." in text
    scratch = str(render_card(save_report(tmp_path, make_report())))
    assert "base_model" not in front_matter(scratch)
    assert "Trained from scratch" in scratch


def test_the_body_tells_data_recipe_machine_limits_and_citation(tmp_path):
    text = str(render_card(save_report(tmp_path, make_report())))
    assert "| clips | CC-BY-SA-3.0 | 0.0481 | aural |" in section(text, "Data")
    for row in ("updates | 1200", "learning\\_rate | 0.002", "reductions | 3, 2", "augment | yes", "seed | 7"):
        assert f"| {row} |" in section(text, "Recipe")
    for row in ("training, h:mm:ss | 0:03:07", "total, h:mm:ss | 1:06:40", "peak memory gb | –", "torch | 2.13.0"):
        assert f"| {row} |" in section(text, "Machine")
    assert "- Knows four letters.\n- One voice." in section(text, "Limits")
    assert "1508.01211" in section(text, "Citation")
    assert "1506.07503" not in text
    (tmp_path / "config.json").write_text('{"model_type": "las", "attention_kind": "location"}')
    assert "1506.07503" in str(render_card(tmp_path))


def test_what_was_not_measured_is_a_dash(tmp_path):
    data = [{"name": "clips", "license": "not stated", "hours": None, "source": "aural"}]
    report = make_report(data=data, seconds={"training": None, "total": None}, base_model="las-base")
    text = str(render_card(save_report(tmp_path, report)))
    assert "| clips | not stated | – | aural |" in text
    assert "| training, h:mm:ss | – |" in text
    assert "Fine-tuned from las-base." in text
    assert "base_model" not in front_matter(text)  # a folder's name, which may be somebody's on the Hub


def test_the_picture_is_shown_if_there_is_one(tmp_path):
    folder = save_report(tmp_path, make_report())
    assert "alignment.png" not in str(render_card(folder))
    (folder / "alignment.png").write_bytes(b"\x89PNG")
    text = str(render_card(folder))
    assert "](alignment.png)" in text
    assert "Spoken: “a b”; written: “a c”." in text


def test_best_and_worst_transcripts_are_ten_and_none_twice(tmp_path):
    text = section(str(render_card(save_report(tmp_path, make_report()))), "Transcripts")
    assert "12 clips of strings (test)" in text
    rows = [tuple(line.strip("| ").split(" | ")) for line in text.splitlines() if " of " in line and line[0] == "|"]
    assert rows == [
        ("a a b b c c", "a a b b c c", "0 of 6"),
        ("a b c d", "a b c d", "0 of 4"),
        ("d c b a", "d c b a", "0 of 4"),
        ("b a d", "b a d", "0 of 3"),
        ("b c", "b c", "0 of 2"),
        ("d a", "d a d a d", "3 of 2"),
        ("b", "c", "1 of 1"),
        ("c c", "–", "2 of 2"),
        ("c a b", "b b b", "2 of 3"),
        ("d d d", "d d", "1 of 3"),
    ]


def test_few_transcripts_are_shown_once():
    few = [Utterance(str(i), "", i % 3, 2) for i in range(9)]
    best, worst = choose_transcripts(few)
    assert sorted(each.spoken for each in best) == [each.spoken for each in few]
    assert worst == []
    best, worst = choose_transcripts([Utterance("same", "same", 0, 1)] * 4 + few)
    assert (len(best), len(worst)) == (5, 5)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder that holds speech.wav and, beside it, a whole model with its card."""
    place = tmp_path_factory.mktemp("place")
    write_card(save_report(save_folder(place / "las-letters"), make_report()))
    soundfile.write(place / "speech.wav", wave(0.6), 16000)
    return place


def test_the_code_of_the_card_runs_offline(place, monkeypatch, capsys):
    monkeypatch.chdir(place)
    monkeypatch.setattr(socket.socket, "connect", lambda *_: pytest.fail("the code of the card went online"))
    blocks = code_blocks(Path("las-letters/README.md").read_text(encoding="utf-8"))
    assert len(blocks) == 2
    expected = transcribe("speech.wav", "las-letters")[0].text
    capsys.readouterr()
    for block in blocks:
        exec(block, {})
    assert capsys.readouterr().out == f"{expected}\n" * 2


def test_the_code_for_transformers_alone_runs_without_aural(place, tmp_path):
    text = (place / "las-letters" / "README.md").read_text(encoding="utf-8")
    assert "With transformers alone:" in text
    block = code_blocks(text)[1]
    output = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"import sys\nsys.modules['aural'] = None\n{block}"],
        capture_output=True,
        text=True,
        cwd=place,
        env={"HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1", "PATH": ""},
    )
    assert output.returncode == 0, output.stderr
    assert output.stdout.strip() == transcribe(place / "speech.wav", place / "las-letters")[0].text.strip()


def test_a_folder_without_its_code_does_not_promise_to_load_without_aural(tmp_path):
    text = str(render_card(save_report(tmp_path, make_report())))
    assert "With transformers alone" not in text
    assert "import aural" in code_blocks(text)[1]


def test_the_code_loads_the_given_id(tmp_path):
    folder = save_report(tmp_path, make_report())
    blocks = code_blocks(str(render_card(folder, repo_id="someone/las")))
    assert all('"someone/las"' in block for block in blocks)
    blocks = code_blocks(str(render_card(save_report(tmp_path / 'a"b```', make_report()))))
    assert ['"a\\"b```"' in block for block in blocks] == [True, True]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_texts_stay_texts(tmp_path, text):
    card = str(render_card(save_report(tmp_path / "hostile", hostile_report(text))))
    tame = str(render_card(save_report(tmp_path / "tame", hostile_report("word"))))
    assert structure(card) == structure(tame)
    assert front_matter(card).keys() - {"base_model"} == front_matter(tame).keys() - {"base_model"}
    assert front_matter(card)["license"] == "cc-by-sa-3.0"
    assert "<script" not in card
    assert "<img" not in card
    assert "\u202e" not in card
    check_card(card, tmp_path / "hostile")


@pytest.mark.parametrize(
    "text", ["3.5 of 7", "a_b", "snake \\| pipe", "-1", "1. one", "5.23", "x & y", "`", "日本語", "#"]
)
def test_escaped_text_reads_as_it_was(text):
    for before, after in (("", ""), ("# ", ""), ("- ", ""), ("| ", " |\n| --- |")):
        tokens = MarkdownIt("commonmark").enable("table").parse(f"{before}{escape(text)}{after}")
        inline = next(token for token in tokens if token.type == "inline")
        assert "".join(child.content for child in inline.children) == text


def change(report: dict[str, Any], field: str, value: Any) -> dict[str, Any]:
    """`report` with one field set, or taken away where `value` is `...`."""
    *path, last = [int(part) if part.isdigit() else part for part in field.split(".")]
    place: Any = report
    for part in path:
        place = place[part]
    if value is ...:
        del place[last]
    else:
        place[last] = value
    return report


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("license", ..., r"license is missing; .*licence field required"),
        ("license", "", r"license is ''; .*licence field required"),
        ("license", "mit\nx: y", "license is"),
        ("format", 3, "format 3, written by a newer aural"),
        ("format", "1", "format is '1'; it must be a whole number"),
        ("title", " ", "title is ' '"),
        ("language", "english", "language is 'english'"),
        ("base_model", ..., "base_model is missing"),
        ("base_model", 3, "base_model is 3"),
        ("data", [], r"data is \[\]"),
        ("data.0.license", ..., r"data\[0\]\.license is missing"),
        ("data.0.hours", "two", r"data\[0\]\.hours is 'two'; it must be a number"),
        ("data.0.hours", float("nan"), r"data\[0\]\.hours is nan"),
        ("data.0.hours", ..., r"data\[0\]\.hours is missing"),
        ("recipe.deep", {"a": 1}, r"recipe\.deep is .* must be flat"),
        ("seed", True, "seed is True"),
        ("seconds.total", ..., r"seconds\.total is missing"),
        ("machine.device", ..., r"machine\.device is missing"),
        ("machine.versions.aural", ..., r"machine\.versions\.aural is missing"),
        ("limits", [], r"limits is \[\]"),
        ("results.1.split", ..., r"results\[1\]\.split is missing"),
        ("results.0.wer", 0.01, r"results\[0\]\.wer is 0\.01; it must be what its transcripts give"),
        ("results.0.cer", 0.01, r"results\[0\]\.cer is 0\.01; it must be what its transcripts give"),
        ("data.0.hours", True, r"data\[0\]\.hours is True; it must be a number"),
        ("results.1.characters", 3, r"results\[1\]\.characters is 3; it must be what its transcripts hold"),
        ("results.0.words", 3, r"results\[0\]\.words is 3; it must be what its transcripts hold"),
        ("results.0.cer_interval", [0.2, 0.1], r"results\[0\]\.cer_interval is .*low first"),
        ("results.0.cer_interval", [0.2, "x"], r"results\[0\]\.cer_interval is 'x'"),
        ("results.0.utterances", 400, r"results\[0\]\.utterances is 400; .* transcripts, which is 12"),
        ("results.1.transcripts.2.written", ..., r"results\[1\]\.transcripts\[2\]\.written is missing"),
        ("example.spoken", None, r"example\.spoken is None"),
    ],
)
def test_a_wrong_report_names_file_and_field(tmp_path, field, value, message):
    folder = save_report(tmp_path, change(make_report(), field, value))
    with pytest.raises(ValueError, match=message) as error:
        render_card(folder)
    assert str(error.value).startswith(str(folder / "report.json"))


def test_what_a_card_is_made_of_must_be_there(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"report\.json does not exist: .*create_model_card"):
        render_card(tmp_path)
    for text in ("{", "[]", "\xff"):
        (tmp_path / "report.json").write_bytes(text.encode("latin-1"))
        with pytest.raises(ValueError, match=r"is not JSON|a report is a JSON object"):
            read_report(tmp_path / "report.json")
    save_report(tmp_path, make_report())
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ValueError, match="model_type is 'bert'; there are cards for las"):
        render_card(tmp_path)
    (tmp_path / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"config\.json does not exist"):
        render_card(tmp_path)


def test_a_card_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    folder = save_report(tmp_path, make_report())
    (folder / "README.md").write_text("an earlier card")
    save_report(folder, make_report(license=""))
    with pytest.raises(ValueError, match="licence field required"):
        write_card(folder)
    save_report(folder, make_report())
    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(OSError("disk is full")))
        with pytest.raises(OSError, match="disk is full"):
            write_card(folder)
    assert (folder / "README.md").read_text() == "an earlier card"
    assert {path.name for path in folder.iterdir()} == {"README.md", "config.json", "report.json"}
    assert write_card(folder) == folder / "README.md"
    check_card((folder / "README.md").read_text(encoding="utf-8"), folder)


def test_the_same_folder_gives_the_same_bytes_anywhere(tmp_path):
    texts = []
    for place in ("here", "there"):
        (tmp_path / place).mkdir()
        folder = save_report(tmp_path / place / "las", make_report())
        texts.append(write_card(folder).read_bytes())
        assert write_card(folder).read_bytes() == texts[-1]
    assert texts[0] == texts[1]
    assert str(ModelCard.load(tmp_path / "here" / "las" / "README.md")).encode() == texts[0]


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("license: cc-by-sa-3.0\n", "", "licence field required"),
        ("license: cc-by-sa-3.0\n", "license: mit\n", "license is not that of"),
        ("value: 0.", "value: 0.0", "model-index is not that of"),
        ("clips: 12", "clips: 1200", "model-index is not that of"),
        ("language: en", "language: [en", "front matter cannot be read"),
    ],
)
def test_a_card_that_was_changed_does_not_pass(tmp_path, old, new, message):
    folder = save_report(tmp_path, make_report())
    text = str(render_card(folder))
    assert old in text
    with pytest.raises(ValueError, match=message):
        check_card(text.replace(old, new), folder)


def test_transcripts_that_are_all_alike_are_still_ten_different_ones():
    alike = [Utterance(f"text {i}", f"text {i}", 0, 2) for i in range(12)]
    best, worst = choose_transcripts(alike)
    assert [each.spoken for each in [*best, *worst]] == [f"text {i}" for i in range(10)]


def test_a_card_that_does_not_hold_the_report_does_not_replace_an_earlier_one(tmp_path, monkeypatch):
    folder = save_report(tmp_path, make_report())
    before = write_card(folder).read_bytes()
    wrong = str(render_card(folder)).replace("license: cc-by-sa-3.0", "license: mit")
    monkeypatch.setattr("aural.training.cards.render_card", lambda *_: wrong)
    with pytest.raises(ValueError, match="license is not that of"):
        write_card(folder)
    assert (folder / "README.md").read_bytes() == before

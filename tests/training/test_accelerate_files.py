"""The files for `accelerate launch`: read by Accelerate itself, and put in force as far as a processor allows.

No GPU and no second node was there: what is proved here is that Accelerate takes every file for what it is meant, and
that with the environment it then sets, runs train and save in bf16, compiled (traced, without a code generator), as
copies (DDP) and in shards (FSDP2) on two processes over gloo.
"""

import json
import os
from pathlib import Path

import pytest
import torch
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_multi_gpu_env, prepare_simple_launcher_cmd_env
from safetensors.torch import load_file

import aural.training
from aural.training.sharding import LAYERS, shard_by_layers
from tests.tiny import tiny_las
from tests.tiny_spectrogram import tiny_spectrogram
from tests.training.test_processes import torchrun
from tests.training.two_processes import make_trainer

FOLDER = Path(aural.training.__file__).parent / "accelerate"
FILES = {  # processes, machines, sharded, precision
    "laptop": (1, 1, False, "no"),
    "one-gpu": (1, 1, False, "bf16"),
    "one-node": (8, 1, False, "bf16"),
    "one-node-fsdp": (8, 1, True, "bf16"),
    "two-nodes": (16, 2, True, "bf16"),
}
STEPS = 2
ROUNDED = 0.02  # share that bf16 may change a loss by


def launch(name, *more):
    """Arguments as `accelerate launch` reads them with a file, and what it adds to the environment."""
    words = ["--config_file", str(FOLDER / f"{name}.yaml"), *more, "-m", "aural", "train", "RECIPE.yaml"]
    args, _, _ = _validate_launch_command(launch_command_parser().parse_args(words))
    several = args.multi_gpu or args.use_fsdp
    environment = prepare_multi_gpu_env(args) if several else prepare_simple_launcher_cmd_env(args)[1]
    return args, {key: value for key, value in environment.items() if os.environ.get(key) != value}


def test_every_file_is_known():
    assert {path.stem for path in FOLDER.glob("*.yaml")} == set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_accelerate_takes_a_file_for_what_it_is_meant(name):
    more = ("--machine_rank", "1", "--main_process_ip", "10.0.0.1") if name == "two-nodes" else ()
    args, environment = launch(name, *more)
    processes, machines, sharded, precision = FILES[name]
    assert (args.num_processes, args.num_machines, args.use_fsdp) == (processes, machines, sharded)
    assert environment["ACCELERATE_MIXED_PRECISION"] == precision
    assert (environment.get("ACCELERATE_USE_CPU") == "True") == (name == "laptop")
    assert args.multi_gpu == (name == "one-node")
    compiled = {key: environment[f"ACCELERATE_DYNAMO_{key}"] for key in ("BACKEND", "USE_REGIONAL_COMPILATION")}
    on = {"BACKEND": "INDUCTOR", "USE_REGIONAL_COMPILATION": "True"}
    assert compiled == (on if name == "one-gpu" else {"BACKEND": "NO", "USE_REGIONAL_COMPILATION": "False"})
    if sharded:
        assert environment["FSDP_VERSION"] == "2"
        assert environment["FSDP_STATE_DICT_TYPE"] == "FULL_STATE_DICT"
    if machines > 1:
        assert (args.nproc_per_node, args.nnodes, args.node_rank) == ("8", "2", 1)
        assert (args.rdzv_backend, args.rdzv_endpoint) == ("static", "10.0.0.1:29500")


@pytest.mark.parametrize("model", [tiny_las(), tiny_spectrogram()], ids=["las", "spectrogram_transformer"])
def test_layers_to_shard_are_in_the_models_and_hold_no_embedding(model):
    class Plugin:
        transformer_cls_names_to_wrap = None

    plugin = Plugin()
    shard_by_layers(plugin, model)
    names = plugin.transformer_cls_names_to_wrap
    assert names == LAYERS[model.config.model_type]
    layers = [module for module in model.modules() if type(module).__name__ in names]
    assert len(layers) >= 2
    apart = (model.get_input_embeddings(), model.get_output_embeddings() if model.can_generate() else None)
    assert not any(module in apart for layer in layers for module in layer.modules())


def test_names_that_were_given_stay():
    class Plugin:
        transformer_cls_names_to_wrap: list[str] = ["Listener"]  # noqa: RUF012

    plugin = Plugin()
    shard_by_layers(plugin, tiny_las())
    shard_by_layers(None, tiny_las())
    shard_by_layers(plugin, torch.nn.Linear(1, 1))
    assert plugin.transformer_cls_names_to_wrap == ["Listener"]


@pytest.mark.full
@pytest.mark.parametrize(("name", "processes"), [("one-gpu", 1), ("one-node", 2), ("one-node-fsdp", 2)])
def test_a_file_in_force_trains_and_saves(name, processes, tmp_path):
    _, environment = launch(name)
    environment |= {"ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    if name == "one-gpu":
        environment["ACCELERATE_DYNAMO_BACKEND"] = "AOT_EAGER"  # no compiler of C++ is asked for
    torchrun("tests.training.launched", tmp_path, processes=processes, **environment)
    for case in ("texts", "sounds"):
        alone = make_trainer(case, tmp_path / "alone", 1, max_steps=STEPS)
        alone.train()
        expected = [entry["loss"] for entry in alone.state.log_history if "loss" in entry]
        for rank in range(processes):
            seen = json.loads((tmp_path / f"rank-{rank}.json").read_text(encoding="utf-8"))[case]
            assert seen["losses"] == pytest.approx(expected, rel=ROUNDED)
            assert (seen["processes"], seen["precision"]) == (processes, "bf16")
            assert seen["compiler"] == ("AOT_EAGER" if name == "one-gpu" else "NO")
            assert seen["sharding"] == (2 if name == "one-node-fsdp" else None)
            assert seen["sharded"] == (len(alone.model.state_dict()) if name == "one-node-fsdp" else 0)
        saved = load_file(tmp_path / case / f"checkpoint-{STEPS}" / "model.safetensors")
        assert saved.keys() == alone.model.state_dict().keys()
        for weight, value in alone.model.state_dict().items():
            assert saved[weight].dtype == torch.float32
            torch.testing.assert_close(saved[weight], value, atol=5e-3, rtol=ROUNDED, msg=weight)

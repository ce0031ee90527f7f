"""A step: micro batches, checkpointing and compiling change nothing that is learned; every recipe takes one."""

import numpy as np
import pytest
import torch
import yaml
from bench_faces import make_faces
from training import assert_same, freeze_batch_norm, tiny_recipe

from bench.config import BENCHMARKS_PATH, Recipe
from bench.errors import InputError
from fr_train import network
from fr_train.data import Batch, FaceBatches
from fr_train.engine import Engine
from fr_train.options import RunOptions

RECIPES = yaml.safe_load(BENCHMARKS_PATH.read_text())["recipes"]


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return make_faces(tmp_path_factory.mktemp("faces"), num_identities=4, images_per_identity=6)


def make_engine(recipe, options=None, num_identities=4):
    torch.manual_seed(0)
    return Engine(num_identities, recipe, options or RunOptions(), seed=0, device=torch.device("cpu"))


def after_steps(engine, faces, num_steps=3):
    """Losses and gradient norms, then the state of everything that was trained."""
    batches = FaceBatches(faces, engine.recipe, seed=0)
    values = [engine.update(batches[step], 0.02) for step in range(num_steps)]
    curve = {name: torch.stack([value[name] for value in values]) for name in ("loss", "grad_norm")}
    return curve, engine.backbone.state_dict() | {"head": engine.head.weight.detach()}


@pytest.mark.parametrize(
    "margin", [{"kind": "arcface"}, {"kind": "magface"}, {"kind": "uniface"}, {"kind": "cosface", "sample_rate": 0.3}]
)
def test_micro_batches_add_up_to_the_batch(faces, monkeypatch, margin):
    freeze_batch_norm(monkeypatch)
    recipe = tiny_recipe(backbone={"depth": 18, "width": 4, "embedding_dim": 16}, margin=margin | {"scale": 16.0})
    curve, state = after_steps(make_engine(recipe), faces)
    for micro_batch in (2, 4):
        micro_curve, micro_state = after_steps(make_engine(recipe, RunOptions(micro_batch=micro_batch)), faces)
        for name in curve:
            torch.testing.assert_close(micro_curve[name], curve[name], rtol=2e-5, atol=0)
        for name in state:
            torch.testing.assert_close(micro_state[name], state[name], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("micro_batch", "message"),
    [
        (3, r"--micro-batch 3 does not divide the 8 faces of each process .*; set 2 or 4"),
        (1, r"into parts of two or more; set 2 or 4"),
        (16, r"set 4 or 8"),
    ],
)
def test_micro_batches_that_do_not_fit(micro_batch, message):
    with pytest.raises(InputError, match=message):
        make_engine(tiny_recipe(), RunOptions(micro_batch=micro_batch))


def test_gradient_checkpointing_changes_no_bit(faces):
    curve, state = after_steps(make_engine(tiny_recipe()), faces)
    other_curve, other_state = after_steps(make_engine(tiny_recipe(), RunOptions(gradient_checkpointing=True)), faces)
    assert_same(curve, other_curve)
    assert_same(state, other_state)


def test_a_compiler_that_fails_is_done_without(faces, monkeypatch, capsys):
    def broken(module):
        raise RuntimeError("no compiler\nanywhere")

    monkeypatch.setattr(torch, "compile", broken)
    engine = make_engine(tiny_recipe(), RunOptions(compile=True))
    assert engine.network is engine.backbone
    said = capsys.readouterr().err
    assert said == (
        "train: torch.compile does not work here, going on without it (RuntimeError: no compiler anywhere)\n"
    )


@pytest.mark.slow
def test_a_compiled_backbone_learns_the_same(faces):
    recipe = tiny_recipe(backbone={"depth": 18, "width": 16, "embedding_dim": 16}, augmentation={})
    curve, _ = after_steps(make_engine(recipe), faces)
    engine = make_engine(recipe, RunOptions(compile=True))
    assert engine.network is not engine.backbone
    compiled_curve, state = after_steps(engine, faces)
    torch.testing.assert_close(compiled_curve["loss"], curve["loss"], rtol=1e-2, atol=0)
    assert not any(name.startswith("_orig_mod") for name in state)


@pytest.mark.parametrize(
    ("options", "remedy"),
    [
        (RunOptions(), "set --micro-batch 4 or --gradient-checkpointing"),
        (RunOptions(micro_batch=4, gradient_checkpointing=True), "set --micro-batch 2"),
        (RunOptions(micro_batch=2), "set --gradient-checkpointing"),
    ],
)
@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA"), RuntimeError("...: can't allocate memory: you ...")])
def test_out_of_memory_says_which_batch_to_set(faces, options, remedy, error):
    engine = make_engine(tiny_recipe(), options)

    def full(*_):
        raise error

    engine.network.register_forward_pre_hook(full)
    at_once = options.micro_batch or 8
    with pytest.raises(InputError, match=f"memory ran out at step 0 with {at_once} faces at a time .*; {remedy}$"):
        after_steps(engine, faces, 1)


def test_other_errors_are_no_lack_of_memory(faces):
    engine = make_engine(tiny_recipe())
    engine.network.register_forward_pre_hook(lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        after_steps(engine, faces, 1)


def test_synchronised_batch_norm_needs_gpus(monkeypatch):
    monkeypatch.setattr(network.dist, "is_initialized", lambda: True)
    with pytest.raises(InputError, match=r"recipe\.sync_batch_norm works on GPUs alone; set it to false"):
        make_engine(tiny_recipe(sync_batch_norm=True))


def test_new_recipe_settings_leave_old_fingerprints_alone():
    dump = tiny_recipe().model_dump(mode="json")
    assert not {"sync_batch_norm", "skip_corrupt"} & set(dump)
    assert tiny_recipe(skip_corrupt=True).model_dump(mode="json") == dump | {"skip_corrupt": True}


def test_an_overflow_anywhere_skips_the_step_everywhere(faces):
    engine = make_engine(tiny_recipe())
    engine.scaler = torch.amp.GradScaler("cpu", enabled=True, init_scale=1.0)
    engine.head.weight.register_hook(lambda gradient: gradient * float("inf"))
    before = engine.backbone.conv1.weight.detach().clone()
    after_steps(engine, faces, 1)
    assert torch.equal(engine.backbone.conv1.weight, before)
    assert engine.scaler.get_scale() == 0.5


def test_the_first_bad_step_is_remembered(faces):
    engine = make_engine(tiny_recipe())
    after_steps(engine, faces, 1)
    assert engine.first_bad_step > engine.step
    engine.backbone.fc.bias.data[0] = float("nan")
    after_steps(engine, faces, 3)
    assert engine.first_bad_step == 1


@pytest.mark.parametrize("name", RECIPES)
def test_every_recipe_takes_a_step(name):
    recipe = Recipe.model_validate(RECIPES[name] | {"batch_size": 4})
    engine = make_engine(recipe, num_identities=9)
    before = {name: value.clone() for name, value in engine.backbone.state_dict().items()}
    pixels = torch.randint(0, 256, (4, 112, 112, 3), dtype=torch.uint8)
    values = engine.update(Batch(pixels, torch.tensor([0, 8, 3, 3]), np.arange(4), epoch=0), 0.01)
    assert all(torch.isfinite(value) for value in values.values())
    trained = [name for name, parameter in engine.backbone.named_parameters() if parameter.requires_grad]
    after = engine.backbone.state_dict()
    assert sum(not torch.equal(before[name], after[name]) for name in trained) > 0.9 * len(trained)

"""Pose models from files: strict in every entry, whatever the names of the attention; mistaken files are refused."""

import json

import pytest
import torch
from safetensors.torch import save_file
from small_generation import PIECES, SIZE, write_pose_model
from torch import nn

from bench.errors import InputError
from generate.networks.plus.condition import PoseNetwork
from generate.networks.plus.lora import add_lora
from generate.networks.plus.pose_weights import main_state, read_pose_model, save_pose_model, state_sha256
from generate.networks.weights import read_weights
from generate.vec2face import Vec2Face, load_generator, save_generator

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def files(tmp_path):
    """A small main model and its pose model, in our form."""
    write_pose_model(tmp_path)
    return tmp_path / "generator.safetensors", tmp_path / "pose.safetensors"


def adapted(rank, seed=0):
    """A generator with random LoRA, and a pose network with random weights."""
    torch.manual_seed(seed)
    model, network = Vec2Face(SIZE), PoseNetwork(SIZE.width, PIECES)
    for weight in [*add_lora(model, rank), network.linear.weight]:
        nn.init.normal_(weight, std=0.1)
    return model, network


def released(path, *, rank=8, **changes):
    """A file like the released pose_model.pth, for the small sizes; returns the state of its main model."""
    model, _ = adapted(rank)
    content = {"model_vec2face": model.state_dict(), "pose_model": PoseNetwork(SIZE.width).state_dict(), "epoch": 10}
    torch.save({name: value for name, value in (content | changes).items() if value is not None}, path)
    return model


def plain(model):
    state = {name: value for name, value in model.state_dict().items() if not name.endswith((".A", ".B"))}
    return main_state(state, "x")


def test_ours_round_trips_and_draws_as_unmerged(files):
    main, pose = files
    posed = load_generator(main, pose=pose)
    assert not posed.training and not any(weight.requires_grad for weight in posed.parameters())
    model, network = adapted(2)
    features, noise = torch.randn(2, SIZE.feature_dim), torch.rand(2, 49)
    pictures = torch.rand(2, 3, 112, 112)
    expected = model.eval()(features, noise, 0.85, fill=network(pictures), drop_ratio=0.8)
    torch.testing.assert_close(posed(features, noise, 0.85, pictures), expected, rtol=1e-4, atol=1e-5)
    assert torch.equal(posed(features, noise, 0.3), load_generator(main)(features, noise, 0.3))
    assert pose.stat().st_size < main.stat().st_size / 2  # without the generator
    half = load_generator(main, pose=pose, dtype=torch.bfloat16)(features, noise, 0.85, pictures)
    assert half.dtype == torch.float32
    assert (half - expected).abs().max() < 0.1 * expected.abs().max()


def test_a_released_pose_model_loads_and_keeps_its_own_generator(tmp_path, capsys):
    model = released(tmp_path / "pose.pth")
    main = plain(model)
    pose = read_pose_model(tmp_path / "pose.pth", main)
    assert capsys.readouterr().err == ""
    weight = model.state_dict()
    name = "blocks.0.attn.qkv"
    by_hand = weight[f"{name}.base.weight"] + 4 * weight[f"{name}.B"] @ weight[f"{name}.A"]
    torch.testing.assert_close(pose.generator[f"{name}.weight"], by_hand)
    assert set(pose.generator) == set(main)
    other = main | {"norm.bias": main["norm.bias"] + 1}
    pose = read_pose_model(tmp_path / "pose.pth", other)
    assert torch.equal(pose.generator["norm.bias"], main["norm.bias"])
    assert f"1 of {len(main)} entries" in capsys.readouterr().err


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_main_model_loads_with_either_names_of_the_attention(tmp_path, wrapped):
    """The published trainer skips names that do not fit, and the attention stays random; nothing may do so here."""
    torch.manual_seed(3)
    model = Vec2Face(SIZE).eval()
    save_generator(model, tmp_path / "main.safetensors")
    content, metadata = read_weights(tmp_path / "main.safetensors")
    state = {wrap(name) if wrapped else name: tensor for name, tensor in content.items()}
    save_file(state, tmp_path / "main.safetensors", metadata)
    loaded = load_generator(tmp_path / "main.safetensors").state_dict()
    assert all(torch.equal(tensor, loaded[name]) for name, tensor in model.state_dict().items())
    del state[wrap("blocks.0.attn.proj.bias") if wrapped else "blocks.0.attn.proj.bias"]
    save_file(state, tmp_path / "less.safetensors", metadata)
    with pytest.raises(InputError, match=r"1 entries missing, first blocks.0.attn.proj.bias"):
        load_generator(tmp_path / "less.safetensors")


def wrap(name):
    """The name with ``base.`` behind the attention's layers."""
    for layer in ("attn.qkv.", "attn.proj."):
        name = name.replace(layer, f"{layer}base.")
    return name


def test_files_that_stand_for_each_other_are_refused(tmp_path, files):
    main, pose = files
    model = released(tmp_path / "pose.pth")
    torch.save({"model_vec2face": plain(model)}, tmp_path / "main_model.pth")
    with pytest.raises(InputError, match=r"main_model.pth hold no pose network \(entry pose_model\), as a main model"):
        read_pose_model(tmp_path / "main_model.pth", plain(model))
    with pytest.raises(
        InputError, match=r"pose.pth hold a pose model \(LoRA of rank 8\); give it as pose, and the main"
    ):
        load_generator(tmp_path / "pose.pth")
    with pytest.raises(InputError, match="hold no pose network"):
        load_generator(main, pose=main)
    with pytest.raises(InputError, match=r"pose.safetensors hold a pose model \(LoRA of rank 2\)"):
        load_generator(pose)
    released(tmp_path / "half.pth", model_vec2face=plain(model))
    with pytest.raises(InputError, match="hold a pose network and no model_vec2face with LoRA"):
        read_pose_model(tmp_path / "half.pth", plain(model))


def test_a_released_file_of_another_rank_has_an_unknown_scale(tmp_path):
    main = plain(released(tmp_path / "pose.pth", rank=4))
    with pytest.raises(InputError, match=r"LoRA of rank 4 and do not state its alpha, .*; give a pose model of rank 8"):
        read_pose_model(tmp_path / "pose.pth", main)


def test_missing_parts_of_a_pose_model_are_named(tmp_path):
    model = released(tmp_path / "pose.pth")
    whole = {"model_vec2face": model.state_dict(), "pose_model": PoseNetwork(SIZE.width).state_dict()}
    network = {name: tensor for name, tensor in whole["pose_model"].items() if name != "conv2.bias"}
    torch.save(whole | {"pose_model": network}, tmp_path / "less.pth")
    with pytest.raises(InputError, match=r"1 entries missing, first conv2.bias; the file looks like a Vec2Face\+ pose"):
        read_pose_model(tmp_path / "less.pth", plain(model))


def test_ours_of_another_generator_or_rank_is_refused(files, tmp_path):
    main, pose = files
    torch.manual_seed(9)
    save_generator(Vec2Face(SIZE), tmp_path / "other.safetensors")
    with pytest.raises(
        InputError, match="belong to another generator; give the one that the pose model was trained on"
    ):
        load_generator(tmp_path / "other.safetensors", pose=pose)
    content, metadata = read_weights(pose)
    for stated, message in (
        ({"rank": 4}, "state rank 4, but their LoRA has rank 2"),
        ({"rank": None}, r"state no rank and alpha of a pose model"),
        ({"channels": [1, 2, 3, 4]}, "of another shape, first conv1.weight"),
        ({"channels": [1, 2, 3]}, r"state no rank and alpha of a pose model"),
        ({"channels": [4, 4, 4, 10**9]}, "give 1 to 4096"),
    ):
        text = json.dumps(json.loads(metadata["pose"]) | stated)
        save_file(content, tmp_path / "changed.safetensors", {"pose": text})
        with pytest.raises(InputError, match=message):
            load_generator(main, pose=tmp_path / "changed.safetensors")
    with pytest.raises(InputError, match="Vec2Face has no LoRA to write"):
        save_pose_model(tmp_path / "none.safetensors", Vec2Face(SIZE), PoseNetwork(SIZE.width, PIECES))


def test_a_digest_follows_names_shapes_and_values():
    state = {"a": torch.zeros(2), "b": torch.ones(3)}
    others = [{"b": torch.ones(3)}, state | {"a": torch.zeros(1, 2)}, state | {"a": torch.ones(2)}]
    assert state_sha256(state) == state_sha256(dict(reversed(state.items())))
    assert len({state_sha256(other) for other in [state, *others]}) == 4

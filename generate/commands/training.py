"""The sub-commands turn, appearance, prepare, variation, train, assets, ship and leakage of ``python -m generate``.

Heavy imports wait until one runs. Every command returns the line that tells what it did, or None where another process
tells it.
"""

import argparse
from pathlib import Path
from typing import Any

RECIPES = "generators.yaml"


def add_training_commands(commands: Any) -> None:
    """Add the parsers; each sets ``run``, the function that does it."""
    _add_turn(commands.add_parser("turn", help="photographs, and turned views of each"))
    text = "an identity network, with numbers of appearance behind its features"
    _add_appearance(commands.add_parser("appearance", help=text))
    _add_prepare(commands.add_parser("prepare", help="faces and an identity network -> a generator's training set"))
    _add_variation(commands.add_parser("variation", help="what differs between people, and between faces of one"))
    _add_train(commands.add_parser("train", help="train a Vec2Face generator on a prepared set"))
    _add_assets(commands.add_parser("assets", help="make the shipped networks anew, from nothing, on two cores"))
    _add_ship(commands.add_parser("ship", help="a trained generator in half its size, with a card"))
    _add_leakage(commands.add_parser("leakage", help="generated faces against the identities that were trained on"))


def _add_ship(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("training", type=Path, help="finished folder of generate train")
    parser.add_argument("--trained-on", required=True, help="whose faces, in words: stands in every dataset's card")
    parser.add_argument("--licence", required=True, help="terms under which the weights may be used")
    parser.add_argument("--out", type=Path, required=True, help="folder of generator.safetensors and its card")
    parser.set_defaults(run=_ship)


def _add_faces(parser: argparse.ArgumentParser, name: str, what: str) -> None:
    parser.add_argument(f"--{name}", type=Path, required=True, help=what)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N (default: auto)")


def _add_training_faces(parser: argparse.ArgumentParser) -> None:
    _add_faces(parser, "faces", "LMDB, or folder with one sub-folder of aligned 112 x 112 faces per identity")
    parser.add_argument("--mask", type=Path, help=".npy of positions to use, e.g. of WebFace4M's 50,000 identities")
    parser.add_argument("--leave-out", type=Path, help="text file of identity names to leave out, one a line")


def _add_turn(parser: argparse.ArgumentParser) -> None:
    _add_training_faces(parser)
    parser.add_argument(
        "--yaw-model", type=Path, required=True, help="6DRepNet's weights, or generate/assets/yaw.safetensors"
    )
    parser.add_argument("--views", type=int, default=1, help="turned views of each photograph (default: 1)")
    parser.add_argument(
        "--degrees",
        type=float,
        nargs=2,
        default=(20.0, 80.0),
        metavar=("LEAST", "MOST"),
        help="yaw of the views (default: 20 80)",
    )
    parser.add_argument("--seed", type=int, default=0, help="of the yaws (default: 0)")
    parser.add_argument("--out", type=Path, required=True, help="the LMDB that shall appear")
    parser.set_defaults(run=_turn)


def _add_appearance(parser: argparse.ArgumentParser) -> None:
    _add_training_faces(parser)
    parser.add_argument("--identity-model", type=Path, required=True, help=".onnx, or .safetensors of this suite")
    parser.add_argument("--numbers", type=int, default=64, help="how many (default: 64)")
    parser.add_argument("--strength", type=float, default=0.5, help="their norm by that of the features (default: 0.5)")
    parser.add_argument("--out", type=Path, required=True, help="the file of the same kind that shall appear")
    parser.set_defaults(run=_appearance)


def _add_prepare(parser: argparse.ArgumentParser) -> None:
    _add_training_faces(parser)
    parser.add_argument("--identity-model", type=Path, help="weights: .pth or .safetensors of an IResNet, or .onnx")
    parser.add_argument("--features", type=Path, help=".npy of features, in place of a network")
    parser.add_argument("--mirror", action="store_true", help="every face again, mirrored, with its own feature")
    parser.add_argument("--mean-norm", type=float, help="scale the features to this mean norm (default: keep them)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the training set")
    parser.set_defaults(run=_prepare)


def _add_variation(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--prepared", type=Path, required=True, help="folder of generate prepare, which gets the files")
    parser.add_argument("--min-faces", type=int, required=True, help="people of so many faces or more are looked at")
    parser.add_argument(
        "--views", type=int, default=0, help="turned views behind each photograph, left out (default: 0)"
    )
    parser.set_defaults(run=_variation)


def _add_train(parser: argparse.ArgumentParser) -> None:
    _add_faces(parser, "faces", "faces.lmdb of generate prepare, or WebFace4M's")
    parser.add_argument("--mask", type=Path, help=".npy of positions to use")
    parser.add_argument("--identity-model", type=Path, required=True, help="the network that gave the features")
    parser.add_argument("--judge", type=Path, help="a second identity network, which takes no part in the loss")
    parser.add_argument("--recipe", default="present", help=f"entry of {RECIPES} (default: present)")
    parser.add_argument("--recipes", type=Path, help=f"another file of recipes (default: {RECIPES})")
    parser.add_argument("--seed", type=int, default=0, help="of weights, order, masks, held-out identities")
    parser.add_argument("--weights", type=Path, default=Path("weights"), help="folder that may hold VGG-16, for LPIPS")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of all runs (default: runs)")
    parser.add_argument("--out", type=Path, help="folder of this training (default: runs/generators/<fingerprint>)")
    parser.set_defaults(run=_train)


def _add_leakage(parser: argparse.ArgumentParser) -> None:
    _add_faces(parser, "faces", "generated faces: LMDB, or folder by identity")
    parser.add_argument("--prepared", type=Path, required=True, help="folder of generate prepare: what was trained on")
    parser.add_argument("--identity-model", type=Path, required=True, help="the network that gave its features")
    parser.add_argument("--max-cosine", type=float, help="drop above this (default: real faces' own 99.9 %% point)")
    parser.add_argument("--out", type=Path, required=True, help="folder of leakage.json, leakage.png and kept.npy")
    parser.set_defaults(run=_leakage)


def _add_assets(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--runs", type=Path, default=argparse.SUPPRESS, help="working folder (default: runs)")
    parser.add_argument("--out", type=Path, help="folder of the networks (default: generate/assets)")
    parser.set_defaults(run=_assets)


def _training_faces(args: argparse.Namespace) -> Any:
    from bench.errors import InputError
    from bench.faces.lmdb_file import open_faces

    if args.leave_out and not args.leave_out.exists():
        raise InputError(f"--leave-out {args.leave_out} does not exist; give a text file of identity names")
    return open_faces(args.faces, args.mask, set(args.leave_out.read_text().split()) if args.leave_out else None)


def _turn(args: argparse.Namespace) -> str:
    from bench.machine.device import choose_device
    from generate.render.turned import measure_yaw, write_with_views

    faces = _training_faces(args)
    yaw = measure_yaw(faces, args.yaw_model, device=choose_device(args.device))
    write_with_views(faces, yaw, args.out, num_views=args.views, degrees=tuple(args.degrees), seed=args.seed)
    return f"turn: {len(faces)} photographs and {args.views * len(faces)} turned views of them in {args.out}"


def _appearance(args: argparse.Namespace) -> str:
    from generate.networks.appearance import add_appearance

    faces = _training_faces(args)
    made = add_appearance(args.identity_model, faces, args.out, num_components=args.numbers, strength=args.strength)
    return f"appearance: {args.numbers} numbers hold {made.explained:.1%} of how coarse faces differ; {args.out}"


def _prepare(args: argparse.Namespace) -> str:
    from bench.machine.device import choose_device
    from generate.training.prepare import Preparation, prepare

    faces = _training_faces(args)
    settings = Preparation(args.identity_model, args.features, args.mirror, args.mean_norm)
    prepared = prepare(faces, settings, args.out, device=choose_device(args.device))
    return f"prepare: {prepared['num_images']} faces of {prepared['num_identities']} identities in {args.out}"


def _variation(args: argparse.Namespace) -> str:
    from generate.training.variation import write_variation

    people, differences = write_variation(args.prepared, min_faces=args.min_faces, views=args.views)
    return f"variation: {people} people, {differences} differences; {args.prepared}"


def _train(args: argparse.Namespace) -> str | None:
    from dataclasses import replace

    from bench.files import sha256
    from bench.machine.device import choose_device, process_rank
    from bench.runs.cards import GeneratorCard, write_card
    from bench.runs.stage import generator_stage, stage_lock
    from bench.runs.tracking import sync_generator
    from generate.training.recipes import RECIPES_PATH, load_recipe

    recipe = load_recipe(args.recipe, args.recipes or RECIPES_PATH)
    device = choose_device(args.device)
    inputs = {"seed": args.seed, "recipe": recipe.model_dump(mode="json"), "networks": _network_digests(args)}
    inputs["dataset"] = {"name": args.faces.name, "sha256": sha256(args.faces)} if args.faces.is_file() else {}
    if args.mask and args.mask.is_file():
        inputs["dataset"]["mask_sha256"] = sha256(args.mask)
    stage = generator_stage(inputs, runs=args.runs)
    if args.out:
        stage = replace(stage, directory=args.out)
    elif stage.is_finished:
        return f"train: skip, unchanged ({stage.directory})"
    with stage_lock(stage.directory):
        card = _train_and_describe(args, stage, recipe, device)
        if process_rank()[0] != 0:
            return None
        path = write_card(stage.directory, GeneratorCard(**card))
        warning = sync_generator(stage.directory, args.runs, recipe.name)
    return f"train: {path}" + (f"; {warning}" if warning else "")


def _network_digests(args: argparse.Namespace) -> dict[str, dict[str, str]]:
    from bench.errors import InputError
    from bench.files import sha256

    networks = {}
    for name, path in (("identity", args.identity_model), ("judge", args.judge)):
        if path is not None and not path.is_file():
            raise InputError(f"{name} network {path} does not exist; give a .pth, .safetensors or .onnx file")
        if path is not None:
            networks[name] = {"name": path.name, "sha256": sha256(path)}
    return networks


def _train_and_describe(args: argparse.Namespace, stage: Any, recipe: Any, device: str) -> dict[str, Any]:
    """Train, and the fields of the card."""
    from bench.files import sha256
    from bench.machine.device import Stopwatch
    from bench.runs.stage import recipe_sha256
    from bench.runs.tracking import sync_generator
    from generate.networks.identity import load_identity_network
    from generate.training.data import open_training_set
    from generate.training.train import GENERATOR_NAME, Judges, TrainOptions, train_generator

    faces = open_training_set(args.faces, args.mask)
    judge = load_identity_network(args.judge) if args.judge else None
    judges = Judges(load_identity_network(args.identity_model), judge, args.weights)
    stopwatch = Stopwatch()
    options = TrainOptions(
        device=device,
        fixed={"dataset": stage.inputs["dataset"], "networks": stage.inputs["networks"]},
        after_epoch=lambda: sync_generator(stage.directory, args.runs, recipe.name),
    )
    with stopwatch.phase("training"):
        summary = train_generator(faces, judges, recipe, stage.directory, seed=args.seed, options=options)
    dataset = stage.inputs["dataset"] | {"num_images": len(faces), "num_identities": summary.num_trained_identities}
    weights = stage.directory / GENERATOR_NAME
    return stage.card_header(scale=recipe.name, seed=args.seed) | {
        "recipe": recipe.name,
        "recipe_sha256": recipe_sha256(recipe),
        "dataset": dataset,
        "networks": stage.inputs["networks"],
        "perceptual_network": summary.perceptual_network,
        "weights_sha256": sha256(weights) if weights.exists() else "",
        "num_parameters": summary.num_parameters,
        "num_images_seen": summary.num_images_seen,
        "figures": summary.figures,
        "cost": stopwatch.cost(images=summary.num_images_seen, phase="training", device=device),
    }


def _assets(args: argparse.Namespace) -> str:
    from bench.config.generator import ASSETS_PATH
    from generate.make_assets import Workshop, make_assets

    out = args.out or ASSETS_PATH
    files = make_assets(Workshop(args.runs), out)
    size = sum(path.stat().st_size for path in files)
    return f"assets: {len(files)} files, {size / 1e6:.1f} MB in {out}"


def _ship(args: argparse.Namespace) -> str:
    from generate.make_assets import ship_generator

    path = ship_generator(args.training, args.out, trained_on=args.trained_on, licence=args.licence)
    return f"ship: {path.stat().st_size / 1e6:.1f} MB in {path}"


def _leakage(args: argparse.Namespace) -> str:
    from bench.machine.device import choose_device
    from generate.training.leakage import check_dataset

    report = check_dataset(
        args.faces,
        args.prepared,
        args.identity_model,
        args.out,
        max_cosine=args.max_cosine,
        device=choose_device(args.device),
    )
    return (
        f"leakage: {report['num_dropped']} of {report['num_images']} generated faces are nearer than "
        f"{report['max_cosine']:.3f} to an identity that was trained on; {args.out / 'leakage.json'}"
    )

"""Made-up cards of a finished run."""

from pathlib import Path

from bench.config.benchmarks import load_benchmark
from bench.machine.facts import Cost, Environment, Git
from bench.runs.cards import DatasetCard, ModelCard, ProtocolResult, ResultCard, TemplateResult, write_card

PROTOCOLS = ("render_lfw", "render_cfp_fp", "render_agedb_30", "render_calfw", "render_cplfw")
ENVIRONMENT = Environment(platform="Linux", cpu="a CPU", num_cores=2, memory_gb=24, versions={"torch": "2.14.1"})


def make_protocol_result(accuracy, num_pairs=600):
    return ProtocolResult(
        accuracy=accuracy,
        fold_std=0.02,
        standard_error=(accuracy * (1 - accuracy) / num_pairs) ** 0.5,
        num_pairs=num_pairs,
        num_impostors=num_pairs // 2,
        auc=0.95,
        eer=0.1,
        tar_at_far={"1e-2": 0.6, "1e-3": None},
        exact_accuracy=accuracy,
        d_prime=2.0,
        sha256="0" * 64,
    )


def make_template_result(tar, num_genuine=1000):
    """Rates that fall with FAR from 0.99; 10,000 impostors resolve 1e-4."""
    rates = {"1e-1": 0.99, "1e-2": 0.98, "1e-3": 0.97, "1e-4": tar, "1e-5": None, "1e-6": None}
    return TemplateResult(
        tar_at_far=rates,
        auc=0.995,
        eer=0.02,
        num_pairs=num_genuine + 10_000,
        num_impostors=10_000,
        num_templates=500,
        num_images=3000,
        sha256="0" * 64,
    )


def make_result(scale="smoke", accuracy=0.875, *, seed=0, protocols=PROTOCOLS, **fields):
    """A ResultCard with the same accuracy on every protocol."""
    results = {name: make_protocol_result(accuracy) for name in protocols}
    cost = Cost(seconds=10, images=6000, images_per_second=600, peak_memory_mb=900)
    defaults = {
        "scale": scale,
        "seed": seed,
        "fingerprint": f"result{seed}",
        "inputs": {"model": f"model{seed}"},
        "command": "python -m evaluate",
        "cost": cost,
        "environment": ENVIRONMENT,
        "git": Git(commit="c" * 40, dirty=False),
        "name": scale,
        "dataset": {"name": "rendered heads", "num_images": 6400, "num_identities": 320, "sha256": "d" * 64},
        "model": {"sha256": "e" * 64, "weights_sha256": "f" * 64, "num_parameters": 1000},
        "recipe": {"name": "smoke_arcface", "sha256": "a" * 64},
        "protocols": results,
        "mean_accuracy": accuracy,
        "mean_standard_error": (accuracy * (1 - accuracy) / 600 / len(protocols)) ** 0.5,
        "stage_costs": {"generate": Cost(seconds=30), "train": Cost(seconds=20, images_per_second=300)},
    }
    return ResultCard(**defaults | fields)


def write_run(runs, scale="smoke", accuracy=0.875, *, seed=0, **fields):
    """Write the cards of a finished benchmark below ``runs``; returns the result's folder."""
    result = make_result(scale, accuracy, seed=seed, **fields)
    shared = result.model_dump(include={"scale", "seed", "command", "cost", "environment", "git"})
    root = Path(runs) / scale
    dataset = DatasetCard(
        **shared,
        fingerprint=f"faces{seed}",
        inputs={"seed": seed, "generator": {"kind": "render"}},
        name="rendered heads",
        path="faces.lmdb",
        num_images=6400,
        num_identities=320,
        statistics={"quality_mean": 25.5, "dropped": {"near duplicate": 3}, "yaw_mean": None},
    )
    model = ModelCard(
        **shared,
        fingerprint=f"model{seed}",
        inputs={"dataset": f"faces{seed}", "recipe": load_benchmark("smoke").recipe.model_dump(mode="json")},
        recipe="smoke_arcface",
        recipe_sha256="a" * 64,
        dataset={"name": "rendered heads", "sha256": "d" * 64},
        weights_sha256="f" * 64,
        num_parameters=1000,
        num_images_seen=25600,
        final_loss=1.0,
    )
    for folder, card in (("faces", dataset), ("models", model), ("results", result)):
        write_card(root / folder / card.fingerprint, card)
    (root / "faces" / dataset.fingerprint / "grid.png").write_bytes(b"png")
    lines = '{"step": 1, "time": 1.0, "loss": 9.0}\n{"step": 2, "time": 2.0, "loss": 5.0}\n'
    (root / "models" / model.fingerprint / "train.jsonl").write_text(lines)
    return root / "results" / result.fingerprint

"""What MLflow's pages show first: the experiment's description, its charts and columns, and their address.

Checked with MLflow 3.17. The view is kept in a tag of the experiment, where MLflow keeps the views that users share;
an older MLflow that does not know it opens its own view of the same runs.
"""

import json

EXPERIMENT = "face training data"
VIEW = "results"
"""Key of the shared view, as in the address."""

_DESCRIPTION = """\
**How good is synthetic face training data?** Each run is one result: a face dataset was generated, a recognition
network was trained on it, and the network was evaluated. `accuracy/mean` is the mean over the test sets, a fraction.
Open a result to see its stages (`generate`, `train`); their curves grow while they run. The run `floors` holds
networks that learned nothing: a dataset should beat them.

- [Results as charts](#/experiments/{experiment_id}/runs?{query}): accuracies first, then curves
- [Trained networks](#/models), a version for each result
- The leaderboard with intervals, tables and published results: `leaderboard.html` in the folder of the runs
- [Vec2Face](https://arxiv.org/abs/2409.02979), the generator, and its [weights](https://huggingface.co/BooBooWu/Vec2Face)
- What each name means: `docs/tracking.md` of the project
"""

_SECTIONS = (
    ("accuracy", True),
    ("train", True),
    ("validation", True),
    ("held_out", True),
    ("images_per_second", True),
    ("tar_at_far_1e-3", False),
    ("auc", False),
    ("eer", False),
    ("cost", False),
    ("statistics", False),
)
"""Prefix of the metrics of each group of charts, in order, and whether it is open. MLflow appends the others."""
_FIRST_CHARTS = ("accuracy/mean", "train/loss", "validation/mean")
"""The first chart of its section each; MLflow appends one for every other metric."""
_COLUMNS = (
    ("metrics", "accuracy/mean"),
    ("params", "dataset.num_identities"),
    ("params", "dataset.num_images"),
    ("metrics", "cost/hours"),
)


def page_query(view: str = VIEW) -> str:
    """Query of the address that opens the runs in the model-training view, with charts."""
    return f"workflowType=machine_learning&compareRunsMode=CHART&viewStateShareKey={view}"


def page_address(server: str, experiment_id: str, view: str = VIEW) -> str:
    """Address of the experiment's runs.

    Args:
        server: Address of the MLflow server, such as ``http://127.0.0.1:5000``.
        experiment_id: The experiment.
        view: Key of a shared view.
    """
    return f"{server.rstrip('/')}/#/experiments/{experiment_id}/runs?{page_query(view)}"


def experiment_tags(experiment_id: str) -> dict[str, tuple[str, bool]]:
    """Tags of the experiment: value, and whether a user may change it, so that it is set only if it is missing."""
    description = _DESCRIPTION.format(experiment_id=experiment_id, query=page_query())
    return {
        "mlflow.note.content": (description, True),
        "mlflow.experimentKind": ("custom_model_development", True),  # else the experiment opens as "GenAI, 0 traces"
        f"mlflow.sharedViewState.{VIEW}": (json.dumps(_view_state()), False),
    }


def _view_state() -> dict[str, object]:
    """The state of MLflow's page of runs, in the form that it has in the browser.

    It keeps the newest run first, since MLflow nests runs in that order only.
    """
    charts = [
        {
            "type": "LINE" if name.startswith(("train/", "validation/")) else "BAR",
            "uuid": f"chart-{name}",
            "metricSectionId": f"section-{name.split('/', maxsplit=1)[0]}",
            "runsCountToCompare": 20,
            "deleted": False,
            "isGenerated": True,
            "metricKey": name,
            "displayName": name.split("/", maxsplit=1)[1],
            **({"useGlobalXaxisKey": True, "useGlobalLineSmoothing": True} if "accuracy" not in name else {}),
        }
        for name in _FIRST_CHARTS
    ]
    sections = [
        {
            "uuid": f"section-{name}",
            "name": name,
            "display": is_open,
            "isReordered": True,
            "deleted": False,
            "isGenerated": True,
        }
        for name, is_open in _SECTIONS
    ]
    return {
        "compareRunCharts": charts,
        "compareRunSections": sections,
        "isAccordionReordered": True,
        "selectedColumns": [f"{kind}.`{name}`" for kind, name in _COLUMNS],
        "hideEmptyCharts": True,
        "autoRefreshEnabled": True,
    }

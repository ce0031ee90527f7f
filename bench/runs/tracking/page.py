"""What MLflow's pages show first: the experiment's description, its charts and columns, and their address.

Checked with MLflow 3.17. The view is kept in a tag of the experiment, where MLflow keeps the views that users share;
an older MLflow that does not know it opens its own view of the same runs.
"""

import json
from collections.abc import Sequence
from typing import Any

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

_MAIN_METRIC = "accuracy/mean"
_FOLDED = (
    *("auc", "cost", "d_prime", "eer", "exact_accuracy", "fold_std", "interval_high", "interval_low"),
    *("num_impostors", "num_pairs", "standard_error", "tar_at_far_1e-1", "tar_at_far_1e-2", "tar_at_far_1e-3"),
)
"""Groups of charts that are folded. Every result has them; MLflow shows an open group that is empty as a blank."""
_COLUMNS = (
    ("metrics", _MAIN_METRIC),
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
    name, value = view_tag(VIEW, results_view())
    description = _DESCRIPTION.format(experiment_id=experiment_id, query=page_query())
    return {
        "mlflow.note.content": (description, True),
        "mlflow.experimentKind": ("custom_model_development", True),  # else the experiment opens as "GenAI, 0 traces"
        name: (value, False),
    }


def view_tag(key: str, state: dict[str, Any]) -> tuple[str, str]:
    """Name and value of the experiment's tag that keeps a view.

    Args:
        key: Key of the view, as in the address.
        state: The state of MLflow's page of runs, in the form that it has in the browser.
    """
    return f"mlflow.sharedViewState.{key}", json.dumps(state)


def below_view(parent_id: str, settings: Sequence[str]) -> dict[str, Any]:
    """View of the runs below a parent: their settings against the mean accuracy, then as ``results_view``.

    Args:
        parent_id: Id of the parent's run.
        settings: Names of the settings; without any, there are no parallel coordinates.
    """
    view = results_view()
    parallel = {
        "type": "PARALLEL",
        "uuid": "chart-parallel",
        "metricSectionId": "section-accuracy",
        "runsCountToCompare": 100,
        "deleted": False,
        "isGenerated": False,
        "selectedParams": list(settings),
        "selectedMetrics": [_MAIN_METRIC],
        "showAllRuns": False,
    }
    view["compareRunCharts"] = [*([parallel] if settings else []), *view["compareRunCharts"]]
    view["compareRunSections"][0]["columns"] = 2  # wide enough for the names of the settings
    # In order of time, MLflow would fold the runs below their parent
    order = {"orderByKey": f"metrics.`{_MAIN_METRIC}`", "orderByAsc": False}
    return view | order | {"searchFilter": f"tags.`mlflow.parentRunId` = '{parent_id}'", "runsHiddenMode": "SHOW_ALL"}


def results_view() -> dict[str, Any]:
    """View of all results, newest first: MLflow nests runs in that order only."""
    section = {"display": False, "isReordered": True, "deleted": False, "isGenerated": True}  # new charts come last
    sections = [section | {"uuid": f"section-{name}", "name": name} for name in ("accuracy", *_FOLDED)]
    sections[0]["display"] = True
    chart = {
        "type": "BAR",
        "uuid": "chart-mean",
        "metricSectionId": "section-accuracy",
        "runsCountToCompare": 20,
        "deleted": False,
        "isGenerated": True,
        "metricKey": _MAIN_METRIC,
        "displayName": "mean",
    }
    return {
        "compareRunCharts": [chart],
        "compareRunSections": sections,
        "isAccordionReordered": False,
        "selectedColumns": [f"{kind}.`{name}`" for kind, name in _COLUMNS],
        "hideEmptyCharts": True,
        "autoRefreshEnabled": True,
    }

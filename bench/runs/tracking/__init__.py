"""MLflow: finished cards are sent once, and ``make ui`` shows them.

The only part that imports mlflow. The cards on disk are the record and MLflow mirrors them, so the tracking server
may be down, unreachable or wiped without losing a number. ``mlflow.json`` beside a result says what has been sent;
where that file is lost, the run is found again by its tag. ``python -m bench.runs.tracking RUNS`` prints the address
of the store, for ``make ui``.
"""

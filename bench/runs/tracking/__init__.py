"""MLflow: stages are followed while they run, finished cards are sent once, and ``make ui`` shows them.

The only part that imports mlflow. The cards on disk are the record and MLflow mirrors them, so the tracking server
may be down, unreachable or wiped without losing a number. ``mlflow.json`` beside a card says which run holds it; where
that file is lost, the run is found again by its tag.

``live.py`` follows a stage, ``sending.py`` sends cards, ``nesting.py`` puts runs below a parent, ``page.py`` says what
the pages of MLflow show first. ``python -m bench.runs.tracking RUNS`` prints the address of the store.
"""

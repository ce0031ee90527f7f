.DEFAULT_GOAL := help
SHELL := /bin/bash

SCALE     ?= smoke
SEED      ?= 0
NPROC     ?= 1
LAUNCH    ?=
DEVICE    ?= auto
RUNS      ?= runs
TEST_SETS ?= test_sets
WEIGHTS   ?= weights
TRAIN_FLAGS ?=
PYTHON    ?= python3

VENV  := .venv
RUN   := $(VENV)/bin/python
FLAGS  = --scale $(SCALE) --seed $(SEED) --device $(DEVICE) --runs $(RUNS) --test-sets $(TEST_SETS) --weights $(WEIGHTS)
STAGE  = $(if $(LAUNCH),$(LAUNCH) -m,$(if $(filter-out 1,$(NPROC)),$(RUN) -m bench.runs.torchrun --standalone --nproc-per-node=$(NPROC) -m,$(RUN) -m))
export NPROC LAUNCH PRICE_PER_HOUR TRAIN_FLAGS
export MLFLOW_DISABLE_TELEMETRY = true

.PHONY: help setup benchmark generate train evaluate assets audit report publish compare plan ui test test-all lint

help: ## Show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo "  variables    SCALE=$(SCALE) SEED=$(SEED) NPROC=$(NPROC) DEVICE=$(DEVICE) RUNS=$(RUNS) TEST_SETS=$(TEST_SETS) WEIGHTS=$(WEIGHTS) LAUNCH= TRAIN_FLAGS="

setup: $(VENV)/.done ## Create .venv and install the project

$(VENV)/.done: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --constraint constraints.txt torch torchvision
	$(VENV)/bin/pip install --quiet --constraint constraints.txt --editable '.[dev,onnx,generator]'
	@touch $@

benchmark: setup ## Generate, train, evaluate, render the leaderboard; finished stages are skipped
	@$(RUN) -m bench run $(FLAGS)

generate: setup ## Make the face dataset only
	@$(STAGE) generate $(FLAGS)

train: setup ## Train the recognition network only
	@$(STAGE) fr_train $(FLAGS) $(TRAIN_FLAGS)

evaluate: setup ## Evaluate the network only
	@$(STAGE) evaluate $(FLAGS)

assets: setup ## Train the networks of generate/assets again, on rendered people
	@$(RUN) -m generate assets --runs $(RUNS)

audit: setup ## Measure a face dataset, DATA=path; NETWORK=file adds separation, AGAINST="sets" leakage
	@$(RUN) -m evaluate audit $(FLAGS) $(DATA) $(if $(NETWORK),--network $(NETWORK)) $(if $(AGAINST),--against $(AGAINST))

report: setup ## Render runs/leaderboard.{md,html,csv}
	@$(RUN) -m evaluate leaderboard --runs $(RUNS)

publish: setup ## Copy RESULTS="folder ..." into reports/results and render reports/leaderboard.*
	@$(RUN) -m evaluate publish $(RESULTS)

compare: setup ## Compare results A=folder and B=folder: settings, accuracies, significance
	@$(RUN) -m evaluate compare $(A) $(B)

plan: setup ## Print what would run, what is missing, the disk and the hours; start nothing
	@$(RUN) -m bench plan $(FLAGS)

ui: setup ## Serve the MLflow pages on localhost
	$(VENV)/bin/mlflow ui --host 127.0.0.1 --backend-store-uri $${MLFLOW_TRACKING_URI:-sqlite:///$(abspath $(RUNS))/mlflow.db}

test: setup ## Run the fast tests, under two minutes on two cores
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n logical --maxprocesses 4 --dist worksteal -m "not slow and not gpu"

test-all: setup ## Run every test that this machine can run
	$(RUN) -m pytest

lint: setup ## Check style and types
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy

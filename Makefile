.DEFAULT_GOAL := help
SHELL := /bin/bash

SCALE     ?= smoke
SEED      ?=
SEEDS     ?=
SET       ?=
SWEEP     ?=
JOBS      ?= 1
NPROC     ?= 1
LAUNCH    ?=
DEVICE    ?= auto
RUNS      ?= runs
TEST_SETS ?= test_sets
WEIGHTS   ?= weights
TRAIN_FLAGS ?=
PORT      ?=
PYTHON    ?= python3

VENV  := .venv
RUN   := $(VENV)/bin/python
# quote: the value as one word of the shell, whatever it holds; quote_each: a list, each item as one word
quote      = '$(subst ','\'',$(1))'
quote_each = $(foreach item,$(1),$(call quote,$(item)))
PLACES = --device=$(call quote,$(DEVICE)) --runs=$(call quote,$(RUNS)) --test-sets=$(call quote,$(TEST_SETS)) \
         --weights=$(call quote,$(WEIGHTS))
SINGLE = --scale=$(call quote,$(SCALE)) $(PLACES) $(if $(SEED),--seed=$(call quote,$(SEED))) $(if $(SET),--set=$(call quote,$(SET)))
FLAGS  = $(SINGLE) $(if $(SEEDS),--seeds=$(call quote,$(SEEDS)))
STAGE  = $(RUN) -m bench.runs.launch
export NPROC LAUNCH PRICE_PER_HOUR TRAIN_FLAGS
export MLFLOW_DISABLE_TELEMETRY = true

.PHONY: help setup benchmark sweep generate train evaluate assets audit report publish compare plan rehearse fetch check-gpu ui demo test test-all lint

help: ## Show this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@printf '  variables    %s\n' $(call quote,SCALE=$(SCALE) SEED=$(SEED) SEEDS=$(SEEDS) SET= SWEEP=$(SWEEP) JOBS=$(JOBS) NPROC=$(NPROC) DEVICE=$(DEVICE) RUNS=$(RUNS) TEST_SETS=$(TEST_SETS) WEIGHTS=$(WEIGHTS) LAUNCH= TRAIN_FLAGS=)

setup: $(VENV)/.done ## Create .venv and install the project

$(VENV)/.done: pyproject.toml constraints.txt
	$(call quote,$(PYTHON)) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --constraint constraints.txt torch torchvision
	$(VENV)/bin/pip install --quiet --constraint constraints.txt --editable '.[dev,onnx,generator]'
	@touch $@

benchmark: setup ## Generate, train, evaluate, render the leaderboard; finished stages are skipped
	@$(RUN) -m bench run $(FLAGS)

sweep: setup ## Run all points of SWEEP=name of sweeps.yaml, JOBS at once; table, figures and page
	@$(RUN) -m bench sweep $(if $(SWEEP),$(call quote,$(SWEEP))) $(PLACES) --jobs=$(call quote,$(JOBS)) $(if $(SEEDS),--seeds=$(call quote,$(SEEDS)))

generate: setup ## Make the face dataset only
	@$(STAGE) generate $(FLAGS)

train: setup ## Train the recognition network only
	@$(STAGE) train $(FLAGS)

evaluate: setup ## Evaluate the network only
	@$(STAGE) evaluate $(FLAGS)

assets: setup ## Train the networks of generate/assets again, on rendered people
	@$(RUN) -m generate assets --runs=$(call quote,$(RUNS))

audit: setup ## Measure a face dataset, DATA=path; NETWORK=file adds separation, AGAINST="sets" leakage, REAL=set quality
	@$(STAGE) audit $(SINGLE) $(if $(DATA),$(call quote,$(DATA))) $(if $(NETWORK),--network=$(call quote,$(NETWORK))) $(if $(AGAINST),--against $(call quote_each,$(AGAINST))) $(if $(REAL),--against-real=$(call quote,$(REAL))) $(if $(MEMBERS),--members=$(call quote,$(MEMBERS))) $(if $(CONTROL),--control=$(call quote,$(CONTROL)))

report: setup ## Render runs/leaderboard.{md,html,csv}
	@$(RUN) -m evaluate leaderboard --runs=$(call quote,$(RUNS))

publish: setup ## Copy RESULTS="folder ..." into reports/results and render reports/leaderboard.*
	@$(RUN) -m evaluate publish $(call quote_each,$(RESULTS))

compare: setup ## Compare results A=folder and B=folder: settings, accuracies, significance
	@$(RUN) -m evaluate compare $(if $(A),$(call quote,$(A))) $(if $(B),$(call quote,$(B)))

plan: setup ## Print what would run, what is missing, the disk and the hours; start nothing
	@$(RUN) -m bench plan $(FLAGS)

rehearse: setup ## Run every stage on a small sample, to measure speed and memory for make plan, and to find problems
	@$(RUN) -m bench rehearse $(FLAGS)

fetch: setup ## Download all weights and test sets that the benchmark lacks
	@$(RUN) -m bench fetch --scale=$(call quote,$(SCALE)) --test-sets=$(call quote,$(TEST_SETS)) --weights=$(call quote,$(WEIGHTS))

check-gpu: setup ## Test what only a GPU can show (golden values, NCCL, fp16), and measure its speed; five minutes
	@$(RUN) -m pytest -q -m gpu tests/devices tests/bench/faces
	@$(RUN) -m bench.speed gpu --device=$(call quote,$(DEVICE)) --out=$(call quote,$(RUNS))

ui: setup ## Serve the MLflow pages on localhost; PORT=number
	@$(RUN) -m bench.runs.tracking $(call quote,$(RUNS)) --port $(call quote,$(or $(PORT),5000))
	@export MLFLOW_BACKEND_STORE_URI="$$($(RUN) -m bench.runs.tracking $(call quote,$(RUNS)))"; \
	if [ -n "$$MLFLOW_BACKEND_STORE_URI" ]; then \
	    $(VENV)/bin/mlflow ui --host 127.0.0.1 --port $(call quote,$(or $(PORT),5000)); fi

demo: setup ## Make the page that draws faces in a browser, and serve it on localhost; PORT=number
	@$(RUN) -m generate demo --scale=$(call quote,$(SCALE)) --runs=$(call quote,$(RUNS)) --weights=$(call quote,$(WEIGHTS))
	@$(RUN) -m http.server --bind 127.0.0.1 --directory $(call quote,$(RUNS)/demo/$(SCALE)) $(call quote,$(or $(PORT),8000))

test: setup ## Run the fast tests, about two minutes on two cores
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n logical --maxprocesses 4 --dist worksteal -m "not slow and not gpu"

test-all: setup ## Run every test that this machine can run
	OMP_NUM_THREADS=1 $(RUN) -m pytest -n logical --maxprocesses 4 --dist worksteal

lint: setup ## Check style and types
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy

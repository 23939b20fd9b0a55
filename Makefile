# Two commands: `make demo` and `make test`. Both set up what is missing (see scripts/setup.sh).
SECONDS ?= 30
SOURCE ?=
OUT ?= out
PORT ?= 8765
VENV ?= .venv
EXTRAS ?=
YOLO ?=
RIG ?=
PYTEST_ARGS ?=
WORKERS ?= 2

export VENV
BIN = $(VENV)/bin
# With a sourced ROS distribution the messages come from the workspace's own overlay.
OVERLAY = if [ -n "$$ROS_DISTRO" ] && [ -f ros2_ws/install/local_setup.bash ]; then . ros2_ws/install/local_setup.bash; fi
SHELL = /bin/bash
LINT = $(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

.PHONY: demo test lint coverage docs wheel gallery setup clean

demo:  ## camera -> perception -> expression -> face for SECONDS on SOURCE; results in OUT; YOLO=yes adds YOLO11 (AGPL-3.0)
	@scripts/setup.sh demo detector $(if $(filter yes,$(YOLO)),ultralytics) $(if $(RIG),sim) $(EXTRAS)
	@$(if $(filter yes,$(YOLO)),$(OVERLAY); $(BIN)/emo-face models pull yolo11n,true)
	@$(OVERLAY); $(BIN)/emo-face demo --seconds $(SECONDS) --source "$(SOURCE)" --out "$(OUT)" --port $(PORT) $(if $(RIG),--rig "$(RIG)")

test:  ## lint, then every test that the installed extras allow, unit tests by WORKERS side by side; EXTRAS=train adds torch's
	@scripts/setup.sh test demo $(EXTRAS)
	@$(OVERLAY); $(LINT) && OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) --no-loadscope-reorder --durations=10 $(PYTEST_ARGS)

lint:  ## ruff check, ruff format, mypy: what `make test` begins with
	@scripts/setup.sh test demo $(EXTRAS)
	@$(OVERLAY); $(LINT)

coverage:  ## which lines the tests run, node processes too; a table here, pages in out/coverage
	@scripts/setup.sh test demo $(EXTRAS)
	@$(OVERLAY); $(BIN)/python -m pytest --cov --cov-report=term:skip-covered --cov-report=html:out/coverage $(PYTEST_ARGS)

docs:  ## the documentation with the reference from docstrings, in out/docs; a warning is an error
	@scripts/setup.sh docs
	$(BIN)/mkdocs build --strict --site-dir out/docs

wheel:  ## build the wheel in dist/ and try it away from the checkout
	scripts/check_wheel.sh

gallery:  ## docs/gallery.png: seven emotions at three intensities for each theme and rig
	@scripts/setup.sh test demo $(EXTRAS)
	$(BIN)/emo-face gallery

setup:
	@scripts/setup.sh detector $(EXTRAS)

clean:  ## remove everything that set-up and runs made
	rm -rf $(VENV) ros2_ws/build ros2_ws/install ros2_ws/log out build dist src/*.egg-info

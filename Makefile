# Two commands: `make demo` and `make test`. Both set up what is missing (see scripts/setup.sh).
SECONDS ?= 30
SOURCE ?=
OUT ?= out
PORT ?= 8765
VENV ?= .venv
EXTRAS ?=
PYTEST_ARGS ?=

export VENV
BIN = $(VENV)/bin
# With a sourced ROS distribution the messages come from the workspace's own overlay.
OVERLAY = if [ -n "$$ROS_DISTRO" ] && [ -f ros2_ws/install/local_setup.bash ]; then . ros2_ws/install/local_setup.bash; fi
SHELL = /bin/bash

.PHONY: demo test lint gallery setup clean

demo:  ## camera -> perception -> expression -> face for SECONDS on SOURCE; results in OUT
	@scripts/setup.sh demo $(EXTRAS)
	@$(OVERLAY); $(BIN)/emo-face demo --seconds $(SECONDS) --source "$(SOURCE)" --out "$(OUT)" --port $(PORT)

test:  ## every test that the installed extras allow; EXTRAS=train adds torch's
	@scripts/setup.sh test demo $(EXTRAS)
	@$(OVERLAY); $(BIN)/ruff check . && $(BIN)/mypy && $(BIN)/python -m pytest -m "not slow" $(PYTEST_ARGS)

lint:
	@scripts/setup.sh test demo $(EXTRAS)
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy

gallery:  ## docs/gallery.png: seven emotions at three intensities for each theme and rig
	@scripts/setup.sh test demo $(EXTRAS)
	$(BIN)/emo-face gallery

setup:
	@scripts/setup.sh $(EXTRAS)

clean:  ## remove everything that set-up and runs made
	rm -rf $(VENV) ros2_ws/build ros2_ws/install ros2_ws/log out build dist src/*.egg-info

"""Flags of the trainings: what ``--help`` says of each is what its config's docstring says."""

import argparse
import dataclasses

import pytest

from emo_face.expression.contextface.config import ContextFaceConfig
from emo_face.perception.multiview.config import EncoderConfig, FusionConfig
from emo_face.training.common.arguments import add_fields, documented
from emo_face.training.contextface.config import ContextFaceTraining
from emo_face.training.multiview.config import Stage1Config, Stage2Config

CONFIGS = (ContextFaceConfig, ContextFaceTraining, EncoderConfig, FusionConfig, Stage1Config, Stage2Config)


@pytest.mark.parametrize("kind", CONFIGS)
def test_every_setting_is_explained(kind: type) -> None:
    told = documented(kind)
    assert {field.name for field in dataclasses.fields(kind)} == set(told)  # type: ignore[arg-type]
    assert all(len(text) > 5 and "`" not in text for text in told.values()), told


def test_help_shows_the_explanation_of_the_config_that_extends_and_the_default() -> None:
    parser = argparse.ArgumentParser()
    add_fields(parser, ContextFaceTraining, ("betas", "group_weights"))
    shown = " ".join(parser.format_help().split())
    assert "--batch-size BATCH_SIZE examples per process and micro-batch (default: 4)" in shown
    assert "how often epoch_batches micro-batches are drawn (default: 10)" in shown  # not that of the common run

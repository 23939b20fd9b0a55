"""`emo-face up --tier`: one word that every node understands."""

from __future__ import annotations

import json

import pytest

from emo_face.cli import look, up
from emo_face.core.errors import ConfigError
from emo_face.perception.multiview.encoders import FAMILIES
from emo_face.ros.parameters.given import parse_overrides


@pytest.mark.parametrize("tier", up.TIER_SETTINGS)
def test_a_tier_sets_what_the_nodes_declare(tier):
    found = parse_overrides(list(up.TIER_SETTINGS[tier]))
    assert json.loads(found["perception"]["tier"]) == tier
    assert json.loads(found["expression"]["backend"]) == ("contextface" if tier == "full" else "prototypes")


def test_set_wins_over_the_tier():
    found = parse_overrides([*up.TIER_SETTINGS["full"], "expression.backend=prototypes"])
    assert json.loads(found["expression"]["backend"]) == "prototypes"


def test_everybody_knows_the_same_tiers():
    assert set(up.TIER_SETTINGS) == set(look.TIERS) == {"nano", *(family.tier for family in FAMILIES.values())}
    with pytest.raises(ConfigError, match="tier"):
        parse_overrides(["perception.tier=large"])

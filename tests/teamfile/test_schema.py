"""The published schema is that of the form, and says the same as it."""

import copy
import json
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from relayline import Workflow
from relayline.teamfile import document
from relayline.teamfile.form import TEAM
from relayline.teamfile.schema import made, text
from tests.teamfile import code
from tests.teamfile.teams import teams, walked

VALIDATOR = jsonschema.Draft202012Validator(json.loads(text()))


def test_what_is_published_is_what_is_checked():
    """``python -m relayline.teamfile.schema`` publishes it anew."""
    assert text() == made()
    VALIDATOR.check_schema(VALIDATOR.schema)


def data(workflow: Workflow) -> Any:
    read = document.read(workflow.to_yaml([code.__name__]), [])
    assert read
    return read.value


@given(teams())
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_an_editor_agrees_with_every_file_we_write(workflow: Workflow):
    """And so does any other reader of YAML: it reads the same data."""
    value = data(workflow)
    VALIDATOR.validate(value)
    assert yaml.safe_load(workflow.to_yaml([code.__name__])) == value


@given(teams(), st.data())
@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much])
def test_an_editor_complains_where_we_would(workflow: Workflow, drawn: st.DataObject):
    """One value anywhere is changed to another kind: both find it wrong, or neither does."""
    value = copy.deepcopy(data(workflow))
    places = [*walked(value)]
    holder, key = drawn.draw(st.sampled_from(places))
    holder[key] = drawn.draw(st.sampled_from([None, 0, -1, 1.5, "", "x", True, [], ["x"], {}, {"x": 1}]))
    try:
        TEAM.validate_python(value)
    except ValidationError:
        with pytest.raises(jsonschema.ValidationError):
            VALIDATOR.validate(value)
    else:
        VALIDATOR.validate(value)

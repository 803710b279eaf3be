"""One JSON per photo."""

from __future__ import annotations

import json
from importlib.resources import files

import pytest

from maskhand.io.record import result_record


def test_the_record_fits_its_schema(hands, demo_image) -> None:
    jsonschema = pytest.importorskip("jsonschema")
    schema = json.loads((files("maskhand") / "assets" / "result.schema.json").read_text())
    record = json.loads(json.dumps(result_record("demo.jpg", demo_image, hands, ["demo_0.glb", ""], steps=5)))
    jsonschema.validate(record, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**record, "hands": [{**record["hands"][0], "side": "both"}]}, schema)

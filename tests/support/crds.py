"""The schema of a custom resource, strict, from the file that defines it (CustomResourceDefinition)."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml


def schema_of(definition: Path, version: str) -> dict[str, Any]:
    """JSON Schema of the kind that `definition` defines, in which a misspelt member is a fault.

    Kubernetes would drop members that its schema does not have, in silence.
    """
    document = yaml.load(definition.read_text(encoding="utf-8"), yaml.CSafeLoader)
    (found,) = [one for one in document["spec"]["versions"] if one["name"] == version]
    schema: dict[str, Any] = _strict(found["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    return {"$schema": "http://json-schema.org/draft-07/schema#", **schema}


def _strict(schema: Any) -> Any:
    """Kubernetes' extensions of JSON Schema in its own words."""
    if isinstance(schema, list):
        return [_strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {name: _strict(value) for name, value in schema.items() if name not in ("properties", "default")}
    if isinstance(schema.get("properties"), dict):
        plain["properties"] = {name: _strict(value) for name, value in schema["properties"].items()}
        if not schema.get("x-kubernetes-preserve-unknown-fields") and "additionalProperties" not in schema:
            plain["additionalProperties"] = False
    if schema.get("x-kubernetes-int-or-string"):
        plain["type"] = ["integer", "string"]
        plain.pop("anyOf", None)
    if schema.get("nullable") and isinstance(plain.get("type"), str):
        plain["type"] = [plain["type"], "null"]
    return plain

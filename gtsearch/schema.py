"""The experiment file as a JSON Schema (draft 2020-12), so that editors complete and check it while it is written.

Made of what reads an experiment: the pydantic classes of `gtsearch.spec` and the menus; descriptions are their
docstrings. What our parser accepts the schema accepts. What it refuses for its shape (a key or a name that is not
there, a value of another kind, a number out of its bounds) the schema refuses too; rules between values, such as "at
most weak.gate.seeds", are the parser's alone. `search_spaces/schema.json` is what `text` makes of the menus as they
come; a test holds it to that.
"""

from __future__ import annotations

import inspect
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, models_json_schema
from pydantic_core import core_schema

from gtsearch.catalog import MENUS, load
from gtsearch.completion import OF_ONE_S_OWN, Schema, dotted_keys
from gtsearch.fields import NEEDED_HYPERPARAMETERS, hyperparameter, hyperparameters_of_methods
from gtsearch.measures import MEASURES
from gtsearch.methods.edits import EDITS
from gtsearch.parts import VARIATION_NAME, VARIED
from gtsearch.sources import OF_A_CHAIN
from gtsearch.spec import NAME, Spec

BASES = {
    "Task": "task",
    "Sizes": "model",
    "Probe": "probe",
    "Part": "source",
    "Edit": "edit",
    "Tracker": "tracker",
}
"""What a field is declared as that holds an entry of a menu, and which menu."""
_NUMBER: Schema = {"type": "number"}
_ACCURACY: Schema = {"anyOf": [{"title": "accuracy", "type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}]}
_ACCURACY["anyOf"] += [{"enum": ["above_chance", "none"]}, {"type": "null"}]
_MEASURE_OF_A_PROBE: Schema = {"title": "`probe:NAME`", "pattern": "^probe:", "type": "string"}
_WHAT = {
    "lr": "learning rate",
    "weight_decay": "0 or more; how it acts is the optimizer's",
    "init_scale": "factor on the initial parameters; A, where there is one, is spared",
    "embedding_scale": "factor on A",
    "grokfast_alpha": "memory of the moving average, below 1",
    "grokfast_lambda": "how much of the slow gradient is added",
}
"""What the hyperparameters are; a method of one's own may add others."""


def text() -> str:
    """The schema as it stands in a file."""
    return json.dumps(schema(), indent=1, ensure_ascii=False) + "\n"


def schema() -> Schema:
    """The schema, with every name that is on a menu."""
    menus: dict[str, dict[str, type[BaseModel]]] = {
        kind: {name: load(kind, name) for name in MENUS[kind]}
        for kind in ("task", "model", "method", "probe", "source", "tracker")
    }
    menus["edit"] = dict(EDITS)
    every: dict[type[BaseModel], None] = dict.fromkeys(cls for menu in menus.values() for cls in menu.values())
    asked: list[tuple[type[BaseModel], JsonSchemaMode]] = [(cls, "validation") for cls in every]
    refs, made = models_json_schema([(Spec, "validation"), *asked], schema_generator=_Writer)
    defs: dict[str, Schema] = made["$defs"]
    names = {cls: refs[cls, "validation"]["$ref"].rpartition("/")[2] for cls in every}

    for base, kind in BASES.items():
        defs[base] = _menu(kind, {name: names[cls] for name, cls in menus[kind].items()}, menus[kind])
    for base in ("Probe", "Tracker"):
        needed = {name: set(defs[names[cls]].get("required", ())) for name, cls in menus[BASES[base]].items()}
        bare = {name: cls for name, cls in menus[BASES[base]].items() if needed[name] <= {"name"}}
        defs[base] = {"anyOf": [_names(bare), defs[base]]}
    for name, cls in menus["model"].items():
        defs[f"{name} space"] = _with_lists(defs[names[cls]])
    defs["ModelSpace"] = _menu("model", {name: f"{name} space" for name in menus["model"]}, menus["model"])
    for name, cls in menus["method"].items():
        defs[f"{name} options"] = _without_name(defs.pop(names[cls]))
    _fill_in(defs, menus["method"])
    top = defs.pop("Spec")
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "gtsearch experiment"}
    whole = head | top | {"$defs": dict(sorted(defs.items()))}
    changes = {key.path: {"description": key.what} for key in dotted_keys(whole) if key.path.split(".")[0] in VARIED}
    vary = defs["AblateSpec"]["properties"]["vary"]
    vary["additionalProperties"] |= {"properties": changes, "minProperties": 1}
    return whole


class _Writer(GenerateJsonSchema):
    """pydantic's, with the docstrings of fields in the place of its titles, and all defaults."""

    def field_title_should_be_set(self, schema: Any) -> bool:
        return False

    def model_schema(self, schema: core_schema.ModelSchema) -> Schema:
        cls, written = schema["cls"], super().model_schema(schema)
        written.pop("title", None)
        if summary(cls):
            written["description"] = summary(cls)
        fields = attributes(cls)
        for name, one in written.get("properties", {}).items():
            if name in fields:
                one["description"] = fields[name]
            if cls.model_fields[name].default_factory is not None:
                one["default"] = cls.model_fields[name].get_default(call_default_factory=True)
        return written


def summary(documented: Any) -> str:
    """The first paragraph of its own docstring, in one line."""
    own = vars(documented).get("__doc__") if inspect.isclass(documented) else documented.__doc__
    return " ".join(inspect.cleandoc(own or "").split("\n\n")[0].split())


def attributes(cls: type) -> dict[str, str]:
    """What the docstrings of a class and of its bases say under `Attributes`, by name; None is written as in YAML."""
    found: dict[str, str] = {}
    for base in reversed(cls.__mro__):
        _, _, listed = inspect.cleandoc(vars(base).get("__doc__") or "").partition("Attributes:\n")
        for names, words in re.findall(r"^ {4}([a-z][\w, ]*): (.*(?:\n {8}.*)*)", listed, re.MULTILINE):
            what = re.sub(r"\bNone\b", "`null`", " ".join(words.split()))
            found |= dict.fromkeys((name.strip() for name in names.split(",")), what)
    return found


# -- menus ----------------------------------------------------------------------------------------------------


def _names(menu: Mapping[str, Any]) -> Schema:
    """One of the names; an editor shows what each is."""
    return {"enum": list(menu), "enumDescriptions": [summary(found) for found in menu.values()]}


def _name(kind: str, menu: Mapping[str, Any]) -> Schema:
    """One of the names, or `module:object` where that may stand."""
    return {"anyOf": [_names(menu), _own(kind)]} if kind in ("task", "model", "method") else _names(menu)


def _own(kind: str) -> Schema:
    return {"type": "string", "pattern": OF_ONE_S_OWN, "description": f"a {kind} of one's own, as module:object"}


def _menu(kind: str, definitions: Mapping[str, str], menu: Mapping[str, Any]) -> Schema:
    """A mapping whose `name` says which definition holds for it."""
    named = {
        name: {
            "if": {"properties": {"name": {"const": name}}, "required": ["name"]},
            "then": {"$ref": f"#/$defs/{found}"},
        }
        for name, found in definitions.items()
    }
    name = _name(kind, menu) | {"description": f"which {kind}"}
    return {"type": "object", "properties": {"name": name}, "required": ["name"], "allOf": list(named.values())}


def _with_lists(sizes: Schema) -> Schema:
    """A model family each of whose sizes may be a list of values."""

    def many(size: Schema) -> Schema:
        around = {key: size[key] for key in ("description", "default") if key in size}
        one = {key: value for key, value in size.items() if key not in around}
        return around | {"anyOf": [one, {"type": "array", "items": one, "minItems": 1}]}

    own = {name: size if name == "name" else many(size) for name, size in sizes["properties"].items()}
    return sizes | {"properties": own}


def _without_name(method: Schema) -> Schema:
    properties = {name: one for name, one in method["properties"].items() if name != "name"}
    return method | {"properties": properties, "required": [name for name in method["required"] if name != "name"]}


# -- what pydantic is not told ----------------------------------------------------------------------------------


def _fill_in(defs: dict[str, Schema], methods: Mapping[str, Any]) -> None:
    """Rules that stand in validators, field by field; descriptions and defaults stay."""
    of_methods = (*NEEDED_HYPERPARAMETERS, *hyperparameters_of_methods())
    defs |= {f"domain of {name}": _domain(_bounds(name)) for name in of_methods}
    defs |= {"domain": _domain({"minimum": 0}), "start": _config(of_methods, ())}
    rules: list[tuple[str, str, Schema]] = [
        ("Spec", "name", {"pattern": f"^{NAME}$"}),
        (
            "About",
            "measure",
            {"items": {"anyOf": [{"enum": list(MEASURES)}, _MEASURE_OF_A_PROBE]}},
        ),
        ("WeakSpec", "tune", _tune(NEEDED_HYPERPARAMETERS)),
        ("WeakSpec", "start_from", {"items": _config(NEEDED_HYPERPARAMETERS, ())}),
        ("WeakSpec", "order_by", {"anyOf": [_names(_menu_of("score")), {"type": "null"}]}),
        ("TargetSpec", "tune", _tune(of_methods)),
        ("TargetSpec", "methods", {"items": _name("method", methods)}),
        ("TargetSpec", "options", _by_method(methods, lambda name: {"$ref": f"#/$defs/{name} options"})),
        (
            "TargetSpec",
            "start_from",
            _by_method(methods, lambda name: {"type": "array", "items": {"$ref": "#/$defs/start"}}),
        ),
        ("Link", "config", _config(OF_A_CHAIN, NEEDED_HYPERPARAMETERS)),
        ("GoalSpec", "val_accuracy", _ACCURACY),
        ("ResourcesSpec", "workers", {"anyOf": [{"type": "integer", "minimum": 1}, {"const": "auto"}]}),
        ("ResourcesSpec", "gpus_per_trial", {"anyOf": [*_gpus(), {"const": "auto"}]}),
        ("AblateSpec", "vary", _vary()),
        *((part, "optimizer", _names(_menu_of("optimizer"))) for part in ("WeakSpec", "TargetSpec")),
        *(
            (part, "loss", {"anyOf": [_names(_menu_of("loss")), {"type": "null"}]})
            for part in ("WeakSpec", "TargetSpec")
        ),
    ]
    for part, field, rule in rules:
        given = defs[part]["properties"][field]
        if "anyOf" in rule or "enum" in rule:
            given = {key: given[key] for key in ("description", "default") if key in given}
        defs[part]["properties"][field] = given | rule
    defs["GoalSpec"] = {"description": defs["GoalSpec"]["description"], "anyOf": [defs["GoalSpec"], _ACCURACY]}
    # A method of one's own may search what nobody here knows of.
    has_own = {"properties": {"methods": {"contains": _own("method")}}, "required": ["methods"]}
    known = {"properties": {"tune": {"propertyNames": {"enum": list(of_methods)}}}}
    defs["TargetSpec"] |= {"if": has_own, "else": known}
    defs["TargetSpec"]["properties"]["tune"]["additionalProperties"] = {"$ref": "#/$defs/domain"}


def _menu_of(kind: str) -> dict[str, Any]:
    return {name: load(kind, name) for name in MENUS[kind]}


def _by_method(methods: Iterable[str], value: Any) -> Schema:
    own: Schema = {OF_ONE_S_OWN: {}}
    return {
        "properties": {name: value(name) for name in methods},
        "patternProperties": own,
        "additionalProperties": False,
    }


def _gpus() -> list[Schema]:
    return [{"type": "number", "minimum": 0, "maximum": 1}, {"type": "integer", "minimum": 0}]


def _vary() -> Schema:
    path = {"pattern": rf"^({'|'.join(VARIED)})(\.|$)"}
    changes = {"type": "object", "propertyNames": path}
    return {"minProperties": 1, "propertyNames": {"pattern": f"^{VARIATION_NAME}$"}, "additionalProperties": changes}


def _tune(names: Iterable[str]) -> Schema:
    properties = {name: {"$ref": f"#/$defs/domain of {name}"} | _what(name) for name in names}
    required = list(NEEDED_HYPERPARAMETERS)
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _config(names: Iterable[str], required: Iterable[str]) -> Schema:
    """Hyperparameters, a number each."""
    properties = {name: _NUMBER | _bounds(name) | _what(name) for name in names}
    kind: Schema = {"type": "object", "minProperties": 1, "required": list(required)}
    return kind | {"properties": properties, "additionalProperties": False}


def _what(name: str) -> Schema:
    return {"description": _WHAT[name]} if name in _WHAT else {}


def _bounds(name: str) -> Schema:
    """The bounds of a hyperparameter, asked of the parser."""

    def may_be(value: float) -> bool:
        try:
            hyperparameter(name, value, (name,))
        except ValueError:
            return False
        return True

    lower: Schema = {"minimum": 0} if may_be(0.0) else {"exclusiveMinimum": 0}
    return lower if may_be(1.0) else lower | {"exclusiveMaximum": 1}


def _domain(bounds: Schema) -> Schema:
    """What `gtsearch.domains.parse` reads, of values within `bounds`."""
    value = _NUMBER | bounds
    above_zero = _NUMBER | {"exclusiveMinimum": 0}
    choice = {"type": "array", "items": value, "minItems": 1, "uniqueItems": True}

    def word(name: str, what: str, items: Schema, count: int) -> Schema:
        numbers = {"type": "array", "items": items, "minItems": count, "maxItems": count, "description": what}
        return _only(name, numbers)

    return {
        "anyOf": [
            value,
            choice,
            _only("choice", choice | {"description": "one of these numbers; a list alone is the same"}),
            word("uniform", "[low, high]: any number between", _NUMBER, 2),
            word("loguniform", "[low, high]: any number between, even in its logarithm", above_zero, 2),
            word("randint", "[low, high]: a whole number; the upper bound is not taken", _NUMBER, 2),
            word("quniform", "[low, high, step]: the multiples of the step, bounds taken", _NUMBER, 3),
        ]
    }


def _only(name: str, value: Schema) -> Schema:
    return {"type": "object", "properties": {name: value}, "required": [name], "additionalProperties": False}

"""The OpenAPI 3.1 document of the gateway, made from the very routes that it mounts."""

import re
from collections.abc import Sequence
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor

from shortener.api import KEY_HEADER, REPLAYED_HEADER, Operation, Query, Route
from shortener.errors import Code
from shortener.net.statuses import TABLE
from shortener.rest.problems import HTTP_PROBLEMS, MEDIA_TYPE
from shortener.rpc.descriptors import comments, descriptor

Json = dict[str, Any]

_SCALARS: dict[int, Json] = {
    FieldDescriptor.CPPTYPE_STRING: {"type": "string"},
    FieldDescriptor.CPPTYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.CPPTYPE_INT32: {"type": "integer", "format": "int32"},
    FieldDescriptor.CPPTYPE_INT64: {"type": "integer", "format": "int64"},
    FieldDescriptor.CPPTYPE_UINT32: {"type": "integer", "format": "int64", "minimum": 0},
    FieldDescriptor.CPPTYPE_UINT64: {"type": "integer", "minimum": 0},
    FieldDescriptor.CPPTYPE_FLOAT: {"type": "number", "format": "float"},
    FieldDescriptor.CPPTYPE_DOUBLE: {"type": "number", "format": "double"},
}
_PROBLEM: Json = {
    "type": "object",
    "description": "Problem details (RFC 9457).",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference", "examples": ["/problems/invalid"]},
        "title": {"type": "string", "examples": ["Invalid request"]},
        "status": {"type": "integer", "examples": [400]},
        "detail": {"type": "string", "examples": ["long_url is required"]},
        "field": {"type": "string", "description": "The input at fault.", "examples": ["long_url"]},
        "suggestions": {"type": "array", "items": {"type": "string"}, "description": "Free values to take instead."},
        "request_id": {"type": "string", "description": "Quote it when reporting an internal error."},
    },
}
_HEADERS: dict[int, Json] = {
    401: {"WWW-Authenticate": {"schema": {"type": "string"}, "description": "Bearer"}},
    429: {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait."}},
    503: {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait."}},
}
_OPERATIONS = {
    "/healthz": ("Is the process alive?", "application/json", False),
    "/readyz": ("Does the server accept requests?", "application/json", True),
    "/metrics": ("Metrics for Prometheus", "text/plain", False),
}
_TITLES = {row.http: row.title for row in TABLE.values()} | {
    status: title for status, (_, title) in HTTP_PROBLEMS.items() if status != 404
}
_STATUSES = sorted({row.http for code, row in TABLE.items() if code is not Code.GONE} | {408, 413, 415})
_path_parameters = re.compile(r"\{(\w+)\}").findall


def document(operations: Sequence[Operation], *, title: str, version: str, description: str) -> Json:
    """Return the OpenAPI document of the `operations` that have a route, and of the operators' routes beside them."""
    schemas: dict[str, Json] = {"Problem": _PROBLEM}
    paths: dict[str, Json] = {}
    offered = [(operation, operation.route) for operation in operations if operation.route is not None]
    for operation, route in offered:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(operation, route, schemas)
    for path, (summary, media_type, may_be_unready) in _OPERATIONS.items():
        paths[path] = {"get": _plain_operation(path, summary, media_type, may_be_unready=may_be_unready)}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": title,
            "version": version,
            "description": description,
            "license": {"name": "MIT", "identifier": "MIT"},
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in dict.fromkeys([*(_tag(route.path) for _, route in offered), "operations"])],
        "paths": paths,
        "components": {
            "schemas": dict(sorted(schemas.items())),
            "responses": {_response_name(status): _problem_response(status) for status in _STATUSES},
            "securitySchemes": {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
        },
    }


def _operation(operation: Operation, route: Route, schemas: dict[str, Json]) -> Json:
    said: Json = {
        "operationId": _operation_id(route.method, route.path),
        "summary": route.summary,
        "tags": [_tag(route.path)],
        "security": [{"bearer": []}] if route.auth else [],
        "parameters": [
            *(
                {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}
                for name in _path_parameters(route.path)
            ),
            *(_query_parameter(query) for query in route.query),
            *([_KEY] if operation.takes_key else []),
        ],
        "responses": {str(route.status): _success(operation, route, schemas)},
    }
    if route.has_body:
        schema = _body_schema(descriptor(operation.request), route.fills, schemas)
        said["requestBody"] = {"required": True, "content": {"application/json": {"schema": schema}}}
    for status in sorted(_failures(route)):
        said["responses"][str(status)] = {"$ref": f"#/components/responses/{_response_name(status)}"}
    return said


def _plain_operation(path: str, summary: str, media_type: str, *, may_be_unready: bool) -> Json:
    schema = {"type": "object" if media_type == "application/json" else "string"}
    responses: Json = {"200": {"description": "OK", "content": {media_type: {"schema": schema}}}}
    if may_be_unready:
        responses["503"] = {"$ref": f"#/components/responses/{_response_name(503)}"}
    return {
        "operationId": _operation_id("GET", path),
        "summary": summary,
        "tags": ["operations"],
        "security": [],
        "responses": responses,
    }


def _operation_id(method: str, path: str) -> str:
    return "_".join([method.lower(), *re.findall(r"\w+", path)])


def _tag(path: str) -> str:
    parts = path.split("/")
    return parts[2] if parts[1] == "api" else parts[1]


def _query_parameter(query: Query) -> Json:
    schema: Json = {"type": "integer", "format": "int64"} if query.kind is int else {"type": "string"}
    if query.choices:
        schema["enum"] = list(query.choices)
    if query.low is not None:
        schema["minimum"] = query.low
    if query.high is not None:
        schema["maximum"] = query.high
    return {"name": query.name, "in": "query", "description": query.description, "schema": schema}


_KEY: Json = {
    "name": KEY_HEADER,
    "in": "header",
    "description": (
        "Makes it safe to try again: for 24 hours, a call with the key and the body of an earlier one does nothing "
        "but return the earlier answer. Any unique text, such as a UUID; with another body it is refused."
    ),
    "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
}
_REPLAYED: Json = {
    REPLAYED_HEADER: {
        "schema": {"type": "string", "enum": ["true"]},
        "description": "Sent when this was answered before.",
    }
}


def _success(operation: Operation, route: Route, schemas: dict[str, Json]) -> Json:
    if route.media_types:
        content: Json = {media_type: {} for media_type in route.media_types}
        return {"description": "OK", "content": content}
    if route.status == 204:
        return {"description": "Done"}
    response: Json = {
        "description": "Created" if route.status == 201 else "OK",
        "content": {"application/json": {"schema": _reference(descriptor(operation.reply), schemas)}},
    }
    if operation.takes_key:
        response["headers"] = _REPLAYED
    return response


def _failures(route: Route) -> set[int]:
    """Return the statuses a route can fail with: its own, and those that come with what it takes."""
    statuses = {TABLE[code].http for code in (*route.errors, Code.INTERNAL, Code.UNAVAILABLE, Code.DEADLINE)}
    if route.auth:
        statuses.add(401)
    if route.has_body:
        statuses |= {400, 408, 413, 415}
    if route.query:
        statuses.add(400)
    return statuses


def _response_name(status: int) -> str:
    return "".join(word.capitalize() for word in re.findall(r"\w+", _TITLES[status]))


def _problem_response(status: int) -> Json:
    response: Json = {
        "description": _TITLES[status],
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
    }
    if status in _HEADERS:
        response["headers"] = _HEADERS[status]
    return response


def _reference(message: Descriptor, schemas: dict[str, Json]) -> Json:
    """Return a reference to the schema of an answer's message, in which every field is always present."""
    if message.name not in schemas:
        schemas[message.name] = {}  # taken, should the message contain itself
        schemas[message.name] = {
            "type": "object",
            "required": [field.name for field in message.fields],
            "properties": {field.name: _property(field, schemas) for field in message.fields},
        }
    return {"$ref": f"#/components/schemas/{message.name}"}


def _body_schema(message: Descriptor, hidden: tuple[str, ...], schemas: dict[str, Json]) -> Json:
    """Return a reference to the schema of a body, without the fields that a REST caller may not set."""
    fields = [field for field in message.fields if field.name not in hidden]
    required = [field.name for field in fields if _comment(field).startswith(_REQUIRED)]
    properties = {field.name: _given(_property(field, schemas), is_required=field.name in required) for field in fields}
    schema: Json = {"type": "object", "properties": properties}
    schemas[message.name] = schema | ({"required": required} if required else {})
    return {"$ref": f"#/components/schemas/{message.name}"}


def _given(schema: Json, *, is_required: bool) -> Json:
    """Return the schema of a body's field: a required text is not empty, and null is as good as no value."""
    if is_required:
        return schema | ({"minLength": 1} if schema.get("type") == "string" else {})
    return schema | ({"type": [schema["type"], "null"]} if "type" in schema else {})


_REQUIRED = "Required: "


def _comment(field: FieldDescriptor) -> str:
    return comments().get(field.full_name, "")


def _property(field: FieldDescriptor, schemas: dict[str, Json]) -> Json:
    schema = _reference(field.message_type, schemas) if field.message_type else dict(_SCALARS[field.cpp_type])
    if field.name == "password":
        schema["format"] = "password"
    if field.is_repeated:
        schema = {"type": "array", "items": schema}
    text = _comment(field).removeprefix(_REQUIRED).removeprefix("Optional: ")
    return schema | ({"description": text} if text else {})

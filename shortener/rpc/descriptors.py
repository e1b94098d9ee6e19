"""Descriptors of every service we serve, in a pool of our own, and message classes for health and reflection.

grpclib ships generated modules for those two, but they enter google.protobuf's process-wide pool, where they would
collide with grpcio's own packages in any program that embeds us or tests us. So the two public protocols are written
down here, as tables.
"""

import functools
from importlib import resources
from typing import Any

from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
)
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass

_KINDS = {"string": 9, "bytes": 12, "int32": 5}

# Messages by name; each field is "name = number: type", with "*" for repeated and "|" for a member of the oneof.
_HEALTH = {
    "HealthCheckRequest": ["service = 1: string"],
    "HealthCheckResponse": ["status = 1: .ServingStatus"],
}
_REFLECTION = {
    "ServerReflectionRequest": [
        "host = 1: string",
        "file_by_filename = 3: |string",
        "file_containing_symbol = 4: |string",
        "file_containing_extension = 5: |ExtensionRequest",
        "all_extension_numbers_of_type = 6: |string",
        "list_services = 7: |string",
    ],
    "ExtensionRequest": ["containing_type = 1: string", "extension_number = 2: int32"],
    "ServerReflectionResponse": [
        "valid_host = 1: string",
        "original_request = 2: ServerReflectionRequest",
        "file_descriptor_response = 4: |FileDescriptorResponse",
        "all_extension_numbers_response = 5: |ExtensionNumberResponse",
        "list_services_response = 6: |ListServiceResponse",
        "error_response = 7: |ErrorResponse",
    ],
    "FileDescriptorResponse": ["file_descriptor_proto = 1: *bytes"],
    "ExtensionNumberResponse": ["base_type_name = 1: string", "extension_number = 2: *int32"],
    "ListServiceResponse": ["service = 1: *ServiceResponse"],
    "ServiceResponse": ["name = 1: string"],
    "ErrorResponse": ["error_code = 1: int32", "error_message = 2: string"],
}
_ONEOFS = {"ServerReflectionRequest": "message_request", "ServerReflectionResponse": "message_response"}
SERVING_STATUS = {"UNKNOWN": 0, "SERVING": 1, "NOT_SERVING": 2, "SERVICE_UNKNOWN": 3}


@functools.cache
def pool() -> DescriptorPool:
    """Return the descriptors of our services, of health, and of reflection v1 and v1alpha."""
    made = DescriptorPool()
    for file in [*_our_files(), _health(), _reflection("v1"), _reflection("v1alpha")]:
        made.Add(file)
    return made


def _our_files() -> list[FileDescriptorProto]:
    data = resources.files("shortener.gen").joinpath("protos.desc").read_bytes()
    return list(FileDescriptorSet.FromString(data).file)


@functools.cache
def comments() -> dict[str, str]:
    """Return what the protos say behind each field, by the field's full name ("url.URL.clicks").

    Empty unless the descriptors were made with `--include_source_info`.
    """
    found = {}
    for file in _our_files():
        for location in file.source_code_info.location:
            if len(location.path) == 4 and location.path[::2] == _MESSAGE_FIELD and location.trailing_comments:
                message = file.message_type[location.path[1]]
                field = message.field[location.path[3]]
                found[f"{file.package}.{message.name}.{field.name}"] = location.trailing_comments.strip()
    return found


_MESSAGE_FIELD = [4, 2]  # the numbers of FileDescriptorProto.message_type and DescriptorProto.field


def message_class(name: str) -> Any:
    """Return google.protobuf's class for a message of the pool, by its full name."""
    return GetMessageClass(pool().FindMessageTypeByName(name))


def _file(package: str, name: str, messages: dict[str, list[str]]) -> FileDescriptorProto:
    path = f"{package.replace('.', '/')}/{name}.proto"
    file = FileDescriptorProto(name=path, package=package, syntax="proto3")
    for message_name, fields in messages.items():
        message = file.message_type.add(name=message_name)
        if message_name in _ONEOFS:
            message.oneof_decl.add(name=_ONEOFS[message_name])
        for field in fields:
            _add_field(message, field, package)
    return file


def _add_field(message: DescriptorProto, text: str, package: str) -> None:
    head, _, kind = text.partition(": ")
    name, _, number = head.partition(" = ")
    label = FieldDescriptorProto.LABEL_REPEATED if kind[0] == "*" else FieldDescriptorProto.LABEL_OPTIONAL
    field = message.field.add(name=name, number=int(number), label=label)
    if kind[0] == "|":
        field.oneof_index = 0
    kind = kind.lstrip("*|")
    if kind in _KINDS:
        field.type = _KINDS[kind]  # type: ignore[assignment] # the numbers of FieldDescriptorProto.Type
    elif kind[0] == ".":
        field.type = FieldDescriptorProto.TYPE_ENUM
        field.type_name = f".{package}.{message.name}{kind}"
    else:
        field.type = FieldDescriptorProto.TYPE_MESSAGE
        field.type_name = f".{package}.{kind}"


def _health() -> FileDescriptorProto:
    package = "grpc.health.v1"
    file = _file(package, "health", _HEALTH)
    status = file.message_type[1].enum_type.add(name="ServingStatus")
    for name, number in SERVING_STATUS.items():
        status.value.add(name=name, number=number)
    service = file.service.add(name="Health")
    kinds = {"input_type": f".{package}.HealthCheckRequest", "output_type": f".{package}.HealthCheckResponse"}
    service.method.add(name="Check", **kinds)
    service.method.add(name="Watch", server_streaming=True, **kinds)
    return file


def _reflection(version: str) -> FileDescriptorProto:
    package = f"grpc.reflection.{version}"
    file = _file(package, "reflection", _REFLECTION)
    file.service.add(name="ServerReflection").method.add(
        name="ServerReflectionInfo",
        input_type=f".{package}.ServerReflectionRequest",
        output_type=f".{package}.ServerReflectionResponse",
        client_streaming=True,
        server_streaming=True,
    )
    return file

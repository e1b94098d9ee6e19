"""Descriptors of everything that our answers are made of, in a pool of our own, and google.protobuf's classes for it.

grpclib ships generated modules for health and reflection, but they enter google.protobuf's process-wide pool, where
they would collide with grpcio's own packages in any program that embeds us or tests us.
"""

import functools
from importlib import resources
from typing import Any

from google.protobuf import any_pb2, duration_pb2
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped] # ships no annotations

_DETAILS = (any_pb2, duration_pb2, status_pb2, error_details_pb2)  # each after those that it imports
_MESSAGE_FIELD = [4, 2]  # the numbers of FileDescriptorProto.message_type and DescriptorProto.field


@functools.cache
def pool() -> DescriptorPool:
    """Return the descriptors of our services, of health and reflection, and of the details that errors carry."""
    details = [FileDescriptorProto.FromString(module.DESCRIPTOR.serialized_pb) for module in _DETAILS]
    made = DescriptorPool()
    for file in [*details, *_our_files(), *_files("grpc.desc")]:
        made.Add(file)
    return made


def _files(name: str) -> list[FileDescriptorProto]:
    return list(FileDescriptorSet.FromString(resources.files("shortener.gen").joinpath(name).read_bytes()).file)


def _our_files() -> list[FileDescriptorProto]:
    return _files("protos.desc")


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


def message_class(name: str) -> Any:
    """Return google.protobuf's class for a message of the pool, by its full name."""
    return GetMessageClass(pool().FindMessageTypeByName(name))

"""Descriptors of everything that our answers are made of, in a pool of our own, and google.protobuf's classes for it.

grpclib ships generated modules for health and reflection, but they enter google.protobuf's process-wide pool, where
they would collide with grpcio's own packages in any program that embeds us or tests us.
"""

import functools
from importlib import resources
from typing import Any

import betterproto
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.descriptor import Descriptor
from google.protobuf.descriptor_pb2 import FileDescriptorProto, FileDescriptorSet
from google.protobuf.descriptor_pool import DescriptorPool
from google.protobuf.internal import api_implementation
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped] # ships no annotations

_DETAILS = (any_pb2, duration_pb2, status_pb2, error_details_pb2)  # each after those that it imports
_MESSAGE_FIELD = [4, 2]  # the numbers of FileDescriptorProto.message_type and DescriptorProto.field


@functools.cache
def pool() -> DescriptorPool:
    """Return the descriptors of our services, of health and reflection, and of the details that errors carry.

    Raises RuntimeError when google.protobuf runs without upb: its Python code takes a hundred times as long.
    """
    if api_implementation.Type() != "upb":
        raise RuntimeError("google.protobuf was installed without upb")
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


@functools.cache
def descriptor(cls: type[betterproto.Message]) -> Descriptor:
    """Return the descriptor of a generated class, with its name as the protos spell it (`ListURLs`, not `ListUrLs`)."""
    package = cls.__module__.rpartition(".")[2]
    messages = pool().FindFileByName(f"{package}.proto").message_types_by_name
    [name] = [name for name in messages if name.lower() == cls.__name__.lower()]
    return messages[name]


def message_class(name: str) -> Any:
    """Return google.protobuf's class for a message of the pool, by its full name."""
    return GetMessageClass(pool().FindMessageTypeByName(name))


@functools.cache
def google_class(cls: type[betterproto.Message]) -> type[Message]:
    """Return google.protobuf's class for the message of a generated class."""
    return GetMessageClass(descriptor(cls))

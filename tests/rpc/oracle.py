"""google.protobuf's view of our messages, to compare the codec with."""

# ruff: noqa: RUF009 - betterproto's field functions return dataclass fields

import functools
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import betterproto
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

from shortener.gen import analytics, url, user
from shortener.rpc.fields import fields_of

DESCRIPTORS = Path(url.__file__).parent.parent / "protos.desc"


@dataclass(eq=False, repr=False)
class Everything(betterproto.Message):
    """One field of each kind and its repeated twin; messages nest, and numbers pass the one-byte tags."""

    a_int32: int = betterproto.int32_field(1)
    a_int64: int = betterproto.int64_field(2)
    a_uint32: int = betterproto.uint32_field(3)
    a_uint64: int = betterproto.uint64_field(4)
    a_sint32: int = betterproto.sint32_field(5)
    a_sint64: int = betterproto.sint64_field(6)
    a_fixed32: int = betterproto.fixed32_field(7)
    a_fixed64: int = betterproto.fixed64_field(8)
    a_sfixed32: int = betterproto.sfixed32_field(9)
    a_sfixed64: int = betterproto.sfixed64_field(10)
    a_bool: bool = betterproto.bool_field(11)
    a_float: float = betterproto.float_field(12)
    a_double: float = betterproto.double_field(13)
    a_string: str = betterproto.string_field(14)
    a_bytes: bytes = betterproto.bytes_field(15)
    a_message: "Everything" = betterproto.message_field(16)
    int32s: list[int] = betterproto.int32_field(101)
    int64s: list[int] = betterproto.int64_field(102)
    uint32s: list[int] = betterproto.uint32_field(103)
    uint64s: list[int] = betterproto.uint64_field(104)
    sint32s: list[int] = betterproto.sint32_field(105)
    sint64s: list[int] = betterproto.sint64_field(106)
    fixed32s: list[int] = betterproto.fixed32_field(107)
    fixed64s: list[int] = betterproto.fixed64_field(108)
    sfixed32s: list[int] = betterproto.sfixed32_field(109)
    sfixed64s: list[int] = betterproto.sfixed64_field(110)
    bools: list[bool] = betterproto.bool_field(111)
    floats: list[float] = betterproto.float_field(112)
    doubles: list[float] = betterproto.double_field(113)
    strings: list[str] = betterproto.string_field(114)
    many_bytes: list[bytes] = betterproto.bytes_field(115)
    messages: list["Everything"] = betterproto.message_field(2000)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Show a failing example by its repr: reading its fields one by one would never end."""
        printer.text(repr(self))


ALL = [
    value
    for module in (url, user, analytics)
    for value in vars(module).values()
    if isinstance(value, type) and issubclass(value, betterproto.Message) and value is not betterproto.Message
]
"""Every generated message class."""


@functools.cache
def _pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTORS.read_bytes()).file:
        pool.Add(file)
    file = descriptor_pb2.FileDescriptorProto(name="everything.proto", package="test", syntax="proto3")
    message = file.message_type.add(name="Everything")
    for field in fields_of(Everything):
        kind = getattr(descriptor_pb2.FieldDescriptorProto, f"TYPE_{field.kind.upper()}")
        label = 3 if field.repeated else 1
        added = message.field.add(name=field.name, number=field.number, type=kind, label=label)
        if field.message:
            added.type_name = ".test.Everything"
    pool.Add(file)
    return pool


@functools.cache
def google_class(cls: type[betterproto.Message]) -> Any:
    """Return google.protobuf's class for one of ours, matched by package and name, whatever the casing."""
    if cls is Everything:
        return message_factory.GetMessageClass(_pool().FindMessageTypeByName("test.Everything"))
    package = cls.__module__.rpartition(".")[2]
    file = _pool().FindFileByName(f"{package}.proto")
    names = {name.lower(): descriptor for name, descriptor in file.message_types_by_name.items()}
    return message_factory.GetMessageClass(names[cls.__name__.lower()])


def as_google(message: betterproto.Message) -> Any:
    """Return the google.protobuf message with the same content."""
    result = google_class(type(message))()
    for field in fields_of(type(message)):
        value = vars(message)[field.name]
        if field.repeated:
            target = getattr(result, field.name)
            target.extend([as_google(item) for item in value] if field.message else value)
        elif field.message:
            if isinstance(value, betterproto.Message):
                getattr(result, field.name).CopyFrom(as_google(value))
                getattr(result, field.name).SetInParent()
        else:
            setattr(result, field.name, value)
    return result

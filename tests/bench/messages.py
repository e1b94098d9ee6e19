"""The contract's messages as google.protobuf classes, for clients and peers that are not ours."""

import functools
from pathlib import Path
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, message_factory

DESCRIPTORS = Path(__file__).parents[2] / "shortener" / "gen" / "protos.desc"


@functools.cache
def _pool() -> descriptor_pool.DescriptorPool:
    pool = descriptor_pool.DescriptorPool()
    for file in descriptor_pb2.FileDescriptorSet.FromString(DESCRIPTORS.read_bytes()).file:
        pool.Add(file)
    return pool


def message_class(name: str) -> Any:
    """Return the class of a message by its full name, such as "url.URL"."""
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(name))

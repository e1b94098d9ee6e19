"""Server reflection, v1 and v1alpha, so that grpcurl and its like can list and describe what a port serves.

They can also print the details of errors, because the files of google.rpc are described too.
"""

import functools
from collections.abc import Sequence
from typing import Any

from google.protobuf.descriptor import FileDescriptor
from grpclib.const import Cardinality, Handler, Status

from shortener.rpc.descriptors import message_class, pool
from shortener.rpc.guard import Service
from shortener.rpc.health import service_names

VERSIONS = ("v1", "v1alpha")
SERVICES = frozenset(f"grpc.reflection.{version}.ServerReflection" for version in VERSIONS)


def reflection(services: Sequence[Service]) -> list[Service]:
    """Return both reflection services for a listener that serves `services`; they list themselves too."""
    names = [*service_names(services), *sorted(SERVICES)]
    return [Reflection(version, names) for version in VERSIONS]


class Reflection:
    """One version of the service; the two differ in their package alone. `names` is what it lists."""

    def __init__(self, version: str, names: Sequence[str]) -> None:
        self._package = f"grpc.reflection.{version}"
        self._names = names
        self._request = message_class(f"{self._package}.ServerReflectionRequest")
        self._response = message_class(f"{self._package}.ServerReflectionResponse")

    def __mapping__(self) -> dict[str, Handler]:
        """Return its one method."""
        path = f"/{self._package}.ServerReflection/ServerReflectionInfo"
        return {path: Handler(self._answer_all, Cardinality.STREAM_STREAM, self._request, self._response)}

    async def _answer_all(self, stream: Any) -> None:
        while (request := await stream.recv_message()) is not None:
            await stream.send_message(self._answer(request))

    def _answer(self, request: Any) -> Any:
        answer = self._response(valid_host=request.host, original_request=request)
        asked = request.WhichOneof("message_request")
        if asked == "list_services":
            for name in self._names:
                answer.list_services_response.service.add(name=name)
            return answer
        try:
            if asked == "file_by_filename":
                answer.file_descriptor_response.file_descriptor_proto.extend(_described(request.file_by_filename))
            elif asked == "file_containing_symbol":
                name = _file_of(request.file_containing_symbol).name
                answer.file_descriptor_response.file_descriptor_proto.extend(_described(name))
            elif asked == "all_extension_numbers_of_type":  # proto3 messages have no extensions
                message = pool().FindMessageTypeByName(request.all_extension_numbers_of_type)
                answer.all_extension_numbers_response.base_type_name = message.full_name
            elif asked == "file_containing_extension":
                raise KeyError(request.file_containing_extension.containing_type)
            else:
                _fail(answer, Status.INVALID_ARGUMENT, "no question asked")
        except KeyError:
            _fail(answer, Status.NOT_FOUND, "not found")
        return answer


@functools.cache
def _described(name: str) -> list[bytes]:
    """Return the file of this name, then all that it imports; KeyError when the pool has no such file.

    Some clients take the first file for the one that they asked for.
    """
    files: dict[str, bytes] = {}
    _add(pool().FindFileByName(name), files)
    return list(files.values())


def _add(file: FileDescriptor, files: dict[str, bytes]) -> None:
    files[file.name] = file.serialized_pb
    for imported in file.dependencies:
        _add(imported, files)


def _file_of(symbol: str) -> FileDescriptor:
    """Return the file of a service, message or enum, or of a method, field or value in one; KeyError without any."""
    try:
        return pool().FindFileContainingSymbol(symbol)
    except KeyError:
        return pool().FindFileContainingSymbol(symbol.rpartition(".")[0])


def _fail(answer: Any, status: Status, message: str) -> None:
    answer.error_response.error_code = status.value
    answer.error_response.error_message = message

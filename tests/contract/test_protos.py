"""Names, numbers, types and paths are frozen: in a golden file, by the contract's own text, and in generated code."""

import filecmp
import importlib.util
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.descriptor_pb2 import DescriptorProto, FieldDescriptorProto, FileDescriptorProto, FileDescriptorSet

from tests.contract import reference

ROOT = Path(__file__).parents[2]
GOLDEN = Path(__file__).parent / "golden" / "protos.json"
GENERATED = ROOT / "shortener" / "gen"

needs_grpc_tools = pytest.mark.skipif(
    importlib.util.find_spec("grpc_tools") is None, reason="needs the package grpcio-tools"
)

Shape = dict[str, dict[str, Any]]


def shape(files: FileDescriptorSet) -> Shape:
    """What a caller depends on: every field's number, label and type, and what each method takes and gives."""
    found: Shape = {"messages": {}, "methods": {}}
    for file in files.file:
        for message in file.message_type:
            _add_message(found["messages"], file.package, message)
        found["methods"] |= dict(_methods(file))
        assert not file.enum_type, "enums are not in the golden file yet"
    return found


def _add_message(messages: dict[str, Any], prefix: str, message: DescriptorProto) -> None:
    name = f"{prefix}.{message.name}"
    messages[name] = {field.name: _field(field) for field in message.field}
    assert not message.enum_type, "enums are not in the golden file yet"
    for inner in message.nested_type:
        _add_message(messages, name, inner)


def _field(field: FieldDescriptorProto) -> str:
    label = FieldDescriptorProto.Label.Name(field.label).removeprefix("LABEL_").lower()
    kind = FieldDescriptorProto.Type.Name(field.type).removeprefix("TYPE_").lower()
    return f"{field.number}: {label} {field.type_name or kind}"


def _methods(file: FileDescriptorProto) -> "dict[str, str]":
    return {
        f"/{file.package}.{service.name}/{method.name}": (
            f"{'stream ' * method.client_streaming}{method.input_type} -> "
            f"{'stream ' * method.server_streaming}{method.output_type}"
        )
        for service in file.service
        for method in service.method
    }


def ours() -> Shape:
    return shape(FileDescriptorSet.FromString((GENERATED / "protos.desc").read_bytes()))


def compiled(protos: dict[str, str], folder: Path) -> Shape:
    """The shape of proto texts, by stock protoc."""
    for name, text in protos.items():
        (folder / f"{name}.proto").write_text(text)
    out = folder / "out.desc"
    command = [sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={folder}", f"--descriptor_set_out={out}"]
    subprocess.run([*command, *(f"{name}.proto" for name in protos)], check=True, timeout=60)
    return shape(FileDescriptorSet.FromString(out.read_bytes()))


def lacking(wanted: Shape, given: Shape) -> list[str]:
    """What `wanted` has and `given` has not, or has otherwise."""
    found = [path for path, types in wanted["methods"].items() if given["methods"].get(path) != types]
    for name, fields in wanted["messages"].items():
        known = given["messages"].get(name, {})
        found += [f"{name}.{field} = {text}" for field, text in fields.items() if known.get(field) != text]
        found += [name] * (name not in given["messages"])
    return found


def test_nothing_was_renamed_renumbered_or_removed(pytestconfig: pytest.Config) -> None:
    shown = json.dumps(ours(), indent=1, sort_keys=True) + "\n"
    if pytestconfig.getoption("--update-golden"):
        assert lacking(json.loads(GOLDEN.read_text()), ours()) == [] if GOLDEN.exists() else True
        GOLDEN.write_text(shown)
    assert shown == GOLDEN.read_text(), "if something was only added: pytest tests/contract --update-golden"


def test_no_number_is_used_twice() -> None:
    for name, fields in ours()["messages"].items():
        numbers = [text.partition(":")[0] for text in fields.values()]
        assert len(set(numbers)) == len(numbers), name


@needs_grpc_tools
def test_all_of_the_service_reference_is_in_ours(tmp_path: Path) -> None:
    documents = compiled(reference.service_protos(), tmp_path)
    assert (len(documents["methods"]), len(documents["messages"])) == (15, 37)
    assert lacking(documents, ours()) == []


@needs_grpc_tools
def test_all_of_the_guide_is_in_ours(tmp_path: Path) -> None:
    guide = compiled({"user": reference.guide_proto()}, tmp_path)
    assert set(guide["methods"]) == {f"/user.UserService/{name}" for name in ("CreateUser", "GetUser", "ListUsers")}
    assert lacking(guide, ours()) == []


@needs_grpc_tools
@pytest.mark.skipif(shutil.which("make") is None, reason="needs the tool make")
def test_make_proto_reproduces_the_generated_code(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "protos", tmp_path / "protos")
    shutil.copy(ROOT / "Makefile", tmp_path)
    generated = tmp_path / "shortener" / "gen"
    generated.mkdir(parents=True)
    shutil.copy(GENERATED / "__init__.py", generated)
    made = subprocess.run(
        ["make", "--silent", "proto", f"PYTHON={sys.executable}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    names = {str(path.relative_to(GENERATED)) for path in GENERATED.rglob("*") if path.suffix in (".py", ".desc")}
    assert {str(path.relative_to(generated)) for path in generated.rglob("*") if path.is_file()} == names
    assert filecmp.cmpfiles(GENERATED, generated, names, shallow=False)[1:] == ([], [])

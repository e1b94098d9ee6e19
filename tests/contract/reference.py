"""Stock gRPC clients made from the contract's own documents, not from our protos."""

import importlib
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

CONTRACT = Path(__file__).parents[2] / "docs" / "contract"
SERVICES = {"URL Service": "url", "User Service": "user", "Analytics Service": "analytics"}


def service_protos() -> dict[str, str]:
    """Assemble one proto file per service of the service reference, in the document's own words."""
    protos = {}
    text = (CONTRACT / "grpc-apis.md").read_text()
    for title, package in SERVICES.items():
        section = re.split(rf"^## {title}$", text, flags=re.MULTILINE)[1]
        section = re.split(r"^## (?:User Service|Analytics Service|Error Handling)$", section, flags=re.MULTILINE)[0]
        blocks = re.findall(r"```protobuf\n(.*?)```", section, re.DOTALL)
        protos[package] = _file(package, blocks)
    return protos


def guide_proto() -> str:
    """Assemble the guide's proto: its service, with the messages that the contract's README gives it."""
    service = re.findall(r"```protobuf\n(.*?)```", (CONTRACT / "grpc-api-guide.md").read_text(), re.DOTALL)
    messages = re.findall(r"```protobuf\n(.*?)```", (CONTRACT / "README.md").read_text(), re.DOTALL)
    return _file("user", service + messages)


def _file(package: str, blocks: list[str]) -> str:
    return f'syntax = "proto3";\npackage {package};\n\n' + "\n".join(blocks)


def compile_protos(protos: dict[str, str], out: Path, *, below: str = "") -> None:
    """Run stock protoc, as the guide does, and leave `*_pb2.py` and `*_pb2_grpc.py` in `out/below`."""
    folder = out / below
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in protos.items():
        (folder / f"{name}.proto").write_text(text)
    command = [sys.executable, "-m", "grpc_tools.protoc", f"--proto_path={folder}"]
    command += [f"--python_out={folder}", f"--grpc_python_out={folder}"]
    subprocess.run([*command, *(f"{name}.proto" for name in protos)], check=True)


def load(out: Path, *names: str) -> list[ModuleType]:
    """Import generated modules from `out`."""
    sys.path.insert(0, str(out))
    try:
        return [importlib.import_module(name) for name in names]
    finally:
        sys.path.remove(str(out))

"""The guide's own Python client, run as it stands (but for the port), in a process of its own."""

import re
import subprocess
import sys
from pathlib import Path

from tests.contract import reference
from tests.support.process import Running


def test_the_guides_client_runs(server: Running, tmp_path: Path) -> None:
    guide = (reference.CONTRACT / "grpc-api-guide.md").read_text()
    example, errors = re.findall(r"```python\n(.*?)```", guide, re.DOTALL)
    # The guide keeps its protos in app/api/grpc/protos; stock generated code imports `user_pb2` by its bare name.
    protos = "app/api/grpc/protos"
    reference.compile_protos({"user": reference.guide_proto()}, tmp_path, below=protos)
    script = example + "request = user_pb2.GetUserRequest(user_id=404)\n" + errors
    (tmp_path / "client.py").write_text(script.replace("localhost:50051", server.url))
    done = subprocess.run(
        [sys.executable, "client.py"],
        cwd=tmp_path,
        env={"PYTHONPATH": f"{tmp_path}:{tmp_path / protos}"},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    assert done.stdout == "User created: 1\nUser: grpcuser\nUser not found\n"

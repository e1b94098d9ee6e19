"""Whether an account exists shows neither in the answer to a login nor in the time it takes."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import grpc

from tests.support import process
from tests.support.clients import stubs_of
from tests.support.scheduling import cpu_seconds


def test_unknown_accounts_look_like_wrong_passwords(
    tmp_path: Path, pb: SimpleNamespace, size: Callable[[int, int], int], figure: Callable[[str, str], None]
) -> None:
    rounds = size(8, 200)
    taken: dict[str, list[float]] = {"known@example.com": [], "unknown@example.com": []}
    worked: dict[str, list[float]] = {email: [] for email in taken}
    answers = set()
    with process.running(tmp_path / "data") as server, stubs_of(pb, server) as stubs:
        person = pb.user_pb2.RegisterRequest(email="known@example.com", password="secret-of-hers", name="P")
        stubs.users.Register(person)
        for number in range(2 * rounds):
            email = list(taken)[(number + number // 2) % 2]  # each is the first of a pair as often as the other
            request = pb.user_pb2.LoginRequest(email=email, password=f"wrong-{number:07}")
            before, worked_before = time.perf_counter(), cpu_seconds(server.process.pid)
            try:
                stubs.users.Login(request, timeout=30)
            except grpc.RpcError as error:
                taken[email].append(time.perf_counter() - before)
                worked[email].append(cpu_seconds(server.process.pid) - worked_before)
                answers.add((error.code(), error.details(), str(error.trailing_metadata())))
    assert len(answers) == 1
    assert [len(each) for each in taken.values()] == [rounds, rounds]
    # The server's work is compared: the time it takes has the noise of whatever else the machine does.
    known, unknown = (statistics.median(each) for each in worked.values())
    apart = abs(known / unknown - 1)
    assert apart < size(1, 0) * 0.65 + 0.05  # of eight each, what is seen is whether one of them is hashed at all
    wall = [statistics.median(each) for each in taken.values()]
    figure(
        "unknown accounts and wrong passwords take the same time",
        f"{rounds} of each, taking turns: medians of work {known * 1000:.2f} and {unknown * 1000:.2f} ms, "
        f"{apart:.1%} apart; of time {wall[0] * 1000:.1f} and {wall[1] * 1000:.1f} ms, "
        f"{abs(wall[0] / wall[1] - 1):.1%}; one answer",
    )

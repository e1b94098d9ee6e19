"""Whether an account exists shows neither in the answer to a login nor in the time it takes."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import grpc

from tests.contract.clients import stubs_of
from tests.e2e import process


def test_unknown_accounts_look_like_wrong_passwords(
    tmp_path: Path, pb: SimpleNamespace, size: Callable[[int, int], int], figure: Callable[[str, str], None]
) -> None:
    rounds = size(8, 200)
    taken: dict[str, list[float]] = {"known@example.com": [], "unknown@example.com": []}
    answers = set()
    with process.running(tmp_path / "data") as server, stubs_of(pb, server) as stubs:
        person = pb.user_pb2.RegisterRequest(email="known@example.com", password="secret-of-hers", name="P")
        stubs.users.Register(person)
        for number in range(2 * rounds):
            email = list(taken)[(number + number // 2) % 2]  # each is the first of a pair as often as the other
            request = pb.user_pb2.LoginRequest(email=email, password=f"wrong-{number:07}")
            before = time.perf_counter()
            try:
                stubs.users.Login(request, timeout=30)
            except grpc.RpcError as error:
                taken[email].append(time.perf_counter() - before)
                answers.add((error.code(), error.details(), str(error.trailing_metadata())))
    assert len(answers) == 1
    assert [len(each) for each in taken.values()] == [rounds, rounds]
    known, unknown = (statistics.median(each) for each in taken.values())
    if size(0, 1):
        assert abs(known / unknown - 1) < 0.05
    else:  # a few rounds on a busy machine can only tell a hash from none
        fastest = [min(each) for each in taken.values()]
        assert max(fastest) < 3 * min(fastest)
    figure(
        "unknown accounts and wrong passwords take the same time",
        f"{rounds} of each, taking turns: medians {known * 1000:.1f} and {unknown * 1000:.1f} ms, "
        f"{abs(known / unknown - 1) * 100:.1f} % apart; one answer",
    )

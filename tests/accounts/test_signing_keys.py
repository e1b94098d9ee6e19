"""The secret: made once, kept private, read strictly."""

import os
import re
from pathlib import Path

import pytest

from shortener.accounts.signing_keys import load_keys, parse_keys
from shortener.config.sections import Auth
from shortener.errors import OperatorError


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"a" * 32, (b"a" * 32,)),
        (b"a" * 32 + b"\n", (b"a" * 32,)),
        (b"a" * 32 + b"\r\n" + b"b" * 40 + b"\r\n", (b"a" * 32, b"b" * 40)),
        (b"\n\n" + b"a" * 32 + b"\n\n" + b"b" * 32, (b"a" * 32, b"b" * 32)),
        (b"a" * 32 + b"\n" + b"a" * 32, (b"a" * 32,)),
        (b" " + b"a" * 32 + b"\t\n", (b" " + b"a" * 32 + b"\t",)),
        (b"\x00\xff\r\x0b" * 8 + b"\n", (b"\x00\xff\r\x0b" * 8,)),
    ],
)
def test_a_key_is_the_bytes_of_its_line(text: bytes, expected: tuple[bytes, ...]) -> None:
    assert parse_keys(text, "here") == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (b"", "here: holds no key; it needs one a line, at least 32 bytes each"),
        (b"\n\r\n\n", "here: holds no key; it needs one a line, at least 32 bytes each"),
        (b"a" * 31, "here: line 1 has 31 bytes; a key needs at least 32"),
        (b"a" * 32 + b"\n\nb\n", "here: line 3 has 1 bytes; a key needs at least 32"),
        (b"\n".join(b"%040d" % n for n in range(101)), "here: holds 101 keys; at most 100 are read"),
        (
            b"ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIGiBnX2ICS4eTwxmMbMaZJmB7DCGPb6sVwF6cD2wUCiN me",
            "here: line 1 is a public key, which anybody could sign with",
        ),
    ],
)
def test_other_secrets_are_refused_without_being_shown(text: bytes, problem: str) -> None:
    with pytest.raises(OperatorError) as caught:
        parse_keys(text, "here")
    assert str(caught.value) == problem


def test_the_first_start_makes_a_private_secret(tmp_path: Path) -> None:
    made = load_keys(Auth(), tmp_path)
    path = tmp_path / "secret"
    assert re.fullmatch(rb"[0-9a-f]{64}\n", path.read_bytes())
    assert made == (path.read_bytes().strip(),)
    assert mode(path) == 0o600
    assert os.listdir(tmp_path) == ["secret"]
    assert load_keys(Auth(), tmp_path) == made


def test_two_first_starts_make_two_secrets(tmp_path: Path) -> None:
    made = set()
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        made.add(load_keys(Auth(), tmp_path / name))
    assert len(made) == 2


def test_a_umask_opens_nothing(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        load_keys(Auth(), tmp_path)
    finally:
        os.umask(before)
    assert mode(tmp_path / "secret") == 0o600


def test_a_file_system_without_hard_links_will_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise PermissionError

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    made = load_keys(Auth(), tmp_path)
    assert os.listdir(tmp_path) == ["secret"]
    assert load_keys(Auth(), tmp_path) == made


def test_a_crash_while_writing_leaves_no_secret(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(
        OperatorError, match=r"^\[auth\] secret_file is empty, and .*/secret cannot be used: No space left"
    ):
        load_keys(Auth(), tmp_path)
    assert os.listdir(tmp_path) == []


def test_our_own_secret_is_made_private_again(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    made = load_keys(Auth(), tmp_path)
    (tmp_path / "secret").chmod(0o644)
    assert load_keys(Auth(), tmp_path) == made
    assert mode(tmp_path / "secret") == 0o600
    assert [record.message for record in caplog.records] == [
        "the secret file could be read by others; its mode is now 0600"
    ]


def test_a_damaged_secret_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"short\n")
    with pytest.raises(OperatorError, match="line 1 has 5 bytes"):
        load_keys(Auth(), tmp_path)
    assert (tmp_path / "secret").read_bytes() == b"short\n"


def test_a_given_file_is_read_and_left_alone(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "keys"
    path.write_bytes(b"a" * 32 + b"\n" + b"b" * 32 + b"\n")
    path.chmod(0o440)
    assert load_keys(Auth(secret_file=str(path)), tmp_path) == (b"a" * 32, b"b" * 32)
    assert mode(path) == 0o440
    assert os.listdir(tmp_path) == ["keys"]
    assert [record.message for record in caplog.records] == ["the secret file can be read by others than its owner"]


def test_a_given_secret_needs_no_file(tmp_path: Path) -> None:
    assert load_keys(Auth(secret="ä" * 16 + "\nb" + "\udcff" * 32), tmp_path) == (
        "ä".encode() * 16,
        b"b" + b"\xff" * 32,
    )
    assert os.listdir(tmp_path) == []


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "huge").write_bytes(b"a" * 70_000)
    for name, problem in {
        "missing": "cannot be used: No such file or directory",
        ".": "cannot be used: Is a directory",
        "fifo": "is not a regular file",
        "huge": "has more than 65536 bytes",
    }.items():
        with pytest.raises(OperatorError) as caught:
            load_keys(Auth(secret_file=str(tmp_path / name)), tmp_path)
        assert str(caught.value) == f"[auth] secret_file {tmp_path / name} {problem}"


def test_a_missing_data_directory_is_named(tmp_path: Path) -> None:
    with pytest.raises(OperatorError, match="No such file or directory"):
        load_keys(Auth(), tmp_path / "missing")

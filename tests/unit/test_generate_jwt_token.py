"""The token generator prints only the token on stdout, and everything else on stderr."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jwt
import pytest
from pydantic import SecretStr

from alts.shared.auth.keys import TokenKeys
from alts.shared.auth.tokens import CALLER_SCOPES, Scope, read_token
from generate_jwt_token import main, read_lifetime
from tests.support.builders import SECRET, a_config
from tests.support.one_secret import OneSecret
from tests.support.signing import ALGORITHMS, jwks, key_pair, public_file


class Run:
    """One call of the program."""

    def __init__(self, *argv: str, stdin: str = "") -> None:
        out, err = io.StringIO(), io.StringIO()
        self.exit_code = main(argv, read=io.StringIO(stdin), out=out, err=err)
        self.out = out.getvalue()
        self.err = err.getvalue()


def a_config_file(folder: Path, text: str) -> str:
    path = folder / "config.yaml"
    path.write_text(text)
    return str(path)


def test_a_configuration_with_nothing_but_the_secret_will_do(tmp_path: Path) -> None:
    config = a_config_file(tmp_path, f"jwt_secret: {SECRET}\njwt_algorithm: HS512\n")

    run = Run("-c", config, "-e", "me@example.org")

    assert run.exit_code == 0
    assert run.err == ""
    caller = read_token(run.out.strip(), OneSecret(SecretStr(SECRET), "HS512"))
    assert caller.email == "me@example.org"
    assert caller.scopes == set(CALLER_SCOPES)


@pytest.mark.filterwarnings("ignore::jwt.warnings.InsecureKeyLengthWarning")
def test_a_phrase_signs_too_and_a_weak_one_is_warned_of(tmp_path: Path) -> None:
    run = Run("-s", "my_very_secret_phrase", "-a", "HS256", "-e", "some@email.com")

    assert run.exit_code == 0
    assert run.out.count("\n") == 1
    assert read_token(run.out.strip(), OneSecret(SecretStr("my_very_secret_phrase"), "HS256")).email == "some@email.com"
    assert run.err.startswith("warning: the secret is weak")
    assert "my_very_secret_phrase" not in run.err


@pytest.mark.parametrize("end", ["", "\n", "\r\n"], ids=repr)
def test_a_phrase_need_not_be_in_the_list_of_processes(tmp_path: Path, end: str) -> None:
    file = public_file(tmp_path, SECRET + end, "secret.txt")

    for run in Run("-f", file, "-e", "me@example.org"), Run("-f", "-", "-e", "me@example.org", stdin=SECRET + end):
        assert (run.exit_code, run.err) == (0, "")
        assert read_token(run.out.strip(), OneSecret(SecretStr(SECRET), "HS256")).email == "me@example.org"


@pytest.mark.parametrize("content", [None, b"\n", b"\xff\xfe secret"], ids=["not there", "empty", "no text"])
def test_a_file_without_a_phrase_is_one_line_and_2(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "secret.txt"
    if content is not None:
        file.write_bytes(content)

    run = Run("-f", str(file), "-e", "me@example.org")

    assert (run.exit_code, run.out) == (2, "")
    assert run.err.count("\n") == 1


def test_help_shows_no_phrase_on_a_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        Run("--help")

    examples = capsys.readouterr().out.partition("examples:")[2]
    assert " -f secret.txt " in examples
    assert " -s " not in examples


def test_scopes_may_be_chosen() -> None:
    run = Run("-s", SECRET, "-e", "me@example.org", "--scope", "tasks:read", "--scope", "worker")

    scopes = read_token(run.out.strip(), OneSecret(SecretStr(SECRET), "HS256")).scopes
    assert scopes == {Scope.READ, Scope.WORKER}


@pytest.mark.parametrize(
    ("text", "seconds"), [("30d", 2_592_000), ("12h", 43_200), ("45m", 2_700), ("90", 90), ("90s", 90)]
)
def test_a_lifetime_ends_when_it_says(text: str, seconds: int) -> None:
    run = Run("-s", SECRET, "-e", "me@example.org", "-l", text)

    claims = jwt.decode(run.out.strip(), SECRET, algorithms=["HS256"])
    assert read_lifetime(text) == timedelta(seconds=seconds)
    assert claims["exp"] - claims["iat"] == seconds
    assert abs(claims["iat"] - datetime.now(UTC).timestamp()) < 60


def test_a_token_lasts_thirty_days_when_nothing_is_said() -> None:
    claims = jwt.decode(Run("-s", SECRET, "-e", "me@example.org").out.strip(), SECRET, algorithms=["HS256"])

    assert claims["exp"] - claims["iat"] == 30 * 86_400


@pytest.mark.parametrize(
    "argv",
    [
        ["-s", SECRET],
        ["-e", "me@example.org"],
        ["-s", SECRET, "-c", "x.yaml", "-e", "me@example.org"],
        ["-s", SECRET, "-f", "x.txt", "-e", "me@example.org"],
        ["-s", SECRET, "-e", "nobody"],
        ["-s", SECRET, "-e", "a b@example.org"],
        ["-s", SECRET, "-e", "me@example.org", "-a", "none"],
        ["-s", SECRET, "-e", "me@example.org", "-a", "PS256"],
        ["-s", SECRET, "-e", "me@example.org", "--scope", "root"],
        *[["-s", SECRET, "-e", "me@example.org", "-l", text] for text in ("0", "-1", "1w", "forever", "9999999d", "")],
    ],
    ids=lambda argv: " ".join(argv).replace(SECRET, "SECRET"),
)
def test_wrong_use_exits_with_2(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ending:
        Run(*argv)

    assert ending.value.code == 2
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("", "config.yaml"),
        ("- a list", "config.yaml"),
        ("jwt_secret: [", "config.yaml"),
        ("jwt_algorithm: HS256", "jwt_secret"),
        ("jwt_secret: 12345678", "jwt_secret"),
        ("jwt_secret: ''", "jwt_secret"),
        ("jwt_secret: abc\njwt_algorithm: none", "jwt_algorithm"),
        ("jwt_secret: abc\njwt_algorithm: [HS256]", "jwt_algorithm"),
    ],
)
def test_a_wrong_configuration_is_one_line_and_2(tmp_path: Path, text: str, named: str) -> None:
    run = Run("-c", a_config_file(tmp_path, text), "-e", "me@example.org")

    assert (run.exit_code, run.out) == (2, "")
    assert run.err.count("\n") == 1
    assert named in run.err


def test_a_configuration_that_is_not_there_is_one_line_and_2(tmp_path: Path) -> None:
    run = Run("-c", str(tmp_path / "nowhere.yaml"), "-e", "me@example.org")

    assert (run.exit_code, run.out) == (2, "")
    assert run.err.count("\n") == 1


def test_an_empty_phrase_is_refused() -> None:
    run = Run("-s", "", "-e", "me@example.org")

    assert (run.exit_code, run.out) == (2, "")


def test_help_shows_how_it_is_called(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ending:
        Run("--help")

    assert ending.value.code == 0
    assert "generate_jwt_token.py -c configs/alts_config.yaml -e some@email.com" in capsys.readouterr().out


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_private_key_signs_and_says_for_what_it_is(tmp_path: Path, algorithm: str) -> None:
    pair = key_pair(algorithm)
    private = public_file(tmp_path, pair.private_pem, "private.pem")
    config = a_config(jwt_algorithm=algorithm, jwt_jwks_file=public_file(tmp_path, jwks(one=pair), "keys.json"))

    run = Run("-k", private, "--kid", "one", "-e", "me@example.org", "--scope", "admin")

    assert (run.exit_code, run.err) == (0, "")
    assert read_token(run.out.strip(), TokenKeys(config)).scopes == {Scope.ADMIN}


@pytest.mark.parametrize(
    ("content", "more"),
    [
        ("nonsense", ()),
        (key_pair("EdDSA").public_pem, ()),
        (key_pair("EdDSA").private_pem, ("-a", "RS256")),
        (key_pair("EdDSA").private_pem, ("-a", "HS256")),
        (key_pair("RS256", bits=1024).private_pem, ()),
        ("ü", ()),
    ],
    ids=["nonsense", "public", "for another", "no secret", "weak", "no text"],
)
def test_a_private_key_that_will_not_do_is_one_line_and_2(tmp_path: Path, content: str, more: tuple[str, ...]) -> None:
    run = Run("-k", public_file(tmp_path, content), "-e", "me@example.org", *more)

    assert (run.exit_code, run.out) == (2, "")
    assert run.err.count("\n") == 1
    assert content.splitlines()[-1] not in run.err


def test_a_configuration_for_private_keys_asks_for_one(tmp_path: Path) -> None:
    config = a_config_file(tmp_path, f"jwt_secret: {SECRET}\njwt_algorithm: EdDSA\n")

    run = Run("-c", config, "-e", "me@example.org")

    assert (run.exit_code, run.out) == (2, "")
    assert "-k FILE" in run.err


def test_a_kid_chooses_the_secret_of_that_name(tmp_path: Path) -> None:
    config = a_config_file(tmp_path, f'jwt_secret: {SECRET}\njwt_secrets: {{"2027": {SECRET[::-1]}}}\n')

    run = Run("-c", config, "-e", "me@example.org", "--kid", "2027")

    keys = TokenKeys(a_config(jwt_secrets={"2027": SECRET[::-1]}))
    assert read_token(run.out.strip(), keys).email == "me@example.org"
    assert Run("-c", config, "-e", "me@example.org", "--kid", "2028").exit_code == 2


@pytest.mark.parametrize("changes", [{}, {"worker_secret": SECRET[::-1]}], ids=["shared", "its own"])
def test_a_workers_token_is_signed_with_the_workers_secret(tmp_path: Path, changes: dict[str, str]) -> None:
    lines = "".join(f"{key}: {value}\n" for key, value in {"jwt_secret": SECRET, **changes}.items())

    run = Run("-c", a_config_file(tmp_path, lines), "-e", "w@example.org", "--scope", "worker")

    assert read_token(run.out.strip(), TokenKeys(a_config(**changes))).scopes == {Scope.WORKER}

"""The configuration file: where it is, and what is wrong with it in one line that quotes no secret."""

from __future__ import annotations

from pathlib import Path

import pytest

from alts.shared.config_file import PATH_VARIABLE, config_path, load_config
from alts.shared.errors import ConfigurationError
from tests.support.builders import SECRET


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere\.yaml: does not exist.*example_config\.yaml"):
        load_config(tmp_path / "nowhere.yaml")


@pytest.mark.parametrize("content", [b"jwt_secret: [top-secret", b"a: b: top-secret", b"\xff\xfe\x00", b"\ttop-secret"])
def test_a_file_that_is_no_yaml_is_refused_without_quoting_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.yaml"
    path.write_bytes(content)

    with pytest.raises(ConfigurationError) as refusal:
        load_config(path)

    assert refusal.value.key == str(path)
    assert "top-secret" not in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_a_secret_may_be_in_a_file_of_its_own(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text(f"{SECRET}\n")
    path = tmp_path / "config.yaml"
    path.write_text(f"broker: memory\nstorage: folder\njwt_secret_file: {tmp_path}/secret\n")

    assert load_config(path).jwt_secret.get_secret_value() == SECRET


def test_a_secret_file_is_made_once_for_its_owner_alone(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text(f"broker: memory\nstorage: folder\njwt_secret_file: {tmp_path}/new/secret\n")

    with pytest.raises(ConfigurationError, match="jwt_secret_file"):
        load_config(path)
    made = load_config(path, make_secret=True)

    assert load_config(path, make_secret=True).jwt_secret == made.jwt_secret
    assert (tmp_path / "new/secret").stat().st_mode & 0o777 == 0o600


def test_the_environment_says_where_the_file_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PATH_VARIABLE, "/etc/alts.yaml")
    assert config_path() == Path("/etc/alts.yaml")

    monkeypatch.delenv(PATH_VARIABLE)
    assert config_path() == Path("configs/alts_config.yaml")

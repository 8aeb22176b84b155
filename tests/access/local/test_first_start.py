"""The first admin, whom the first start makes where nobody could sign in."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from chm_web.access.sign_in import prepare_first_start
from chm_web.access.users import UserFile
from chm_web.config import Config, OidcSettings, ProxySignInSettings

BY_PROVIDER = {"oidc": OidcSettings(issuer="https://id.example", client_id="chm", roles="viewer=*")}
BY_PROXY = {"proxy_sign_in": ProxySignInSettings(user_header="X-Forwarded-User", secret="s" * 32)}


@pytest.mark.parametrize("elsewhere", [BY_PROVIDER, BY_PROXY])
def test_where_people_sign_in_elsewhere_the_first_start_makes_nobody(
    tmp_path: Path, config: Config, capsys: pytest.CaptureFixture[str], elsewhere: dict[str, Any]
) -> None:
    fresh = dataclasses.replace(config, users_file=tmp_path / "users.json", **elsewhere)
    prepare_first_start(fresh)

    assert capsys.readouterr().err == ""
    assert UserFile(fresh.users_file).list() == []


def test_without_users_the_first_start_makes_an_admin(
    tmp_path: Path, config: Config, capsys: pytest.CaptureFixture[str]
) -> None:
    fresh = dataclasses.replace(config, users_file=tmp_path / "users.json")
    prepare_first_start(fresh)
    prepare_first_start(fresh)

    said = capsys.readouterr().err
    found = re.findall(r"sign in as admin with the password (\S+)", said)
    assert len(found) == 1
    assert UserFile(fresh.users_file).check_password(name="admin", password=found[0]) is not None

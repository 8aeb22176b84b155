"""Which role somebody gets by what is said of them elsewhere."""

from __future__ import annotations

import pytest

from chm_web.access.permissions import Role
from chm_web.access.roles import RoleMap
from chm_web.config import ConfigError


@pytest.mark.parametrize(
    ("text", "said", "role"),
    [
        ("admin=a, operator=o, viewer=v", ["o", "v"], Role.OPERATOR),
        ("viewer=v,operator=o,admin=a", ["v", "a"], Role.ADMIN),
        ("admin=a,admin=b", ["b"], Role.ADMIN),
        ("admin=a,viewer=*", [], Role.VIEWER),
        ("admin=a,viewer=*", ["x"], Role.VIEWER),
        ("admin=a", ["A"], None),
        ("admin=a", [], None),
        ("admin=a", ["*"], None),
        ("admin=cn=ops,ou=it; viewer=*", ["cn=ops,ou=it"], Role.ADMIN),
        ("operator = two words ,", ["two words"], Role.OPERATOR),
    ],
)
def test_greatest_role_that_is_given_counts(text: str, said: list[str], role: Role | None) -> None:
    assert RoleMap.parse("CHM_OIDC_ROLES", text).role_of(said) is role


@pytest.mark.parametrize(
    "text", ["chm-admins", "owner=a", "admin", "admin=", "=a", "Admin=a", "admin=a, ou=it", ",", ";", "admin:a"]
)
def test_what_gives_no_role_is_refused_with_the_variable(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^CHM_OIDC_ROLES"):
        RoleMap.parse("CHM_OIDC_ROLES", text)

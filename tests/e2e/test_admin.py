"""What only operators may see: /v1/weir/health."""

import pytest

from harness.weir import config, virtual_key

ADMIN = {"Authorization": "Bearer wk-admin-00001"}
USER = {"Authorization": "Bearer wk-user-000001"}
HEALTH = "/v1/weir/health"


@pytest.fixture
def guarded(make_weir):
    keys = [
        virtual_key("ops", value="wk-admin-00001", admin=True),
        virtual_key("app", value="wk-user-000001", team="search"),
    ]
    return make_weir(config(keys=keys))


def test_only_admins_see_health(guarded):
    got = guarded.get(HEALTH, headers=ADMIN)
    assert got.status == 200 and got.json()["object"] == "list"
    assert got.headers.get("cache-control") == "no-store"
    refused = guarded.get(HEALTH, headers=USER)
    assert refused.status == 403
    assert refused.json()["error"]["code"] == "admin_only"
    assert b"wk-" not in refused.body
    assert guarded.get(HEALTH).status == 401


def test_an_open_gateway_shows_health_to_its_own_machine_alone(make_weir):
    assert make_weir(config()).get(HEALTH).status == 200
    exposed = make_weir(config(auth="none", listen=["127.0.0.1:0", "0.0.0.0:0"]))
    assert exposed.get(HEALTH).status == 403

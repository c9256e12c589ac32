"""Credentials of the clouds: found, fetched, refreshed in time, and never in the way of traffic.

The provider is an OpenAI-compatible upstream with another cloud's credential, so that nothing but
the credential differs from an ordinary request. One thread, since each fetches its own.
"""

import base64
import contextlib
import datetime
import json
import subprocess
import threading
import time
import urllib.parse

import pytest

from harness.upstream import CHAT_ANSWER
from harness.weir import config, patience, wait_until

BODY = {"model": "cloud/a-model", "messages": [{"role": "user", "content": "Hi"}]}
ROLE_KEYS = ("ASIAROLE", "role-secret-xyzzy", "role-session-xyzzy")


def row(upstream, **auth):
    return {"base_url": f"{upstream.url}/v1", "auth": auth}


def settings(upstream, extra=None, **auth):
    return config({"cloud": {**row(upstream, **auth), **(extra or {})}}, threads=1)


class Tokens:
    """An OAuth service: tokens tok-1, tok-2, ... of `life_s` each."""

    def __init__(self, life_s=3600):
        self.life_s = life_s
        self.lock = threading.Lock()
        self.valid_until = {}
        self.fails = False
        self.release = threading.Event()
        self.release.set()

    def __call__(self, call):
        self.release.wait(30)
        if self.fails:
            call.reply(503, {"error": "temporarily_unavailable"})
            return
        with self.lock:
            name = f"tok-{len(self.valid_until) + 1}"
            self.valid_until[name] = time.monotonic() + self.life_s
        answer = {"access_token": name, "token_type": "Bearer", "expires_in": int(self.life_s)}
        call.reply(200, answer)

    def is_valid(self, request):
        kind, _, token = request.headers.get("authorization").partition(" ")
        assert kind == "Bearer"
        return self.valid_until.get(token, 0) > time.monotonic()


def checking(tokens):
    """An upstream that lets only those in who have a token that holds."""

    def handle(call):
        call.reply(200 if tokens.is_valid(call.request) else 401, CHAT_ANSWER)

    return handle


def form(request):
    assert request.headers.get("content-type") == "application/x-www-form-urlencoded"
    return dict(urllib.parse.parse_qsl(request.body.decode(), strict_parsing=True))


def metadata_env(service):
    return {"GCE_METADATA_HOST": f"{service.host}:{service.port}"}


def ask(weir, expected=200):
    got = weir.chat(BODY)
    assert got.status == expected, (got.body, weir.stderr())
    return got


def assert_unsaid(weir, *secrets):
    """When weir has ended, all of its logs are there."""
    weir.stop()
    said = weir.stderr() + "".join(weir.lines)
    for secret in secrets:
        assert secret not in said


# --- Google and Entra ID ------------------------------------------------------------------------


@pytest.fixture(scope="module")
def private_key(tmp_path_factory):
    path = tmp_path_factory.mktemp("key") / "key.pem"
    subprocess.run(["openssl", "genrsa", "-out", str(path), "2048"], check=True,
                   capture_output=True)
    return path


def decoded(part):
    return base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))


def test_a_service_account_of_google(make_weir, make_upstream, tmp_path, private_key):
    service = make_upstream(Tokens())
    upstream = make_upstream()
    account = {
        "type": "service_account",
        "client_email": "weir@project.iam.gserviceaccount.com",
        "private_key": private_key.read_text(),
        "private_key_id": "key-1",
        "token_uri": f"{service.url}/token",
    }
    file = tmp_path / "account.json"
    file.write_text(json.dumps(account))
    weir = make_weir(settings(upstream, kind="google", credentials_file=str(file)))
    for _ in range(3):
        ask(weir)
    assert [r.headers.get("authorization") for r in upstream.requests] == ["Bearer tok-1"] * 3
    asked = service.only_request()
    assert (asked.method, asked.target) == ("POST", "/token")
    assertion = form(asked)["assertion"]
    claims = json.loads(decoded(assertion.split(".")[1]))
    assert claims["iss"] == account["client_email"]
    assert claims["aud"] == account["token_uri"]
    assert claims["scope"] == "https://www.googleapis.com/auth/cloud-platform"
    assert claims["exp"] - claims["iat"] == 3600 and abs(claims["iat"] - time.time()) < 60
    public = tmp_path / "public.pem"
    signature = tmp_path / "signature"
    subprocess.run(["openssl", "rsa", "-in", str(private_key), "-pubout", "-out", str(public)],
                   check=True, capture_output=True)
    signed, _, last = assertion.rpartition(".")
    signature.write_bytes(decoded(last))
    subprocess.run(["openssl", "dgst", "-sha256", "-verify", str(public), "-signature",
                    str(signature)], input=signed.encode(), check=True, capture_output=True)
    assert_unsaid(weir, "tok-1", "PRIVATE KEY", assertion)


def test_an_application_of_entra(make_weir, make_upstream):
    service = make_upstream(Tokens())
    upstream = make_upstream()
    weir = make_weir(
        settings(upstream, kind="entra", tenant_id="ten", client_id="cli",
                 client_secret="s&cret-xyzzy"),
        env={"AZURE_AUTHORITY_HOST": service.url})
    ask(weir)
    assert upstream.only_request().headers.get("authorization") == "Bearer tok-1"
    asked = service.only_request()
    assert asked.target == "/ten/oauth2/v2.0/token"
    assert form(asked) == {
        "grant_type": "client_credentials", "client_id": "cli", "client_secret": "s&cret-xyzzy",
        "scope": "https://cognitiveservices.azure.com/.default"}
    assert_unsaid(weir, "xyzzy", "tok-1")


def test_the_managed_identity_of_a_machine(make_weir, make_upstream):
    service = make_upstream(Tokens())
    upstream = make_upstream()
    weir = make_weir(settings(upstream, kind="entra", client_id="user-assigned"),
                     env={"AZURE_POD_IDENTITY_AUTHORITY_HOST": service.url})
    ask(weir)
    asked = service.only_request()
    assert asked.path == "/metadata/identity/oauth2/token"
    assert asked.headers.get("metadata") == "true"
    query = dict(urllib.parse.parse_qsl(asked.target.partition("?")[2]))
    assert query == {"api-version": "2018-02-01", "client_id": "user-assigned",
                     "resource": "https://cognitiveservices.azure.com"}


def test_many_requests_wait_for_the_first_token_together(make_weir, make_upstream):
    tokens = Tokens()
    tokens.release.clear()
    service = make_upstream(tokens)
    upstream = make_upstream(checking(tokens))
    weir = make_weir(settings(upstream, kind="google"), env=metadata_env(service))
    statuses = []
    threads = [threading.Thread(target=lambda: statuses.append(weir.chat(BODY).status))
               for _ in range(10)]
    for thread in threads:
        thread.start()
    service.wait(lambda u: len(u.requests) == 1)
    tokens.release.set()
    for thread in threads:
        thread.join(30)
    assert statuses == [200] * 10
    assert len(service.requests) == 1
    assert service.requests[0].headers.get("metadata-flavor") == "Google"


# --- refreshing ---------------------------------------------------------------------------------


def test_a_refresh_stops_no_traffic(make_weir, make_upstream):
    """While the service is slow to answer, the old token serves; then the new one does."""
    tokens = Tokens(life_s=12)
    service = make_upstream(tokens)
    upstream = make_upstream(checking(tokens))
    weir = make_weir(settings(upstream, kind="google"), env=metadata_env(service))

    def bearers():
        return [r.headers.get("authorization") for r in upstream.requests]

    ask(weir)
    tokens.release.clear()
    deadline = time.monotonic() + 12
    while len(service.requests) < 2 and time.monotonic() < deadline:
        ask(weir)
    assert len(service.requests) == 2, "nobody asked for a new token in time"
    before = len(bearers())
    for _ in range(5):
        ask(weir)
    assert bearers()[before:] == ["Bearer tok-1"] * 5
    tokens.release.set()
    while bearers()[-1] != "Bearer tok-2" and time.monotonic() < deadline + 10 * patience():
        ask(weir)
    assert bearers()[-1] == "Bearer tok-2"
    assert len(service.requests) == 2


def test_the_old_token_serves_until_it_expires(make_weir, make_upstream):
    tokens = Tokens(life_s=6)
    service = make_upstream(tokens)
    upstream = make_upstream(checking(tokens))
    weir = make_weir(settings(upstream, kind="google"), env=metadata_env(service))
    ask(weir)
    tokens.fails = True
    wait_until(lambda: ask(weir) and "no new credential" in weir.stderr(), 20 * patience())
    expires = tokens.valid_until["tok-1"]
    while time.monotonic() < expires - 0.5:
        ask(weir)
    wait_until(lambda: weir.chat(BODY).status >= 500, 20 * patience(), "the token's end")
    got = weir.chat(BODY)
    assert got.status in (500, 502, 503) and "credential" in got.body.decode()
    tokens.fails = False
    wait_until(lambda: weir.chat(BODY).status == 200, 30 * patience(), "a new token")
    assert upstream.requests[-1].headers.get("authorization") == "Bearer tok-2"
    assert_unsaid(weir, "tok-")
    assert len(service.requests) < 12, "it asks less and less often"


def ask_or_none(weir):
    with contextlib.suppress(OSError):
        return weir.chat(BODY)
    return None


def test_weir_ends_while_a_token_does_not_come(make_weir, make_upstream):
    tokens = Tokens()
    tokens.release.clear()
    service = make_upstream(tokens)
    upstream = make_upstream()
    weir = make_weir(settings(upstream, kind="google") | {"timeouts": {"drain": "200ms"}},
                     env=metadata_env(service))
    thread = threading.Thread(target=ask_or_none, args=(weir,))
    thread.start()
    service.wait(lambda u: len(u.requests) == 1)
    weir.stop()  # and its exit status is 0
    tokens.release.set()
    thread.join(30)


def test_a_reload_takes_the_new_credential(make_weir, make_upstream):
    service = make_upstream(Tokens())
    upstream = make_upstream()
    weir = make_weir(
        settings(upstream, kind="entra", tenant_id="t", client_id="c1", client_secret="s1xxxxxx"),
        env={"AZURE_AUTHORITY_HOST": service.url})
    ask(weir)
    weir.write_config(
        settings(upstream, kind="entra", tenant_id="t", client_id="c2", client_secret="s2xxxxxx"))
    wait_until(lambda: ask(weir) and form(service.requests[-1])["client_id"] == "c2",
               20 * patience(), "the new credential")
    assert upstream.requests[-1].headers.get("authorization") == "Bearer tok-2"


# --- AWS ----------------------------------------------------------------------------------------


def expect_signature(request, keys, region="eu-west-1"):
    """What came upstream is signed as botocore signs it."""
    auth = pytest.importorskip("botocore.auth", reason="botocore is not installed")
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    told = request.headers.get("authorization")
    parts = told.partition(" ")[2].split(", ")
    scope, signed, signature = (part.partition("=")[2] for part in parts)
    assert scope.split("/")[0] == keys[0]
    assert scope.split("/")[2:] == [region, "bedrock", "aws4_request"]
    date = datetime.datetime.strptime(request.headers.get("x-amz-date"), "%Y%m%dT%H%M%SZ")
    age = datetime.datetime.now(datetime.timezone.utc).replace(tzinfo=None) - date
    assert abs(age.total_seconds()) < 60
    assert request.headers.get("x-amz-security-token") == keys[2]
    signer = auth.SigV4Auth(Credentials(*keys), "bedrock", region)
    again = AWSRequest(method=request.method, url=f"http://{request.headers.get('host')}"
                       f"{request.target}", data=request.body,
                       headers={n: request.headers.get(n)
                                for n in signed.split(";") if n != "host"})
    again.context["timestamp"] = request.headers.get("x-amz-date")
    canonical = signer.canonical_request(again)
    assert signer.signature(signer.string_to_sign(again, canonical), again) == signature


def aws(upstream, **auth):
    return settings(upstream, {"region": "eu-west-1"}, kind="aws", **auth)


def test_keys_of_the_config_and_the_environment(make_weir, make_upstream):
    upstream = make_upstream()
    weir = make_weir(aws(upstream, access_key_id="AKIDCONFIG", secret_access_key="config-xyzzy"))
    ask(weir)
    expect_signature(upstream.only_request(), ("AKIDCONFIG", "config-xyzzy", None))
    upstream.clear()
    env = {"AWS_ACCESS_KEY_ID": "AKIDENV", "AWS_SECRET_ACCESS_KEY": "env-xyzzy",
           "AWS_SESSION_TOKEN": "session-xyzzy"}
    other = make_weir(aws(upstream), env=env)
    ask(other)
    expect_signature(upstream.only_request(), ("AKIDENV", "env-xyzzy", "session-xyzzy"))
    assert_unsaid(weir, "xyzzy")
    assert_unsaid(other, "xyzzy")


def in_seconds(seconds):
    now = datetime.datetime.now(datetime.timezone.utc)
    return (now + datetime.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%SZ")


def imds(life_s=3600):
    made = []

    def handle(call):
        request = call.request
        if request.target == "/latest/api/token":
            is_right = (request.method == "PUT"
                        and request.headers.get("x-aws-ec2-metadata-token-ttl-seconds"))
            call.reply(200 if is_right else 400, b"word")
        elif request.headers.get("x-aws-ec2-metadata-token") != "word":
            call.reply(401, b"")
        elif request.target.endswith("/security-credentials/"):
            call.reply(200, b"the-role")
        else:
            made.append(1)
            call.reply(200, {"AccessKeyId": f"ASIA{len(made)}", "SecretAccessKey": ROLE_KEYS[1],
                             "Token": ROLE_KEYS[2], "Expiration": in_seconds(life_s)})

    return handle


def test_the_role_of_a_machine_and_its_refresh(make_weir, make_upstream):
    service = make_upstream(imds(life_s=5))
    upstream = make_upstream()
    weir = make_weir(aws(upstream), env={"AWS_EC2_METADATA_SERVICE_ENDPOINT": service.url})
    ask(weir)
    expect_signature(upstream.only_request(), ("ASIA1", *ROLE_KEYS[1:]))

    def has_next_keys():
        ask(weir)
        return "=ASIA2/" in upstream.requests[-1].headers.get("authorization")

    wait_until(has_next_keys, 20 * patience(), "the next keys")
    expect_signature(upstream.requests[-1], ("ASIA2", *ROLE_KEYS[1:]))


def test_a_web_identity_and_a_role(make_weir, make_upstream, tmp_path):
    def sts(call):
        call.reply(200, (
            "<AssumeRoleWithWebIdentityResponse><AssumeRoleWithWebIdentityResult><Credentials>"
            f"<AccessKeyId>{ROLE_KEYS[0]}</AccessKeyId><SecretAccessKey>{ROLE_KEYS[1]}"
            f"</SecretAccessKey><SessionToken>{ROLE_KEYS[2]}</SessionToken><Expiration>"
            f"{in_seconds(3600)}</Expiration></Credentials></AssumeRoleWithWebIdentityResult>"
            "</AssumeRoleWithWebIdentityResponse>").encode())

    service = make_upstream(sts)
    upstream = make_upstream()
    token = tmp_path / "token"
    token.write_text("eyJ.platform.token\n")
    env = {"AWS_WEB_IDENTITY_TOKEN_FILE": str(token), "AWS_ROLE_ARN": "arn:aws:iam::1:role/pod",
           "AWS_ENDPOINT_URL_STS": service.url}
    weir = make_weir(aws(upstream), env=env)
    ask(weir)
    expect_signature(upstream.only_request(), ROLE_KEYS)
    asked = form(service.only_request())
    assert asked["Action"] == "AssumeRoleWithWebIdentity"
    assert asked["WebIdentityToken"] == "eyJ.platform.token"
    assert asked["RoleArn"] == "arn:aws:iam::1:role/pod"


def test_without_credentials_the_answer_says_where_they_were_looked_for(make_weir, make_upstream,
                                                                       tmp_path):
    upstream = make_upstream()
    env = {"AWS_EC2_METADATA_DISABLED": "true", "HOME": str(tmp_path)}
    weir = make_weir(aws(upstream), env=env)
    got = weir.chat(BODY)
    assert got.status in (500, 502, 503)
    assert "no AWS credentials in the config, the environment" in got.body.decode()
    assert upstream.requests == []


# --- what stays out of reach --------------------------------------------------------------------


def test_a_provider_cannot_be_the_metadata_service(make_weir):
    cloud = {"base_url": "http://169.254.169.254/v1", "api_key": "k1234567", "allow_private": True}
    weir = make_weir(config({"cloud": cloud}, threads=1))
    got = weir.chat(BODY)
    assert got.status in (502, 503), got.body
    assert "never allowed" in got.body.decode() + weir.stderr() + "".join(weir.lines)

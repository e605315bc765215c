"""What the formats of the API's description mean, for schemathesis: rules that no JSON Schema can state."""

import base64
import json
import os
import time
import urllib.request
import uuid
from collections import Counter
from datetime import datetime, timedelta, timezone

import schemathesis
from hypothesis import strategies as st
from schemathesis.core.parameters import ParameterLocation

NOW = datetime.now(timezone.utc)

months = st.integers(min_value=1, max_value=12)
years = st.integers(min_value=NOW.year + 1, max_value=NOW.year + 20)

# A month to come.
schemathesis.openapi.format("card-expiry", st.builds(lambda month, year: f"{month:02}/{year % 100:02}", months, years))

# A public address: no user, no fragment.
words = st.text(alphabet="abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=12)
schemathesis.openapi.format("https-url", st.builds(lambda host, path: f"https://{host}.example.com/{path}", words, words))

# Within 366 days.
seconds = st.integers(min_value=60, max_value=365 * 24 * 60 * 60)
schemathesis.openapi.format(
    "future-date-time", seconds.map(lambda ahead: (NOW + timedelta(seconds=ahead)).strftime("%Y-%m-%dT%H:%M:%SZ"))
)

# Places in the lists, as the API writes them.
digits = "0123456789abcdefghjkmnpqrstvwxyz"
bodies = st.builds(lambda head, tail: head + tail, st.sampled_from("01234567"), st.text(alphabet=digits, min_size=25, max_size=25))
moments = st.integers(min_value=0, max_value=int(NOW.timestamp() * 1000))


def cursor(prefix):
    place = st.builds(lambda moment, body: f"1.{moment}.{prefix}_{body}", moments, bodies)
    return place.map(lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="))


schemathesis.openapi.format("payment-cursor", cursor("pay"))
schemathesis.openapi.format("refund-cursor", cursor("re"))
schemathesis.openapi.format("payment-method-cursor", cursor("pm"))
schemathesis.openapi.format("export-cursor", st.one_of(cursor("pm"), cursor("pay")))

entries = st.builds(lambda moment, name: f"1.{moment}.{name.hex}", moments, st.uuids())
schemathesis.openapi.format(
    "audit-cursor", entries.map(lambda text: base64.urlsafe_b64encode(text.encode()).decode().rstrip("="))
)

# Addresses that nobody has, and passwords that nobody guesses.
names = st.uuids().map(lambda name: name.hex)
schemathesis.openapi.format("email", names.map(lambda name: f"{name}@shop.example"))
schemathesis.openapi.format("new-password", names)


CARD = {"number": "4242424242424242", "expiry": "12/30", "cvv": "123", "holder_name": "Ada Obi"}
# How long a payment may take until it has ended.
SECONDS_MAX = 60


def call(path, body=None, token="FLORIN_API_KEY"):
    """What the API answers to a request that is in order."""
    headers = {
        "Authorization": f"Bearer {os.environ[token]}",
        "Content-Type": "application/json",
        "Idempotency-Key": str(uuid.uuid4()),
    }
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(os.environ["FLORIN_API_URL"] + path, data, headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)


def new_payment_method():
    return call("/v1/payment_methods", {"card": CARD})["id"]


def new_payment(**fields):
    return call("/v1/payments", {"amount": 100_000, "currency": "EUR", "source": {"type": "card", **CARD}, **fields})["id"]


def waiting_payment():
    """A payment that is not charged yet: it can be held, resumed and canceled."""
    return new_payment(delay_seconds=24 * 60 * 60)


def completed_payment():
    payment, until = new_payment(), time.monotonic() + SECONDS_MAX
    while call(f"/v1/payments/{payment}")["status"] != "completed":
        if time.monotonic() > until:
            raise TimeoutError(f"{payment} has not completed within {SECONDS_MAX} s")
        time.sleep(0.2)
    return payment


def invited():
    body = {"email": f"{uuid.uuid4().hex}@shop.example", "name": "Invited", "role": "viewer"}
    return call("/v1/users", body, token="FLORIN_ACCESS_TOKEN")


def refresh_token():
    return {"refresh_token": call("/v1/auth/login", OWNER)["refresh_token"]}


OWNER = {"email": os.environ["FLORIN_FUZZ_EMAIL"], "password": os.environ["FLORIN_FUZZ_PASSWORD"]}
PAYMENT = completed_payment()
REFUND = call(f"/v1/payments/{PAYMENT}/refunds", {"amount": 1})["id"]
PAYMENT_METHOD = new_payment_method()
USER = invited()["id"]
KEY = call("/v1/api_keys", {"name": "Fuzzed"}, token="FLORIN_ACCESS_TOKEN")["id"]
CLIENT = call("/v1/api_keys", {"name": "Third party", "kind": "client"}, token="FLORIN_ACCESS_TOKEN")

# Nobody guesses an id: what there is, by the paths that name it. What a request may use up is made anew for each.
THERE_IS = {
    "POST /v1/payments/{id}/cancel": waiting_payment,
    "POST /v1/payments/{id}/hold": waiting_payment,
    "POST /v1/payments/{id}/resume": waiting_payment,
    "DELETE /v1/payment_methods/{id}": new_payment_method,
    "/v1/payment_methods/": lambda: PAYMENT_METHOD,
    "/v1/payments/": lambda: PAYMENT,
    "/v1/ops/payments/": lambda: PAYMENT,
    "/v1/refunds/": lambda: REFUND,
    "/v1/ops/refunds/": lambda: REFUND,
    "/v1/users/": lambda: USER,
    "/v1/api_keys/": lambda: KEY,
}
# Nor does anybody guess what lets somebody in.
LETS_IN = {
    "/v1/auth/login": lambda: OWNER,
    "/v1/auth/refresh": refresh_token,
    "/v1/auth/logout": refresh_token,
    "/v1/auth/accept_invitation": lambda: {"invitation_token": invited()["invitation_token"]},
    "/oauth/token": lambda: {"client_id": CLIENT["id"], "client_secret": CLIENT["secret"]},
}
asked = Counter()


def every_other(case, table):
    """What the table has for this operation, in every other request."""
    path, operation = case.operation.path, f"{case.method} {case.operation.path}"
    asked[operation] += 1
    make = next((make for key, make in table.items() if operation == key or path.startswith(key)), None)
    return make() if make and asked[operation] % 2 else None


@schemathesis.hook
def before_call(context, case, kwargs):
    """Makes what is described as good good here, in what no schema can say and what depends on what there is."""

    def is_good_at(location):
        return case.meta is not None and not case.meta.is_negative_at(location)

    # A key that is drawn twice would stand for another request.
    if is_good_at(ParameterLocation.HEADER) and "Idempotency-Key" in (case.headers or {}):
        case.headers["Idempotency-Key"] = str(uuid.uuid4())
    if "id" in (case.path_parameters or {}) and is_good_at(ParameterLocation.PATH):
        case.path_parameters["id"] = every_other(case, THERE_IS) or case.path_parameters["id"]
    # Ids come from answers, too. Without the owner everything that only people may do would be 401 from here on.
    if case.method != "GET" and (case.path_parameters or {}).get("id") == os.environ["FLORIN_FUZZ_OWNER"]:
        case.path_parameters["id"] = "usr_00000000000000000000000000"
    # HTTP APIs decode a path before they route it, and what decodes to a question mark ends it: another route.
    for name, value in (case.path_parameters or {}).items():
        if isinstance(value, str):
            case.path_parameters[name] = value.replace("?", "-")
    # Nobody guesses a payment method either: what is described as good names one that there is.
    is_object = isinstance(case.body, dict)
    source = case.body.get("source") if is_object else None
    is_good = is_good_at(ParameterLocation.BODY)
    if is_good and isinstance(source, dict) and source.get("type") == "payment_method":
        source["id"] = PAYMENT_METHOD
    if is_good and is_object and case.operation.path in LETS_IN:
        case.body.update(every_other(case, LETS_IN) or {})
    # To JSON Schema 39.0 is an integer; the API takes integers without a fraction only, which no schema can say.
    if is_good and is_object:
        for name, value in case.body.items():
            if isinstance(value, float) and value.is_integer():
                case.body[name] = int(value)

"""What the formats of the API's description mean, for schemathesis: rules that no JSON Schema can state."""

import base64
import json
import os
import urllib.request
import uuid
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


def stored_card():
    """The id of a new payment method."""
    card = {"number": "4242424242424242", "expiry": "12/30", "cvv": "123", "holder_name": "Ada Obi"}
    headers = {
        "Authorization": f"Bearer {os.environ['FLORIN_API_KEY']}",
        "Content-Type": "application/json",
        "Idempotency-Key": str(uuid.uuid4()),
    }
    url = f"{os.environ['FLORIN_API_URL']}/v1/payment_methods"
    request = urllib.request.Request(url, json.dumps({"card": card}).encode(), headers)
    with urllib.request.urlopen(request, timeout=20) as answer:
        return json.load(answer)["id"]


STORED_CARD = stored_card()


@schemathesis.hook
def before_call(context, case, kwargs):
    """A key that is drawn twice would stand for another request: what is described as good gets one of its own."""
    is_bad = case.meta is None or case.meta.is_negative_at(ParameterLocation.HEADER)
    if not is_bad and "Idempotency-Key" in (case.headers or {}):
        case.headers["Idempotency-Key"] = str(uuid.uuid4())
    # Ids come from answers, too. Without the owner everything that only people may do would be 401 from here on.
    if case.method != "GET" and (case.path_parameters or {}).get("id") == os.environ["FLORIN_FUZZ_OWNER"]:
        case.path_parameters["id"] = "usr_00000000000000000000000000"
    # Nobody guesses a payment method either: what is described as good names one that there is.
    is_object = isinstance(case.body, dict)
    source = case.body.get("source") if is_object else None
    is_good = case.meta is not None and not case.meta.is_negative_at(ParameterLocation.BODY)
    if is_good and isinstance(source, dict) and source.get("type") == "payment_method":
        source["id"] = STORED_CARD
    # To JSON Schema 39.0 is an integer; the API takes integers without a fraction only, which no schema can say.
    if is_good and is_object:
        for name, value in case.body.items():
            if isinstance(value, float) and value.is_integer():
                case.body[name] = int(value)

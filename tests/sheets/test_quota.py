from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sheetd.sheets.quota import ALLOWED_A_MINUTE, READS_A_MINUTE, Quotas, RequestMeter, TokenBucket

GRANTED_A_MINUTE = 60


def test_a_burst_goes_at_once_and_the_next_one_waits_for_its_token():
    bucket = TokenBucket(30.0, burst=10)
    assert [bucket.reserve_s(100.0) for _ in range(10)] == [0.0] * 10
    assert bucket.reserve_s(100.0) == pytest.approx(2.0)
    assert bucket.reserve_s(100.0) == pytest.approx(4.0)


def test_a_pause_earns_tokens_but_no_more_than_the_burst():
    bucket = TokenBucket(30.0, burst=2)
    bucket.reserve_s(0.0)
    bucket.reserve_s(0.0)
    assert bucket.reserve_s(2.0) == 0.0
    assert [bucket.reserve_s(1000.0) for _ in range(3)] == [0.0, 0.0, pytest.approx(2.0)]


@given(st.lists(st.floats(min_value=0.0, max_value=90.0) | st.just(0.0), min_size=1, max_size=200))
def test_any_minute_holds_less_than_half_of_what_google_grants(pauses_s: list[float]):
    bucket = TokenBucket(READS_A_MINUTE)
    now_s = 0.0
    sent_s: list[float] = []
    for pause_s in pauses_s:
        now_s += pause_s
        now_s += bucket.reserve_s(now_s)
        sent_s.append(now_s)
    for start_s in sent_s:
        assert sum(1 for at_s in sent_s if start_s <= at_s < start_s + 59.999) < GRANTED_A_MINUTE / 2


def test_the_meter_counts_what_was_sent_in_the_last_minute():
    meter = RequestMeter()
    for at_s in range(0, 120, 10):
        meter.note("read", float(at_s))
    meter.note("write", 110.0)
    assert meter.last_minute(110.0) == {"read": 6, "write": 1}
    assert meter.last_minute(165.0) == {"read": 1, "write": 1}
    assert meter.last_minute(170.0) == {}


def test_what_we_allow_ourselves_is_half_of_what_google_grants():
    assert ALLOWED_A_MINUTE * 2 == GRANTED_A_MINUTE


def test_sheets_under_one_account_live_on_one_quota_and_one_meter() -> None:
    quotas = Quotas()
    first, second, other = quotas.of("a@x.iam"), quotas.of("a@x.iam"), quotas.of("b@x.iam")
    # Two who send as fast as they may.
    sent_s = [quota.buckets["read"].reserve_s(0.0) for _ in range(100) for quota in (first, second)]
    for start_s in sent_s:
        assert sum(1 for at_s in sent_s if start_s <= at_s < start_s + 59.999) < GRANTED_A_MINUTE / 2
    assert other.buckets["read"].reserve_s(0.0) == 0.0
    first.meter.note("read", 0.0)
    second.meter.note("read", 1.0)
    assert (first.meter.last_minute(2.0), other.meter.last_minute(2.0)) == ({"read": 2}, {})


def test_no_token_is_given_twice_to_threads_that_ask_at_once() -> None:
    bucket = TokenBucket(60.0, burst=1)
    with ThreadPoolExecutor(8) as pool:
        waits_s = sorted(pool.map(lambda _: bucket.reserve_s(5.0), range(400)))
    assert waits_s == pytest.approx(list(range(400)))

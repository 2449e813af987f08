"""Every fault of the catalogue has a test that is named after it, and the table says what is so."""

from __future__ import annotations

from tests.faults.catalogue import FAULTS, README, held, with_table


def test_every_fault_is_known():
    assert list(FAULTS) == [f"G{number}" for number in range(1, 14)] + [f"S{number}" for number in range(1, 28)]


def test_every_fault_has_a_test():
    assert not FAULTS.keys() - {one.fault for one in held()}


def test_every_fault_has_a_promise_that_is_kept():
    assert not FAULTS.keys() - {one.fault for one in held() if not one.why_not}


def test_every_test_says_what_is_promised():
    assert [one.test for one in held() if len(one.promise) < 20 or not one.promise.endswith((".", ";", ":"))] == []


def test_the_table_in_the_readme_is_up_to_date():
    text = README.read_text(encoding="utf-8")
    assert text == with_table(text), "python -m tests.faults writes it"

import time

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from service.admission import STALLED_S, Admission, Reservation
from service.errors import Overloaded
from service.ledger import Ledger


def test_one_request_more_than_there_are_places_is_overloaded_and_told_when_to_retry() -> None:
    admission = Admission(Ledger(), 2, 100)
    places = [admission.reserve(1), admission.reserve(1)]
    with pytest.raises(Overloaded) as caught:
        admission.reserve(1)
    assert caught.value.retry_after_s == 1
    places[0].close()
    admission.reserve(1)


def test_a_request_that_may_need_more_memory_than_is_free_is_overloaded() -> None:
    admission = Admission(Ledger(), 9, 100)
    admission.reserve(60)
    with pytest.raises(Overloaded, match="40 are free"):
        admission.reserve(41)
    assert (admission.jobs, admission.bytes) == (1, 60)
    admission.reserve(40)


def test_a_single_request_larger_than_all_memory_is_admitted_alone() -> None:
    admission = Admission(Ledger(), 9, 100)
    with admission.reserve(1000), pytest.raises(Overloaded):
        admission.reserve(1)
    assert admission.bytes == 0


def test_room_is_given_back_once_however_often_it_is_closed() -> None:
    admission = Admission(Ledger(), 9, 100)
    other = admission.reserve(10)
    with admission.reserve(20) as reservation:
        reservation.close()
        reservation.close()
    assert (admission.jobs, admission.bytes) == (1, 10)
    other.close()
    assert (admission.jobs, admission.bytes) == (0, 0)


def test_room_is_given_back_when_the_request_fails() -> None:
    admission = Admission(Ledger(), 9, 100)
    with pytest.raises(KeyError), admission.reserve(20):
        raise KeyError
    assert (admission.jobs, admission.bytes) == (0, 0)


def test_a_reservation_that_cannot_grow_keeps_its_room() -> None:
    admission = Admission(Ledger(), 9, 100)
    admission.reserve(50)
    reservation = admission.reserve(30)
    with pytest.raises(Overloaded):
        reservation.resize(51)
    assert admission.bytes == 80
    reservation.resize(5)
    assert admission.bytes == 55


class AdmissionMachine(RuleBasedStateMachine):
    """The counts are those of the open reservations, whatever happens."""

    def __init__(self) -> None:
        super().__init__()
        self.admission = Admission(Ledger(), 3, 100)
        self.open: list[tuple[Reservation, int]] = []

    @rule(size=st.integers(0, 150))
    def reserve(self, size: int) -> None:
        others = sum(held for _, held in self.open)
        fits = len(self.open) < 3 and (others == 0 or others + size <= 100)
        try:
            self.open.append((self.admission.reserve(size), size))
        except Overloaded:
            assert not fits
        else:
            assert fits

    @precondition(lambda self: self.open)
    @rule(data=st.data(), size=st.integers(0, 150))
    def resize(self, data: st.DataObject, size: int) -> None:
        place = data.draw(st.integers(0, len(self.open) - 1))
        reservation, held = self.open[place]
        others = sum(each for _, each in self.open) - held
        try:
            reservation.resize(size)
        except Overloaded:
            assert others
            assert others + size > 100
        else:
            self.open[place] = (reservation, size)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def close(self, data: st.DataObject) -> None:
        reservation, _ = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        reservation.close()
        reservation.close()

    @invariant()
    def counts_what_is_open(self) -> None:
        assert self.admission.jobs == len(self.open) <= 3
        assert self.admission.bytes == sum(held for _, held in self.open)


TestTheCountsAreThoseOfTheOpenReservations = AdmissionMachine.TestCase


def test_a_full_house_is_told_to_come_again_when_what_waits_has_been_computed() -> None:
    admission = Admission(Ledger(), 1, 100, wait_s=lambda: 12.3)
    admission.reserve(1)
    with pytest.raises(Overloaded) as caught:
        admission.reserve(1)
    assert caught.value.retry_after_s == 12.3


def test_a_deadline_that_what_waits_already_breaks_is_refused_before_the_body_is_read() -> None:
    admission = Admission(Ledger(), 9, 100, wait_s=lambda: 12.3)
    with pytest.raises(Overloaded, match="its deadline is") as caught:
        admission.reserve(1, time.monotonic() + 10)
    assert caught.value.retry_after_s == pytest.approx(2.3, abs=0.1)
    assert admission.jobs == 0
    admission.reserve(1, time.monotonic() + 13)


def test_a_job_that_need_not_wait_is_tried_however_long_it_may_take() -> None:
    Admission(Ledger(), 9, 100).check_deadline(time.monotonic() + 1, wait_s=lambda: 0.0, own_s=50.0)


def test_places_and_memory_are_shared_by_all_processes() -> None:
    ledger = Ledger()
    first, second = Admission(ledger, 2, 100), Admission(ledger, 2, 100)
    first.reserve(60)
    with pytest.raises(Overloaded, match="40 are free"):
        second.reserve(41)
    second.reserve(40)
    with pytest.raises(Overloaded, match="All 2 places"):
        first.reserve(0)
    assert (first.jobs, second.jobs) == (1, 1)


def test_a_body_that_stalled_gives_its_place_to_another_request() -> None:
    ended: list[str] = []
    admission = Admission(Ledger(), 2, 100)
    slow, slower = admission.reserve(10), admission.reserve(10)
    for reservation, name, ago_s in ((slow, "slow", 1), (slower, "slower", 2)):
        reservation.on_evict = lambda name=name: ended.append(name)  # type: ignore[misc]
        came_s = time.monotonic() - STALLED_S - ago_s
        reservation.last_came_s = lambda came_s=came_s: came_s  # type: ignore[misc]
    admission.reserve(1)
    assert ended == ["slower"]
    slower.resize(50)
    assert admission.bytes == 11, "what is read on has no room any more"
    slower.close()
    assert admission.jobs == 2


def test_a_body_that_comes_on_keeps_its_place_and_so_does_one_that_was_read() -> None:
    admission = Admission(Ledger(), 2, 100)
    coming, read = admission.reserve(1), admission.reserve(1)
    coming.on_evict = lambda: pytest.fail("it came on")
    read.last_came_s = lambda: time.monotonic() - 99
    with pytest.raises(Overloaded):
        admission.reserve(1)


def test_at_shutdown_every_stalled_body_is_ended() -> None:
    ended: list[int] = []
    admission = Admission(Ledger(), 9, 100)
    for number in range(3):
        reservation = admission.reserve(1)
        reservation.on_evict = lambda number=number: ended.append(number)  # type: ignore[misc]
        reservation.last_came_s = lambda: time.monotonic() - 99
    admission.evict_all_stalled()
    assert sorted(ended) == [0, 1, 2]
    assert admission.jobs == 0


def test_one_that_is_late_already_is_not_refused_for_what_waits() -> None:
    Admission(Ledger(), 9, 100).check_deadline(time.monotonic() - 1, wait_s=lambda: 5.0)

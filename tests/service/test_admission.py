import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from service.admission import Admission, Reservation
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


def test_the_number_of_requests_is_told_at_every_change() -> None:
    told: list[int] = []
    admission = Admission(Ledger(), 2, 100, on_change=told.append)
    first, second = admission.reserve(1), admission.reserve(1)
    with pytest.raises(Overloaded):
        admission.reserve(1)
    first.close()
    second.close()
    assert told == [1, 2, 1, 0]


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

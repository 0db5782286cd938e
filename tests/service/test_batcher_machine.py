"""The batcher against the plainest model of it: an ordered list of jobs that wait."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from service.batcher import Batcher, BatchLimits
from service.cost import CostModel
from service.job import Job

LIMITS = BatchLimits(max_cost=200, max_jobs=4)
SOME_CALLS_PAY = CostModel(call_s=1e-4, element_s=1e-6, padded_element_s=3e-6)


class BatcherMachine(RuleBasedStateMachine):
    """Every job put ends once: taken, expired or removed."""

    def __init__(self) -> None:
        super().__init__()
        self.batcher = Batcher(LIMITS, SOME_CALLS_PAY)
        self.waiting: list[Job] = []
        self.ended: list[bytes] = []
        self.now_s = 0.0
        self.count = 0

    @rule(
        n=st.integers(1, 9),
        m=st.integers(1, 9),
        group=st.sampled_from("ab"),
        alone=st.sampled_from([False, False, True]),
        lives_s=st.integers(1, 20),
    )
    def put(self, n: int, m: int, group: str, alone: bool, lives_s: int) -> None:
        self.count += 1
        job_id = self.count.to_bytes(16, "big")
        deadline_s = self.now_s + lives_s
        job = Job(job_id, "loss", {}, {}, group, 1, 1, n, m, n * m, deadline_s, self.now_s, alone)
        self.batcher.put(job)
        self.waiting.append(job)

    @precondition(lambda self: self.waiting)
    @rule(data=st.data())
    def put_again(self, data: st.DataObject) -> None:
        self.batcher.put(data.draw(st.sampled_from(self.waiting)).on_its_own())

    @rule()
    def take(self) -> None:
        batch = self.batcher.take()
        if batch is None:
            assert not self.waiting
            return
        assert batch.jobs[0] is self.waiting[0]
        assert len(batch) == 1 or (len(batch) <= LIMITS.max_jobs and batch.cost <= LIMITS.max_cost)
        assert len(batch) == 1 or not any(job.alone for job in batch.jobs)
        assert len({job.group for job in batch.jobs}) == 1
        self._end(list(batch.jobs))

    @rule(step_s=st.integers(0, 10))
    def expire(self, step_s: int) -> None:
        self.now_s += step_s
        late = self.batcher.expire(self.now_s)
        assert late == [job for job in self.waiting if job.deadline_s <= self.now_s]
        self._end(late)

    @precondition(lambda self: self.count)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        job_id = data.draw(st.integers(1, self.count)).to_bytes(16, "big")
        known = [job for job in self.waiting if job.id == job_id]
        assert self.batcher.remove(job_id) == bool(known)
        self._end(known)

    def _end(self, jobs: list[Job]) -> None:
        for job in jobs:
            self.waiting.remove(job)
            self.ended.append(job.id)

    @invariant()
    def holds_what_waits_and_nothing_else(self) -> None:
        assert len(self.batcher) == len(self.waiting)
        assert all(job.id in self.batcher for job in self.waiting)
        assert not any(job_id in self.batcher for job_id in self.ended)

    @invariant()
    def every_job_ends_once(self) -> None:
        assert len(set(self.ended)) == len(self.ended)
        assert len(self.ended) + len(self.waiting) == self.count


TestEveryJobEndsOnceWhateverIsAsked = BatcherMachine.TestCase
TestEveryJobEndsOnceWhateverIsAsked.settings = settings(max_examples=50, stateful_step_count=40, deadline=None)

"""How long jobs will take: the measured cost model of a worker, corrected by what its jobs took."""

from collections import OrderedDict

from service.cost import CostModel
from service.job import Job

_MOST_GROUPS = 512
_WEIGHT_OF_NEWS = 0.2


class Forecast:
    """Seconds of device time that a job will take. It learns one factor for each group of jobs.

    Nothing is foretold before the first job was learned of: until then every job is expected to take no time.
    """

    def __init__(self) -> None:
        self.cost_model: CostModel | None = None
        self._overall: float | None = None
        self._factors: OrderedDict[str, float] = OrderedDict()

    def expect_s(self, job: Job) -> float:
        """Seconds that this job is expected to take; 0 before anything was learned."""
        if self.cost_model is None or self._overall is None:
            return 0.0
        return self._factors.get(job.group, self._overall) * self.cost_model.predict_s(job.cost, False)

    def learn(self, job: Job, took_s: float) -> None:
        """Take in what a job took of the device; of a batch, its share. What was not computed teaches nothing."""
        if self.cost_model is None or took_s <= 0:
            return
        factor = took_s / self.cost_model.predict_s(job.cost, False)
        self._overall = _moved(self._overall, factor)
        self._factors[job.group] = _moved(self._factors.pop(job.group, None), factor)
        if len(self._factors) > _MOST_GROUPS:
            self._factors.popitem(last=False)


def _moved(before: float | None, news: float) -> float:
    return news if before is None else before + _WEIGHT_OF_NEWS * (news - before)

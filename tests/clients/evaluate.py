"""lm-eval as it is installed, in a process of its own: what each document of the tasks came to.

    python evaluate.py TASKS_FOLDER < runs.json

Each run is {"model", "model_args", "batch_size", "tasks"}; prints a list of {task: [[log-likelihood, is greedy], ...]}.
"""

import json
import os
import sys
from typing import Any

import lm_eval
from lm_eval.tasks import TaskManager


def samples_of(run: dict[str, Any], tasks: TaskManager) -> dict[str, list[Any]]:
    found = lm_eval.simple_evaluate(
        model=run["model"],
        model_args=run["model_args"],
        batch_size=run["batch_size"],
        tasks=run["tasks"],
        task_manager=tasks,
        bootstrap_iters=0,
        log_samples=True,
    )
    assert found is not None
    return {
        task: [response for sample in sorted(samples, key=lambda each: each["doc_id"]) for response in sample["resps"]]
        for task, samples in found["samples"].items()
    }


def main() -> None:
    os.chdir(sys.argv[1])
    tasks = TaskManager(include_path=sys.argv[1], include_defaults=False)
    runs = json.load(sys.stdin)
    answers = sys.stdout
    sys.stdout = sys.stderr
    json.dump([samples_of(run, tasks) for run in runs], answers)


if __name__ == "__main__":
    main()

"""What the ordinary server's tests say of HTTP, said of a Ray cluster: same codec, schemas, errors and results."""

from tests.server.test_attention import *  # noqa: F403
from tests.server.test_binary_framing import *  # noqa: F403
from tests.server.test_errors import *  # noqa: F403
from tests.server.test_fields import *  # noqa: F403
from tests.server.test_fuzz import *  # noqa: F403
from tests.server.test_http import *  # noqa: F403
from tests.server.test_limits import *  # noqa: F403
from tests.server.test_loss import *  # noqa: F403
from tests.server.test_losses import *  # noqa: F403
from tests.server.test_openapi import *  # noqa: F403
from tests.server.test_overload import *  # noqa: F403
from tests.server.test_text import *  # noqa: F403

NOT_SAID_HERE = {
    "test_a_draining_server_says_so_to_new_connections_and_probes": "Ray's proxy holds the connections",
    "test_an_answer_that_is_read_slowly_is_sent_whole_before_the_server_ends": "Ray's proxy holds the connections",
    "test_metrics_are_exposed": "an ingress replica tells no metrics of workers",
    "test_no_generated_request_gets_what_the_document_does_not_say": "a minute of requests to the same application",
    "test_only_the_worker_and_its_template_load_torch": "said of replicas in test_fleet.py",
    "test_a_text_that_was_answered_was_answered_by_a_model_that_is_told_to_be_ready": "said in test_dispatch.py",
    "test_tensors_are_not_refused_for_texts_that_they_need_not_wait_for": "a cluster of its own for what workers do",
    "test_texts_of_many_clients_at_once_get_what_each_gets_alone": "reads metrics of workers",
    "test_two_workers_share_the_work_and_one_that_dies_stops_nobody": "said of replicas in test_fleet.py",
}
for name in NOT_SAID_HERE:
    del globals()[name]

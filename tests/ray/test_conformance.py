"""What the ordinary server's tests say of HTTP, said of a Ray cluster: same codec, schemas, errors and results."""

from tests.server.test_attention import *  # noqa: F403
from tests.server.test_binary_framing import *  # noqa: F403
from tests.server.test_errors import *  # noqa: F403
from tests.server.test_fields import *  # noqa: F403
from tests.server.test_http import *  # noqa: F403
from tests.server.test_limits import *  # noqa: F403
from tests.server.test_loss import *  # noqa: F403
from tests.server.test_losses import *  # noqa: F403
from tests.server.test_openapi import *  # noqa: F403

"""What a worker was doing when it died: a file that its successor reads."""

import mmap
from collections.abc import Iterable
from pathlib import Path

from service.job import Job

_ID_BYTES = 16


class Announcement:
    """Ids of the jobs being computed and of the text being tokenised, in a mapped file that outlives the process."""

    def __init__(self, path: Path, most_jobs: int) -> None:
        self._text = 4 + _ID_BYTES * most_jobs
        size = self._text + _ID_BYTES
        with path.open("ab") as file:
            file.truncate(size)
        with path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), size)

    def read(self) -> list[bytes]:
        """The ids that were announced last and not withdrawn."""
        count = int.from_bytes(self._map[:4], "little")
        ids = [self._map[4 + i * _ID_BYTES : 4 + (i + 1) * _ID_BYTES] for i in range(count)]
        text = self._map[self._text :]
        return [*ids, text] if any(text) else ids

    def write(self, jobs: Iterable[Job]) -> None:
        """Announce these instead."""
        ids = [job.id for job in jobs]
        self._map[4 : 4 + _ID_BYTES * len(ids)] = b"".join(ids)
        self._map[:4] = len(ids).to_bytes(4, "little")

    def write_text(self, job_id: bytes | None) -> None:
        """Announce that this text is being tokenised, or none."""
        if not self._map.closed:
            self._map[self._text :] = job_id or bytes(_ID_BYTES)

    def close(self) -> None:
        """Give the map back."""
        self._map.close()

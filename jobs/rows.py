"""How a row of the table of jobs becomes a record."""

import json

from controlnet_mcp.jobs.record import JobRecord

BESIDE = "cancel_requested, delivered, orphans"
"""What others than a job's driver write, beside its document."""
COLUMNS = f"document, {BESIDE}"
"""What `record_of` reads."""


def record_of(row: tuple[object, ...]) -> JobRecord:
    """Read a row that starts with the `COLUMNS`."""
    return with_beside(JobRecord.model_validate_json(str(row[0])), row[1:])


def with_beside(record: JobRecord, row: tuple[object, ...]) -> JobRecord:
    """A record with what a row that starts with the columns `BESIDE` says of it."""
    orphans = tuple(json.loads(str(row[2]))) if row[2] != "[]" else ()
    return record.model_copy(update={"cancel_requested": bool(row[0]), "delivered": bool(row[1]), "orphans": orphans})

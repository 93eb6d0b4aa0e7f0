"""How a row of the table of jobs becomes a record."""

import json

from controlnet_mcp.jobs.record import JobRecord

COLUMNS = "document, cancel_requested, delivered, orphans"
"""What `record_of` reads: the record, and the facts that others than its driver write."""


def record_of(row: tuple[object, ...]) -> JobRecord:
    """Read a row that starts with the `COLUMNS`."""
    record = JobRecord.model_validate_json(str(row[0]))
    orphans = tuple(json.loads(str(row[3]))) if row[3] != "[]" else ()
    return record.model_copy(update={"cancel_requested": bool(row[1]), "delivered": bool(row[2]), "orphans": orphans})

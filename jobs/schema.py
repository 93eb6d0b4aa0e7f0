"""The tables of the record, as the steps that lead to them: a file of any earlier version is brought up to date.

A step that was released is never changed; what is new is a further step.
"""

MIGRATIONS: tuple[tuple[str, ...], ...] = (
    (
        """
        CREATE TABLE jobs (
            job_id TEXT PRIMARY KEY,
            principal TEXT NOT NULL,
            provider TEXT NOT NULL,
            status TEXT NOT NULL,
            ended INTEGER NOT NULL,
            created_at REAL NOT NULL,
            request_key TEXT,
            fingerprint TEXT NOT NULL,
            delivered INTEGER NOT NULL DEFAULT 0,
            cancel_requested INTEGER NOT NULL DEFAULT 0,
            lease_owner TEXT,
            lease_until REAL NOT NULL DEFAULT 0,
            fence INTEGER NOT NULL DEFAULT 0,
            document TEXT NOT NULL
        ) STRICT
        """,
        "CREATE UNIQUE INDEX jobs_request_key ON jobs (principal, request_key) WHERE request_key IS NOT NULL",
        "CREATE INDEX jobs_fingerprint ON jobs (principal, fingerprint, created_at)",
        "CREATE INDEX jobs_newest ON jobs (principal, created_at, job_id)",
        "CREATE INDEX jobs_open ON jobs (lease_until) WHERE ended = 0",
        """
        CREATE TABLE attempts (
            attempt_id INTEGER PRIMARY KEY AUTOINCREMENT,
            job_id TEXT NOT NULL,
            kind TEXT NOT NULL,
            at REAL NOT NULL,
            fact TEXT NOT NULL
        ) STRICT
        """,
        "CREATE INDEX attempts_job ON attempts (job_id, attempt_id)",
    ),
    ("ALTER TABLE jobs ADD COLUMN orphans TEXT NOT NULL DEFAULT '[]'",),
    (
        """
        CREATE TABLE durations (
            duration_id INTEGER PRIMARY KEY AUTOINCREMENT,
            provider TEXT NOT NULL,
            model TEXT NOT NULL,
            size INTEGER NOT NULL,
            seconds REAL NOT NULL
        ) STRICT
        """,
        "CREATE INDEX durations_kind ON durations (provider, model, size, duration_id)",
    ),
    (
        """
        CREATE TABLE spending (
            job_id TEXT PRIMARY KEY,
            principal TEXT NOT NULL,
            run TEXT NOT NULL,
            provider TEXT NOT NULL,
            millionths INTEGER,
            at REAL NOT NULL
        ) STRICT
        """,
        "CREATE INDEX spending_recent ON spending (principal, at)",
        "CREATE INDEX jobs_in_flight ON jobs (principal) WHERE ended = 0",
        """
        CREATE TABLE maps (
            principal TEXT NOT NULL,
            sha256 TEXT NOT NULL,
            PRIMARY KEY (principal, sha256)
        ) STRICT
        """,
    ),
)
SCHEMA_VERSION = len(MIGRATIONS)

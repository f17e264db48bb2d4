"""What is asked of the database. Every query names its columns, so that a later layout may have more of them."""

from functools import cache

PAST = """
WITH RECURSIVE past(session, upto) AS (
    SELECT key, %(upto)s::bigint FROM session WHERE id = %(id)s
    UNION ALL
    SELECT parent, least(past.upto, shared) FROM past JOIN session ON key = past.session WHERE parent IS NOT NULL
)
"""
"""Where a session's facts are: its own and, up to where it branched off, those of the sessions before it."""

# OFFSET 0 keeps the planner from joining in another way than by the index, one session after the other. Times are
# asked for as those of UTC, whatever zone the database is set to. The reader sorts: it has the memory for it.
READ = f"""{PAST}
SELECT line.seq, line.at, line.version, line.body FROM past, LATERAL (
    SELECT seq, at AT TIME ZONE 'UTC' AS at, version, body FROM fact
    WHERE session = past.session AND seq > %(after)s AND seq <= past.upto OFFSET 0
) AS line
"""

FIRST = f"""{PAST}
SELECT min(line.seq) FROM past, LATERAL (
    SELECT seq FROM fact WHERE session = past.session AND seq <= past.upto ORDER BY seq LIMIT 1
) AS line
"""

ENDS = f"""{PAST}
SELECT line.seq, line.at, line.version, line.body FROM past, LATERAL (
    SELECT seq, at AT TIME ZONE 'UTC' AS at, version, body FROM fact
    WHERE session = past.session AND seq = %(first)s AND seq <= past.upto AND seq < %(last)s
    UNION ALL
    SELECT seq, at AT TIME ZONE 'UTC', version, body FROM fact
    WHERE session = past.session AND seq >= %(last)s AND seq <= past.upto
) AS line
"""
"""A session's fact number ``first``, and all from number ``last`` on."""

BLOBS = f"{PAST} SELECT name, content FROM past JOIN blob USING (session) WHERE name = ANY(%(names)s)"

BEYOND = "SELECT seq > %(after)s FROM session WHERE id = %(id)s"

SESSIONS = """
SELECT each.id, each.seq, each.started AT TIME ZONE 'UTC', each.updated AT TIME ZONE 'UTC',
    coalesce(parent.id, ''), each.shared, each.held
FROM session AS each LEFT JOIN session AS parent ON parent.key = each.parent ORDER BY each.written
"""

# --- An append: one statement, which is a transaction of its own. It gives a row if it was done, and none if the
# session has another end. A second writer waits for the row of the session, and then looks at its end again.

# Counted, not timed: a clock may stand still or go back.
_BEGIN = """mine AS (
    INSERT INTO session(id, seq, started, updated, written, parent, shared)
    SELECT %(id)s, %(last)s, %(at)s, %(updated)s, nextval('written'), %(parent)s::bigint, %(shared)s {where}
    ON CONFLICT (id) DO NOTHING RETURNING key
)"""
_GO_ON = """mine AS (
    UPDATE session SET seq = %(last)s, updated = %(updated)s, written = nextval('written')
    WHERE id = %(id)s AND seq = %(after)s {where} RETURNING key
)"""
# The messages that become these facts. They are locked first, so that whoever comes second finds them taken.
_LETTERS = """letters AS (
    SELECT number FROM inbox WHERE session = %(id)s AND message = ANY(%(taking)s::text[]) AND state = 'waiting'
    FOR UPDATE
), """
_ALL_THERE = "(SELECT count(*) FROM letters) = %(count)s::bigint"
_TAKEN = """, taken AS (
    UPDATE inbox SET state = 'taken', body = '', seq = %(last)s, due = %(at)s FROM letters, mine
    WHERE inbox.number = letters.number
)"""
# The lines as one text: a body has no line break, and an array would have to be made of them first.
_LINES = """, lines AS (
    INSERT INTO fact(session, seq, at, version, body, batch)
    SELECT key, %(first)s - 1 + number, %(at)s, version, body, CASE number WHEN 1 THEN %(batch)s::bigint END
    FROM mine, unnest(string_to_array(%(versions)s, ' ')::int[], string_to_array(%(bodies)s, chr(10)))
        WITH ORDINALITY AS line(version, body, number)
)"""
_DATED_LINES = """, lines AS (
    INSERT INTO fact(session, seq, at, version, body, batch)
    SELECT key, %(first)s - 1 + number, dated, version, body, CASE number WHEN 1 THEN %(batch)s::bigint END
    FROM mine, unnest(
        %(times)s::timestamptz[],
        string_to_array(%(versions)s, ' ')::int[], string_to_array(%(bodies)s, chr(10))
    ) WITH ORDINALITY AS line(dated, version, body, number)
)"""
_BESIDE = """, beside AS (
    INSERT INTO blob(session, name, content)
    SELECT key, name, content FROM mine, unnest(%(names)s::text[], %(contents)s::bytea[]) AS each(name, content)
    ON CONFLICT DO NOTHING
)"""
_RING = """
SELECT 1 FROM mine
WHERE pg_try_advisory_xact_lock(%(lock)s, %(bell)s) OR pg_notify(%(channel)s, %(bell)s::text)::text IS NOT NULL
"""


@cache
def begin(*, blobs: bool, taking: bool) -> str:
    """An append to a session that does not exist, with what is beside the lines, and messages it takes."""
    mine = _BEGIN.format(where=f"WHERE {_ALL_THERE}" if taking else "")
    return _append(mine, blobs=blobs, taking=taking)


RESTORE = "\nWITH " + _BEGIN.format(where="") + _DATED_LINES + _BESIDE + _RING


@cache
def go_on(*, blobs: bool, taking: bool) -> str:
    """An append to a session that exists."""
    return _append(_GO_ON.format(where=f"AND {_ALL_THERE}" if taking else ""), blobs=blobs, taking=taking)


def _append(mine: str, *, blobs: bool, taking: bool) -> str:
    parts = ["\nWITH ", _LETTERS * taking, mine, _TAKEN * taking, _LINES, _BESIDE * blobs, _RING]
    return "".join(parts)


END = """
SELECT seq, (SELECT batch FROM fact WHERE session = key AND fact.seq = %(first)s)
FROM session WHERE id = %(id)s
"""
"""Where a session ends, and who wrote what an append was to begin with."""

# --- What changes more than one session, or takes something away

ALONE = "SELECT pg_advisory_xact_lock(%(of)s, %(lock)s)"
BESIDE_OTHERS = "SELECT pg_advisory_xact_lock_shared(%(of)s, %(lock)s)"

SESSION = "SELECT key, seq, held FROM session WHERE id = %(id)s"

BRANCHES = "SELECT key, id FROM session WHERE parent = %(key)s"

TAKE_OVER = f"""{PAST}, taken AS (
    INSERT INTO fact(session, seq, at, version, body)
    SELECT %(key)s, seq, at, version, body FROM past JOIN fact USING (session)
    WHERE seq <= past.upto AND session <> %(key)s
    RETURNING version, body
)
SELECT version, body FROM taken WHERE version = %(large)s
"""

TAKE_OVER_BLOBS = f"""{PAST}
INSERT INTO blob(session, name, content)
SELECT %(key)s, name, content FROM past JOIN blob USING (session) WHERE name = ANY(%(names)s)
ON CONFLICT DO NOTHING
"""

ON_ITS_OWN = "UPDATE session SET parent = NULL, shared = 0 WHERE key = %(key)s"

STAND_IN = """
WITH gone AS (DELETE FROM fact WHERE session = %(key)s AND seq < %(upto)s)
UPDATE fact SET version = %(version)s, body = %(body)s WHERE session = %(key)s AND seq = %(upto)s
"""

LARGE = "SELECT version, body FROM fact WHERE session = %(key)s AND version = %(large)s"

DROP_BLOBS = "DELETE FROM blob WHERE session = %(key)s AND NOT name = ANY(%(names)s)"

DELETE = """
WITH facts AS (DELETE FROM fact WHERE session = %(key)s), blobs AS (DELETE FROM blob WHERE session = %(key)s)
DELETE FROM session WHERE key = %(key)s
"""

HOLD = "UPDATE session SET held = %(reason)s WHERE id = %(id)s RETURNING key"

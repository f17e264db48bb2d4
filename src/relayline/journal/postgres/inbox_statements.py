"""What is asked of the database about the inbox: each is one statement, so a transaction of its own."""

PUT = """
WITH kept AS (
    INSERT INTO inbox(session, message, due, body) VALUES (%(id)s, %(message)s, %(due)s, %(body)s)
    ON CONFLICT (session, message) DO NOTHING RETURNING due
), worked AS (
    INSERT INTO work(session, team, tenant, due, until) SELECT %(id)s, %(team)s, %(tenant)s, due, %(now)s FROM kept
    ON CONFLICT (session) DO UPDATE SET due = least(work.due, excluded.due), news = work.news + 1
)
SELECT 1 FROM kept
"""

RECEIPT = "SELECT state, seq, problem FROM inbox WHERE session = %(id)s AND message = %(message)s"

REFUSE = """
UPDATE inbox SET state = 'refused', body = '', problem = %(problem)s, due = %(now)s
WHERE session = %(id)s AND message = %(message)s AND state = 'waiting' RETURNING 1
"""

_CLAIM = """
WITH mine AS (
    UPDATE work SET owner = %(owner)s, until = %(until)s, attempt = attempt + 1
    WHERE session = %(id)s AND team = %(team)s AND due <= %(now)s
        AND (until <= %(now)s OR owner = %(owner)s OR %(force)s::boolean) {room}
    RETURNING attempt, cancelled, news
)
SELECT mine.attempt, mine.cancelled, mine.news, message, body
FROM mine LEFT JOIN inbox ON inbox.session = %(id)s AND state = 'waiting' AND inbox.due <= %(now)s ORDER BY number
"""

_OTHERS = "(SELECT count(*) FROM work AS each WHERE each.until > %(now)s AND each.session <> %(id)s {of})"

CLAIM = _CLAIM.format(room="")

CLAIM_IN_ROOM = _CLAIM.format(
    room="AND (%(sessions)s::bigint IS NULL OR "
    + _OTHERS.format(of="")
    + " < %(sessions)s::bigint) AND (%(per_tenant)s::bigint IS NULL OR "
    + _OTHERS.format(of="AND each.tenant = work.tenant")
    + " < %(per_tenant)s::bigint)"
)

RENEW = "UPDATE work SET until = %(until)s WHERE owner = %(owner)s RETURNING session, cancelled"

# What is put while this waits for the row is news: then it is not deleted, and whoever asked looks again.
FINISH = """
WITH waiting AS (
    SELECT min(due) AS due FROM inbox WHERE session = %(id)s AND state = 'waiting'
), gone AS (
    DELETE FROM work USING waiting WHERE session = %(id)s AND owner = %(owner)s AND attempt = %(attempt)s
        AND news = %(news)s AND waiting.due IS NULL
    RETURNING false
), left_over AS (
    UPDATE work SET due = waiting.due, until = %(now)s, owner = '', attempt = 0, cancelled = false FROM waiting
    WHERE session = %(id)s AND owner = %(owner)s AND attempt = %(attempt)s AND waiting.due IS NOT NULL
    RETURNING waiting.due <= %(now)s
)
SELECT * FROM gone UNION ALL SELECT * FROM left_over UNION ALL
SELECT true FROM work WHERE session = %(id)s AND owner = %(owner)s AND attempt = %(attempt)s
    AND NOT EXISTS (SELECT FROM gone) AND NOT EXISTS (SELECT FROM left_over)
"""

HAND_BACK = """
UPDATE work SET until = %(until)s, owner = ''
WHERE session = %(id)s AND owner = %(owner)s AND attempt = %(attempt)s RETURNING 1
"""

DUE = """
SELECT session FROM work WHERE team = %(team)s AND due <= %(before)s AND until <= %(before)s
ORDER BY due LIMIT %(most)s::bigint
"""

CANCEL = """
WITH told AS (
    UPDATE work SET cancelled = true WHERE session = %(id)s AND due <= %(now)s RETURNING session
), refused AS (
    UPDATE inbox SET state = 'refused', body = '', problem = %(problem)s, due = %(now)s FROM told
    WHERE inbox.session = told.session AND state = 'waiting' AND inbox.due <= %(now)s
)
SELECT 1 FROM told
"""

PURGE = """
WITH purged AS (DELETE FROM inbox WHERE state <> 'waiting' AND due < %(before)s RETURNING 1)
SELECT count(*) FROM purged
"""

FORGET = """
WITH letters AS (DELETE FROM inbox WHERE session = %(id)s)
DELETE FROM work WHERE session = %(id)s
"""

PUBLISH = "SELECT pg_notify(%(channel)s, %(words)s) WHERE NOT pg_try_advisory_xact_lock(%(lock)s, %(bell)s)"
"""Words for those who wait at the session's bell; where nobody does, nothing is sent."""

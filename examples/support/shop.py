"""A shop that is really there: a SQLite file that remembers what was returned, refunded and frozen.

Every method opens the file, does one transaction and closes it, so any number of threads and processes may share a
shop. All of them answer in sentences that can be shown to a customer as they are.
"""

import os
import sqlite3
import sys
from collections.abc import Callable, Generator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

RETURN_DAYS = 30

_SEED = Path(__file__).with_name("shop.sql")
_SEED_DAY = date(2026, 11, 21)
_DATES = {
    "orders": ["placed_on"],
    "shipments": ["shipped_on", "expected_on", "delivered_on"],
    "returns": ["opened_on", "received_on"],
    "refunds": ["refunded_on"],
    "cases": ["opened_on"],
}


class NotFound(LookupError):
    """There is no such order or customer."""


class Refused(ValueError):
    """The shop knows the order, and will not do what was asked. Nothing was changed."""


def today() -> date:
    return datetime.now().astimezone().date()


def open_shop(path: str | Path | None = None, today: Callable[[], date] = today) -> "Shop":
    """The shop kept in the file ``path``, created and stocked if it is not there yet.

    Default: the file ``RELAYLINE_SHOP`` names, or ``support-shop.db`` in the user's data folder. Delete the file and
    the shop is as new.

    Raises:
        OSError: the folder cannot be made.
        sqlite3.Error: the file cannot be written, or is no SQLite database.
    """
    shop = Shop(Path(path or os.environ.get("RELAYLINE_SHOP") or _data_folder() / "support-shop.db"), today)
    shop.path.parent.mkdir(parents=True, exist_ok=True)
    with shop.transaction() as db:
        # Another process that opened the new shop at the same moment had to wait, and finds it stocked.
        if db.execute("PRAGMA user_version").fetchone()[0] == 0:
            _stock(db, today() - _SEED_DAY)
    return shop


def _data_folder() -> Path:
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "relayline"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Application Support" / "relayline"
    chosen = Path(os.environ.get("XDG_DATA_HOME", ""))
    return (chosen if chosen.is_absolute() else Path.home() / ".local" / "share") / "relayline"


def _stock(db: sqlite3.Connection, later: timedelta) -> None:
    # Statement by statement: executescript would commit, and show other processes half a shop.
    for statement in _SEED.read_text("utf-8").split(";\n"):
        db.execute(statement)
    for table, columns in _DATES.items():
        for column in columns:
            db.execute(f"UPDATE {table} SET {column} = date({column}, ?)", [f"{later.days} days"])  # noqa: S608
    db.execute("PRAGMA user_version = 1")


@dataclass(frozen=True)
class Shop:
    """What the desk can look up and do. Order numbers look like ``A-1042``; emails are found in any case."""

    path: Path
    today: Callable[[], date]

    @contextmanager
    def transaction(self) -> Generator[sqlite3.Connection]:
        """A connection in a transaction that no other writer slips into; committed unless there was an error."""
        # The connection begins and commits nothing by itself; it waits 30 seconds for other processes.
        with closing(sqlite3.connect(self.path, timeout=30, isolation_level=None)) as db:
            db.row_factory = sqlite3.Row
            db.execute("PRAGMA foreign_keys = ON")
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            finally:
                if db.in_transaction:
                    db.execute("ROLLBACK")

    # Orders

    def find_order(self, number: str) -> str:
        with self.transaction() as db:
            order = _order(db, number)
            sentences = [f"Order {number} ({_items(db, number)}; {_euros(order['total'])}) {self._state(order)}."]
            if order["refunded"]:
                sentences.append(f"{_euros(order['refunded'])} of it has been refunded.")
            if order["return_id"]:
                received = order["received_on"]
                what = f"arrived with us on {self._day(received)}" if received else "is on its way back to us"
                sentences.append(f"Its return R-{order['return_id']} ({order['reason']}) {what}.")
            return " ".join(sentences)

    def track_shipment(self, number: str) -> str:
        with self.transaction() as db:
            order = _order(db, number)
        if not order["parcel"]:
            return f"Order {number} {self._state(order)}, so there is no parcel to track."
        parcel = f"{order['carrier']} parcel {order['parcel']} with order {number}"
        if order["delivered_on"]:
            return f"The {parcel} was delivered to {order['address']} on {self._day(order['delivered_on'])}."
        return f"The {parcel} was last seen in {order['seen_in']} and {self._arrival(order)}."

    def list_orders(self, email: str) -> str:
        with self.transaction() as db:
            customer = _customer(db, email)
            rows = db.execute(
                "SELECT number, status FROM orders WHERE email = ? ORDER BY number DESC", [customer["email"]]
            )
            orders = [f"{row['number']} ({_items(db, row['number'])}; {row['status']})" for row in rows.fetchall()]
        return (
            f"The orders of {customer['name']}, newest first: {', '.join(orders)}."
            if orders
            else "There are no orders yet."
        )

    def change_address(self, number: str, address: str) -> str:
        with self.transaction() as db:
            order = _order(db, number)
            if order["status"] not in ("unpaid", "paid", "packed"):
                raise Refused(f"order {number} {self._state(order)}, so its address cannot be changed any more")
            db.execute("UPDATE orders SET address = ? WHERE number = ?", [address, number])
        return f"Order {number} will be sent to {address}."

    # Returns and refunds

    def start_return(self, number: str, reason: str) -> str:
        with self.transaction() as db:
            order = _order(db, number)
            if order["return_id"]:
                raise Refused(f"order {number} already has a return: R-{order['return_id']} ({order['reason']})")
            if order["status"] != "delivered":
                raise Refused(f"order {number} {self._state(order)}, and only what was delivered can be returned")
            last = date.fromisoformat(order["delivered_on"]) + timedelta(RETURN_DAYS)
            if self.today() > last:
                raise Refused(f"the {RETURN_DAYS} days to return order {number} ended on {self._day(last.isoformat())}")
            values = [number, reason, self.today().isoformat()]
            row = db.execute(
                "INSERT INTO returns (number, reason, opened_on) VALUES (?, ?, ?) RETURNING id", values
            ).fetchone()
        return (
            f"Return R-{row['id']} for order {number} ({reason}) is open. Write R-{row['id']} on the parcel and hand "
            "it in at any PostNord or DHL point within 14 days; the money follows within 5 working days of its arrival."
        )

    def refund(self, number: str, amount: Decimal | None, key: str) -> str:
        """Pay back ``amount`` euros, or all that is left; with a ``key`` used before, say again what was done then."""
        with self.transaction() as db:
            order = _order(db, number)
            done = db.execute("SELECT * FROM refunds WHERE key = ?", [key]).fetchone()
            if done is None:
                cents = _refundable(order) if amount is None else int(amount * 100)
                self._check_refund(order, cents)
                values = [key, number, cents, self.today().isoformat()]
                done = db.execute(
                    "INSERT INTO refunds (key, number, cents, refunded_on) VALUES (?, ?, ?, ?) RETURNING *", values
                ).fetchone()
        return (
            f"{_euros(done['cents'])} of order {done['number']} was refunded on {self._day(done['refunded_on'])} "
            f"(reference F-{done['id']}); it reaches the card it was paid with within 5 working days."
        )

    def _check_refund(self, order: sqlite3.Row, cents: int) -> None:
        number, left = order["number"], _refundable(order)
        if order["frozen_on"]:
            raise Refused(
                f"the account of order {number} is frozen, so nothing can be refunded until our fraud team is done"
            )
        if not order["paid"]:
            raise Refused(f"order {number} has not been paid for, so there is nothing to refund")
        if not left:
            raise Refused(f"all {_euros(order['paid'])} paid for order {number} has been refunded already")
        if cents > left:
            already = f", of which {_euros(order['refunded'])} has been refunded already" if order["refunded"] else ""
            raise Refused(
                f"{_euros(cents)} is more than can be refunded for order {number}: "
                f"{_euros(order['paid'])} was paid{already}. At most {_euros(left)} is left"
            )

    # Fraud

    def freeze_account(self, email: str) -> str:
        with self.transaction() as db:
            customer = _customer(db, email)
            db.execute(
                "UPDATE customers SET frozen_on = ? WHERE email = ?", [self.today().isoformat(), customer["email"]]
            )
        return (
            f"The account {customer['email']} is frozen: nothing can be ordered or refunded with it until "
            f"our fraud team has spoken to {customer['name']}."
        )

    def report_case(self, suspicion: str, number: str | None, note: str) -> str:
        with self.transaction() as db:
            if number is not None:
                _order(db, number)
            values = [suspicion, number, note, self.today().isoformat()]
            row = db.execute(
                "INSERT INTO cases (suspicion, number, note, opened_on) VALUES (?, ?, ?, ?) RETURNING id", values
            ).fetchone()
        about = f" about order {number}" if number else ""
        return f"Case C-{row['id']}{about} ({suspicion}) is open. Our fraud team calls back within one working day."

    # Words

    def _state(self, order: sqlite3.Row) -> str:
        match order["status"]:
            case "unpaid":
                return "is waiting to be paid"
            case "paid":
                return "is paid and being packed"
            case "packed":
                return "is packed and leaves our warehouse on the next working day"
            case "shipped":
                shipped = f"was shipped on {self._day(order['shipped_on'])} with {order['carrier']}"
                return f"{shipped} and {self._arrival(order)}"
            case "delivered":
                return f"was delivered on {self._day(order['delivered_on'])}"
            case _:
                return "was cancelled"

    def _arrival(self, order: sqlite3.Row) -> str:
        late = date.fromisoformat(order["expected_on"]) < self.today()
        return f"{'should have arrived' if late else 'should arrive'} on {self._day(order['expected_on'])}"

    def _day(self, iso: str) -> str:
        day = date.fromisoformat(iso)
        return f"{day.day} {day:%B}" if day.year == self.today().year else f"{day.day} {day:%B %Y}"


def _order(db: sqlite3.Connection, number: str) -> sqlite3.Row:
    row = db.execute(
        """
        SELECT orders.*, frozen_on, total, paid, refunded, carrier, parcel, seen_in, shipped_on, expected_on,
               delivered_on, returns.id AS return_id, reason, received_on
        FROM orders JOIN customers USING (email) JOIN money USING (number)
        LEFT JOIN shipments USING (number) LEFT JOIN returns USING (number)
        WHERE number = ?
        """,
        [number],
    ).fetchone()
    if row is None:
        raise NotFound(f"there is no order {number}; the number is on the receipt and looks like A-1042")
    return row


def _customer(db: sqlite3.Connection, email: str) -> sqlite3.Row:
    row = db.execute("SELECT * FROM customers WHERE email = ?", [email.strip().lower()]).fetchone()
    if row is None:
        raise NotFound(f"nobody has an account with the address {email}; it is the one the receipt was sent to")
    return row


def _items(db: sqlite3.Connection, number: str) -> str:
    rows = db.execute(
        "SELECT quantity, name FROM order_lines JOIN products USING (sku) WHERE number = ? ORDER BY order_lines.rowid",
        [number],
    )
    return ", ".join(f"{row['quantity']} × {row['name']}" for row in rows)  # noqa: RUF001


def _refundable(order: sqlite3.Row) -> int:
    return order["paid"] - order["refunded"]


def _euros(cents: int) -> str:
    return f"{cents // 100}.{cents % 100:02} EUR"

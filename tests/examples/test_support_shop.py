# The multiplication sign is what a customer reads before "Mug".
# ruff: noqa: RUF001
"""The shop behind the example's support desk: a real file, shared by threads and processes, that pays out once."""

import json
import sqlite3
import subprocess
import sys
import textwrap
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import date
from decimal import Decimal
from pathlib import Path

import pytest
from inline_snapshot import snapshot

from examples.support import desk, workflow
from examples.support.shop import NotFound, Refused, Shop, open_shop
from relayline.tools import Tool, ToolContext

ROOT = Path(__file__).parents[2]
DAY = date(2026, 11, 21)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "data" / "shop.db"


@pytest.fixture
def shop(path: Path) -> Shop:
    return open_shop(path, lambda: DAY)


def wrapped(*sentences: str) -> list[str]:
    """Sentences as lines that fit a page."""
    return [line for sentence in sentences for line in textwrap.wrap(sentence, 100)]


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as db:
        return db.execute(query).fetchall()


# Looking things up


def test_every_state_has_its_sentence(shop: Shop) -> None:
    """Whatever state an order is in, one sentence a customer understands says so."""
    assert wrapped(*(shop.find_order(f"A-{number}") for number in range(1040, 1052))) == snapshot(
        [
            "Order A-1040 (1 × Table lamp 'Lys'; 89.00 EUR) was delivered on 2 October.",
            "Order A-1041 (1 × Cast-iron pot 'Troll'; 119.00 EUR) was delivered on 10 November.",
            "Order A-1042 (2 × Mug 'Fjord', 1 × Kettle 'Geysir'; 87.00 EUR) was shipped on 14 November with",
            "PostNord and should arrive on 24 November.",
            "Order A-1043 (1 × Wool blanket 'Vinter'; 99.00 EUR) is packed and leaves our warehouse on the next",
            "working day.",
            "Order A-1044 (1 × Chef's knife 'Skarp', 1 × Cutting board 'Birk'; 103.00 EUR) was delivered on 16",
            "November.",
            "Order A-1045 (4 × Linen towel 'Skagen'; 50.00 EUR) was shipped on 9 November with DHL and should",
            "have arrived on 16 November.",
            "Order A-1046 (1 × Cutting board 'Birk'; 29.00 EUR) was cancelled. 29.00 EUR of it has been refunded.",
            "Order A-1047 (1 × Kettle 'Geysir'; 59.00 EUR) is waiting to be paid.",
            "Order A-1048 (3 × Mug 'Fjord'; 42.00 EUR) was delivered on 12 November. 14.00 EUR of it has been",
            "refunded. Its return R-301 (broken on arrival) is on its way back to us.",
            "Order A-1049 (1 × Table lamp 'Lys', 1 × Linen towel 'Skagen'; 101.50 EUR) is paid and being packed.",
            "Order A-1050 (1 × Wool blanket 'Vinter'; 99.00 EUR) was delivered on 5 November. Its return R-302",
            "(no longer wanted) arrived with us on 19 November.",
            "Order A-1051 (6 × Chef's knife 'Skarp'; 444.00 EUR) was delivered on 18 November.",
        ]
    )


def test_tracking(shop: Shop) -> None:
    """A parcel is on its way, late, delivered, or not there yet."""
    assert wrapped(*(shop.track_shipment(f"A-{number}") for number in (1042, 1045, 1044, 1043))) == snapshot(
        [
            "The PostNord parcel PN40201145 with order A-1042 was last seen in Gothenburg and should arrive on 24",
            "November.",
            "The DHL parcel DH77118293 with order A-1045 was last seen in Prague and should have arrived on 16",
            "November.",
            "The DHL parcel DH77120054 with order A-1044 was delivered to 7 Mill Lane, Leeds on 16 November.",
            "Order A-1043 is packed and leaves our warehouse on the next working day, so there is no parcel to",
            "track.",
        ]
    )


def test_orders_of_a_customer(shop: Shop) -> None:
    """A customer's orders are listed newest first, and the case of an email address does not matter."""
    assert wrapped(shop.list_orders("Ann@Example.com")) == snapshot(
        [
            "The orders of Ann Berg, newest first: A-1046 (1 × Cutting board 'Birk'; cancelled), A-1042 (2 × Mug",
            "'Fjord', 1 × Kettle 'Geysir'; shipped), A-1040 (1 × Table lamp 'Lys'; delivered).",
        ]
    )


@pytest.mark.parametrize(
    "look",
    [
        lambda shop: shop.find_order("A-9999"),
        lambda shop: shop.track_shipment("A-9999"),
        lambda shop: shop.start_return("A-9999", "broken on arrival"),
        lambda shop: shop.refund("A-9999", None, "k"),
        lambda shop: shop.report_case("a suspicious email or call", "A-9999", ""),
        lambda shop: shop.list_orders("nobody@example.com"),
        lambda shop: shop.freeze_account("nobody@example.com"),
    ],
)
def test_unknown(shop: Shop, look: Callable[[Shop], str]) -> None:
    """An order or a customer the shop does not know is an error that says where to look."""
    with pytest.raises(NotFound, match=r"there is no order A-9999; the number is on|nobody has an account with"):
        look(shop)


def test_dates_move_with_the_calendar(path: Path) -> None:
    """A shop opened on another day has its story end on that day; opened again later, it stays as it was."""
    shop = open_shop(path, lambda: date(2028, 3, 1))
    assert shop.track_shipment("A-1042").endswith("should arrive on 4 March.")
    assert "2 October" not in shop.find_order("A-1040")
    later = open_shop(path, lambda: date(2029, 3, 1))
    assert later.track_shipment("A-1042").endswith("should have arrived on 4 March 2028.")


# Changing things


def test_change_address(shop: Shop) -> None:
    """An address can be changed until the parcel has left."""
    assert shop.change_address("A-1043", "Rue Vendôme 2, Lyon") == snapshot(
        "Order A-1043 will be sent to Rue Vendôme 2, Lyon."
    )
    with pytest.raises(Refused, match=r"A-1042 was shipped on 14 November .* cannot be changed any more"):
        shop.change_address("A-1042", "Storgata 5, Oslo")
    assert rows(
        shop.path, "SELECT address FROM orders WHERE number IN ('A-1042', 'A-1043') ORDER BY number"
    ) == snapshot([("Storgata 4, Oslo",), ("Rue Vendôme 2, Lyon",)])


def test_return(shop: Shop) -> None:
    """A return is opened once, and the customer told what to do."""
    assert wrapped(shop.start_return("A-1044", "broken on arrival")) == snapshot(
        [
            "Return R-303 for order A-1044 (broken on arrival) is open. Write R-303 on the parcel and hand it in",
            "at any PostNord or DHL point within 14 days; the money follows within 5 working days of its arrival.",
        ]
    )
    assert wrapped(shop.find_order("A-1044")) == snapshot(
        [
            "Order A-1044 (1 × Chef's knife 'Skarp', 1 × Cutting board 'Birk'; 103.00 EUR) was delivered on 16",
            "November. Its return R-303 (broken on arrival) is on its way back to us.",
        ]
    )
    with pytest.raises(Refused, match=r"A-1044 already has a return: R-303"):
        shop.start_return("A-1044", "no longer wanted")


def test_returns_that_are_refused(shop: Shop) -> None:
    """What was not delivered, or longer ago than 30 days, cannot be returned."""
    with pytest.raises(Refused) as not_delivered:
        shop.start_return("A-1043", "no longer wanted")
    with pytest.raises(Refused) as too_late:
        shop.start_return("A-1040", "no longer wanted")
    assert wrapped(str(not_delivered.value), str(too_late.value)) == snapshot(
        [
            "order A-1043 is packed and leaves our warehouse on the next working day, and only what was delivered",
            "can be returned",
            "the 30 days to return order A-1040 ended on 1 November",
        ]
    )


def test_last_day_of_a_return(path: Path) -> None:
    """The thirtieth day after the delivery still counts."""
    open_shop(path, lambda: DAY)
    assert Shop(path, lambda: date(2026, 12, 16)).start_return("A-1044", "no longer wanted").startswith("Return R-303")
    with pytest.raises(Refused, match="ended on 10 December"):
        Shop(path, lambda: date(2026, 12, 11)).start_return("A-1041", "no longer wanted")


def test_refund(shop: Shop) -> None:
    """A refund is all that is left unless an amount is given, and it is seen on the order."""
    assert wrapped(shop.refund("A-1044", Decimal("29.00"), "k1")) == snapshot(
        [
            "29.00 EUR of order A-1044 was refunded on 21 November (reference F-503); it reaches the card it was",
            "paid with within 5 working days.",
        ]
    )
    assert wrapped(shop.refund("A-1044", None, "k2")) == snapshot(
        [
            "74.00 EUR of order A-1044 was refunded on 21 November (reference F-504); it reaches the card it was",
            "paid with within 5 working days.",
        ]
    )
    assert wrapped(shop.find_order("A-1044")) == snapshot(
        [
            "Order A-1044 (1 × Chef's knife 'Skarp', 1 × Cutting board 'Birk'; 103.00 EUR) was delivered on 16",
            "November. 103.00 EUR of it has been refunded.",
        ]
    )


def test_one_key_pays_once(shop: Shop) -> None:
    """The same key gets the same answer and moves no money twice, even days later and for another amount."""
    first = shop.refund("A-1044", Decimal(10), "s1/t1.c1")
    assert shop.refund("A-1044", Decimal(10), "s1/t1.c1") == first
    assert Shop(shop.path, lambda: date(2026, 11, 25)).refund("A-1044", None, "s1/t1.c1") == first
    assert rows(shop.path, "SELECT sum(cents) FROM refunds WHERE number = 'A-1044'") == [(1000,)]


def test_refunds_that_are_refused(shop: Shop) -> None:
    """Nobody is paid back more than was paid and not refunded yet, nor with a frozen account; the message says why."""
    shop.freeze_account("finn@example.com")
    asked = [("A-1042", "500"), ("A-1048", "28.01"), ("A-1046", None), ("A-1047", None), ("A-1051", "1")]
    messages: list[str] = []
    for number, amount in asked:
        with pytest.raises(Refused) as caught:
            shop.refund(number, Decimal(amount) if amount else None, f"key/{number}")
        messages.append(str(caught.value))
    assert wrapped(*messages) == snapshot(
        [
            "500.00 EUR is more than can be refunded for order A-1042: 87.00 EUR was paid. At most 87.00 EUR is",
            "left",
            "28.01 EUR is more than can be refunded for order A-1048: 42.00 EUR was paid, of which 14.00 EUR has",
            "been refunded already. At most 28.00 EUR is left",
            "all 29.00 EUR paid for order A-1046 has been refunded already",
            "the account of order A-1047 is frozen, so nothing can be refunded until our fraud team is done",
            "the account of order A-1051 is frozen, so nothing can be refunded until our fraud team is done",
        ]
    )
    assert rows(shop.path, "SELECT count(*) FROM refunds") == [(2,)]


def test_fraud(shop: Shop) -> None:
    """A case is kept with what was said, and a frozen account stays frozen."""
    assert wrapped(shop.report_case("an order I did not place", "A-1051", "Six knives.")) == snapshot(
        [
            "Case C-702 about order A-1051 (an order I did not place) is open. Our fraud team calls back within",
            "one working day.",
        ]
    )
    assert wrapped(shop.freeze_account("Finn@example.com")) == snapshot(
        [
            "The account finn@example.com is frozen: nothing can be ordered or refunded with it until our fraud",
            "team has spoken to Finn Ryan.",
        ]
    )
    assert rows(shop.path, "SELECT suspicion, number, note, opened_on FROM cases ORDER BY id DESC LIMIT 1") == snapshot(
        [("an order I did not place", "A-1051", "Six knives.", "2026-11-21")]
    )
    assert rows(shop.path, "SELECT email FROM customers WHERE frozen_on IS NOT NULL") == [("finn@example.com",)]


# The file


def test_foreign_keys_are_on(shop: Shop) -> None:
    """A row about an order that is not there cannot be written."""
    with pytest.raises(sqlite3.IntegrityError), shop.transaction() as db:
        db.execute("INSERT INTO returns (number, reason, opened_on) VALUES ('A-9999', 'x', '2026-11-21')")


def test_an_error_changes_nothing(shop: Shop) -> None:
    """What a transaction did before an error is undone."""

    def half() -> None:
        with shop.transaction() as db:
            db.execute("DELETE FROM refunds")
            db.execute("DELETE FROM customers")

    with pytest.raises(sqlite3.IntegrityError):
        half()
    assert rows(shop.path, "SELECT count(*) FROM refunds") == [(2,)]


def test_reopening_keeps_what_happened(path: Path) -> None:
    """A shop that is opened again remembers its refunds."""
    open_shop(path, lambda: DAY).refund("A-1044", Decimal(10), "k")
    assert "10.00 EUR of it has been refunded" in open_shop(path, lambda: DAY).find_order("A-1044")


def test_where_the_shop_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """RELAYLINE_SHOP names the file; without it, the shop is in the user's data folder."""
    monkeypatch.setenv("RELAYLINE_SHOP", str(tmp_path / "here.db"))
    assert open_shop().path == tmp_path / "here.db"
    monkeypatch.delenv("RELAYLINE_SHOP")
    for variable in ("HOME", "XDG_DATA_HOME", "LOCALAPPDATA"):
        monkeypatch.setenv(variable, str(tmp_path))
    assert tmp_path in open_shop().path.parents


def test_threads_share_a_shop(shop: Shop) -> None:
    """Of many refunds at once, only those that were paid for go through."""

    def refund(number: int) -> bool:
        try:
            shop.refund("A-1044", Decimal(20), f"thread {number}")
        except Refused:
            return False
        return True

    with ThreadPoolExecutor(8) as threads:
        assert sum(threads.map(refund, range(16))) == 5
    assert rows(shop.path, "SELECT sum(cents) FROM refunds WHERE number = 'A-1044'") == [(10_000,)]


def test_processes_share_a_shop(path: Path) -> None:
    """Processes that create the same shop and pay the same key and their own keys at once agree on one set of books."""
    code = """
import sys
from decimal import Decimal
from examples.support.shop import Refused, open_shop
shop = open_shop(sys.argv[1])
print(shop.refund("A-1044", Decimal("3"), "shared"))
for number in range(10):
    try:
        shop.refund("A-1044", Decimal("9"), f"{sys.argv[2]}/{number}")
    except Refused:
        pass
"""
    environment = {"PYTHONPATH": f"{ROOT}:{':'.join(sys.path)}"}
    command = [sys.executable, "-c", code, str(path)]
    processes = [
        subprocess.Popen([*command, name], env=environment, stdout=subprocess.PIPE, text=True) for name in "abc"
    ]
    answers = [process.communicate(timeout=60)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0]
    assert len(set(answers)) == 1
    assert rows(path, "SELECT count(*) FROM orders") == [(12,)]
    assert rows(path, "SELECT count(*), sum(cents) FROM refunds WHERE number = 'A-1044'") == [(12, 300 + 11 * 900)]


# The desk


@pytest.fixture
def desk_shop(path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RELAYLINE_SHOP", str(path))
    return path


async def call(tool: Tool, key: str = "s1/t1.c1", **arguments: object) -> str:
    return await tool.call(json.dumps(arguments), ToolContext("s1", "returns", "t1.c1", key, ()))


async def test_tools_reach_the_shop(desk_shop: Path) -> None:
    """Every tool of every agent does what it says, in the shop the environment names."""
    said = [
        await call(desk.find_order, order_number="A-1044"),
        await call(desk.track_shipment, order_number="A-1044"),
        await call(desk.list_orders, email="dev@example.com"),
        await call(desk.change_address, order_number="A-1049", address="Kungsgatan 14, Malmö"),
        await call(desk.start_return, order_number="A-1044", reason="wrong item sent"),
        await call(desk.refund, order_number="A-1044", amount=74),
        await call(desk.report_case, suspicion="a suspicious email or call"),
        await call(desk.freeze_account, email="finn@example.com"),
    ]
    assert all(sentence.endswith((".", ")")) for sentence in said)
    used = {tool.name for agent in workflow.agents for tool in agent.tools if isinstance(tool, Tool)}
    assert len(said) == len(used)


async def test_a_repeated_refund_call_pays_once(desk_shop: Path) -> None:
    """A refund call that is run again after a crash, with the key of the first run, pays nothing more."""
    first = await call(desk.refund, "s1/t2.c1", order_number="A-1044", amount="10.50")
    assert await call(desk.refund, "s1/t2.c1", order_number="A-1044", amount="10.50") == first
    assert rows(desk_shop, "SELECT sum(cents) FROM refunds WHERE number = 'A-1044'") == [(1050,)]


def test_who_asks_and_who_may_be_repeated() -> None:
    """What moves money or locks somebody out asks a person; only look-ups and the keyed refund may run twice."""
    tools = [tool for agent in workflow.agents for tool in agent.tools if isinstance(tool, Tool)]
    assert {tool.name: (tool.approval_mode == "always_require", tool.repeatable) for tool in tools} == snapshot(
        {
            "find_order": (False, True),
            "track_shipment": (False, True),
            "list_orders": (False, True),
            "change_address": (False, False),
            "start_return": (False, False),
            "refund": (True, True),
            "report_case": (False, False),
            "freeze_account": (True, False),
        }
    )


@pytest.mark.parametrize(
    ("tool", "arguments"),
    [
        (desk.find_order, {"order_number": "1042"}),
        (desk.refund, {"order_number": "A-1042", "amount": 0}),
        (desk.refund, {"order_number": "A-1042", "amount": -5}),
        (desk.refund, {"order_number": "A-1042", "amount": 1.005}),
        (desk.refund, {"order_number": "A-1042", "key": "mine"}),
        (desk.start_return, {"order_number": "A-1042", "reason": "just because"}),
        (desk.list_orders, {"email": "ann"}),
    ],
)
def test_arguments_that_do_not_fit(tool: Tool, arguments: dict[str, object]) -> None:
    """What makes no sense to the shop never reaches it, nor does a person get to approve it."""
    assert tool.problem(json.dumps(arguments)) is not None


def test_importing_the_desk_touches_no_file(tmp_path: Path) -> None:
    """The shop is created when it is first needed, not when the desk is imported."""
    environment = {"PYTHONPATH": f"{ROOT}:{':'.join(sys.path)}", "HOME": str(tmp_path), "PYTHONDONTWRITEBYTECODE": "1"}
    subprocess.run([sys.executable, "-c", "import examples.support"], env=environment, check=True)
    assert list(tmp_path.iterdir()) == []


def test_roads_through_the_desk() -> None:
    """Everybody can be reached from triage, and fraud leads nowhere."""
    edges = {(edge.source, edge.target) for edge in workflow.pattern.edges}
    assert edges == {
        ("triage", "orders"),
        ("orders", "triage"),
        ("triage", "returns"),
        ("returns", "triage"),
        ("returns", "orders"),
        ("orders", "returns"),
        ("returns", "fraud"),
    }
    assert workflow.pattern.start == "triage"

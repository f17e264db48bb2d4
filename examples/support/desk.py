"""Who sits at the desk, what each can do, and who may hand over to whom.

The agents have no model: whoever runs the desk brings one. The instructions are for a model that writes; the knowledge,
the examples and the tools' results are whole sentences, so that one that can only choose and quote is of use as well.
"""

from decimal import Decimal
from enum import StrEnum
from typing import Annotated

from pydantic import Field

from relayline import Agent, HandoffBuilder, ToolContext, tool

from .shop import open_shop  # noqa: TID252  for the reason given in __init__.py

OrderNumber = Annotated[str, Field(pattern=r"^A-\d{4}$", description="The order number, such as A-1042")]
Email = Annotated[
    str,
    Field(
        pattern=r"^[^@\s]+@[^@\s]+\.[^@\s]+$",
        description="The email address of the customer's account",
        json_schema_extra={"format": "email"},
    ),
]


class Reason(StrEnum):
    """Why something goes back."""

    BROKEN = "broken on arrival"
    WRONG_ITEM = "wrong item sent"
    NOT_AS_DESCRIBED = "not as described"
    TOO_LATE = "arrived too late"
    UNWANTED = "no longer wanted"


class Suspicion(StrEnum):
    """What seems to have happened."""

    UNKNOWN_ORDER = "an order I did not place"
    STOLEN_CARD = "my card used by somebody else"
    ACCOUNT_TAKEN = "somebody else logged in to my account"
    PHISHING = "a suspicious email or call"


# Looking something up twice does no harm, so a look-up that a crash interrupted is simply done again: repeatable.


@tool(repeatable=True)
def find_order(order_number: OrderNumber) -> str:
    """Look up the status of one order: its items, price, delivery, refunds and returns."""
    return open_shop().find_order(order_number)


@tool(repeatable=True)
def track_shipment(order_number: OrderNumber) -> str:
    """Where is the parcel? Track the shipment of an order and see when it should arrive."""
    return open_shop().track_shipment(order_number)


@tool(repeatable=True)
def list_orders(email: Email) -> str:
    """List which orders a customer has placed, newest first, when there is an email address but no order number."""
    return open_shop().list_orders(email)


# Nobody can know what a customer has written since, so an interrupted change is not made again without asking.


@tool
def change_address(
    order_number: OrderNumber,
    address: Annotated[str, "The new delivery address (street, number, town)", Field(min_length=5, max_length=200)],
) -> str:
    """Send an order to another address: change where it will be delivered."""
    return open_shop().change_address(order_number, address)


@tool
def start_return(order_number: OrderNumber, reason: Annotated[Reason, "Why it goes back"]) -> str:
    """Return an order: send it back because it arrived broken, is wrong or no longer wanted."""
    return open_shop().start_return(order_number, reason)


# A refund moves money, so a person is asked first. It is repeatable all the same: the shop files each refund under the
# key of its call and pays out once per key, so a repeated call gets the first one's answer. Without the key it would
# have to stay False, and a crash at the wrong moment would be a question to a person.
@tool(approval_mode="always_require", repeatable=True)
def refund(
    order_number: OrderNumber,
    context: ToolContext,
    amount: Annotated[
        Decimal | None,
        "How many euros to pay back; left out, all that was paid and not refunded yet",
        Field(gt=0, decimal_places=2),
    ] = None,
) -> str:
    """Refund an order: pay money back to the card it was paid with."""
    return open_shop().refund(order_number, amount, context.idempotency_key)


@tool(approval_mode="always_require")
def freeze_account(email: Email) -> str:
    """Freeze a customer's account, so that nobody can order or get refunds with it."""
    return open_shop().freeze_account(email)


@tool
def report_case(
    suspicion: Annotated[Suspicion, "What seems to have happened"],
    order_number: OrderNumber | None = None,
    note: Annotated[str, "What else the fraud team should know, in one or two sentences", Field(max_length=500)] = "",
) -> str:
    """Report fraud: open a case for the fraud team, who call the customer back."""
    return open_shop().report_case(suspicion, order_number, note)


triage = Agent(
    "triage",
    description="First contact: greetings, general questions about the shop, opening hours, payment, contact.",
    instructions=(
        "You are the first contact at the support desk of Nordhus, a small shop for kitchenware and things for the "
        "home. Answer general questions from what you know. Hand over as soon as it is about an order, a parcel or "
        "an address (orders), or about sending something back, getting money back or a payment that looks wrong "
        "(returns). Do not ask for an order number first: your colleagues do. Never promise what you do not know."
    ),
    knowledge=[
        "We are open Monday to Friday from 9:00 to 17:00, Central European Time; this desk answers around the clock.",
        "You can reach a person by phone on +47 21 00 00 42 during opening hours, or by email at help@nordhus.example.",
        "You can pay by card, PayPal, Klarna or bank transfer.",
        "We deliver to all countries of the European Union, Norway, Switzerland and the United Kingdom.",
        "Shipping costs 6.00 EUR, and nothing for orders over 75.00 EUR.",
        "Gift cards can be bought for any amount from 10.00 EUR and are valid for three years.",
        "Gift wrapping costs 4.00 EUR and can be chosen at checkout.",
        "You do not need an account to order, but with one you see all your orders in one place.",
        "To reset your password, choose 'Forgot password' on the login page; the link we send is valid for one hour.",
        "Our shop and showroom are at Bryggegata 9 in Oslo, open on Saturdays from 10:00 to 16:00 too.",
        "I can help with general questions, and bring in my colleagues for orders, returns and refunds.",
    ],
    examples=[
        "hello, can you help me?",
        "what are your opening hours?",
        "how can I pay?",
        "do you deliver to Switzerland?",
        "can I talk to a real person?",
        "how do I reset my password?",
        "do you sell gift cards?",
        "how much is shipping?",
    ],
)

orders = Agent(
    "orders",
    description="Orders and deliveries: order status, where a parcel is, when it comes, delivery address, past orders.",
    instructions=(
        "You look after orders and deliveries at Nordhus. Look things up with your tools instead of guessing; ask "
        "for the order number, or for the email address if the customer does not have it. Tell what you found in "
        "one or two sentences. Hand over to returns when the customer wants to send something back, wants money "
        "back or did not place the order, and to triage for anything else."
    ),
    tools=[find_order, track_shipment, list_orders, change_address],
    knowledge=[
        "The order number is on the receipt that we sent by email.",
        "Delivery takes 2 to 4 working days in Scandinavia and 3 to 7 in the rest of Europe.",
        "Orders placed before 14:00 on a working day leave our warehouse the same day.",
        "We ship with PostNord in Scandinavia and with DHL elsewhere.",
        "We send a tracking link by email when the parcel leaves our warehouse.",
        "The delivery address can be changed until the parcel leaves our warehouse.",
        "An order can be cancelled on the website until it is packed; after that, refuse the parcel or send it back.",
        "A parcel that is more than ten working days late counts as lost, and we send it again or refund it.",
        "If nobody is at home, the carrier tries again on the next working day and then leaves it at a pick-up point.",
        "Express delivery on the next working day costs 15.00 EUR and is available in Norway and Sweden.",
    ],
    examples=[
        "where is my order?",
        "my parcel has not arrived yet",
        "when will A-1042 be delivered?",
        "what is the status of my order?",
        "can you track my package?",
        "I moved, please send it to another address",
        "which orders have I placed?",
        "can I cancel my order?",
    ],
)

returns = Agent(
    "returns",
    description="Returns and refunds: sending something back, broken or wrong items, getting money back.",
    instructions=(
        "You look after returns and refunds at Nordhus. Ask for the order number if you do not have it, and for "
        "the reason of a return. A refund needs the approval of a colleague, which is asked for when you call the "
        "tool: call it, and do not say that money was paid back before the result says so. Hand over to orders for "
        "questions about a delivery, to triage for anything else, and to fraud at once when the customer says that "
        "somebody else ordered, paid or logged in, or reports a suspicious message."
    ),
    tools=[start_return, refund],
    knowledge=[
        "You can send anything back within 30 days of delivery, used or not, as long as it is clean and complete.",
        "Returns are free: write the return number on the parcel and hand it in at any PostNord or DHL point.",
        "A refund reaches your card within 5 working days after we have approved it.",
        "Money goes back the way it was paid: to the card, PayPal or Klarna account, or the bank account.",
        "If something arrived broken or is the wrong item, keep it until the replacement or the refund is settled.",
        "You can exchange an item for another size or colour: send it back and place a new order.",
        "Gift cards and knives that were used cannot be returned.",
        "All our products have a guarantee of two years; the cast-iron pots have one of twenty-five.",
        "We refund the shipping costs too if the whole order goes back.",
        "You need the order number for a return; the packaging does not have to be the original one.",
    ],
    examples=[
        "I want to return my order",
        "my mug arrived broken",
        "I want my money back",
        "please refund A-1044",
        "you sent me the wrong item",
        "how long does a refund take?",
        "can I send the kettle back?",
        "I was charged for something that is not right",
    ],
)

fraud = Agent(
    "fraud",
    description="Fraud and security: orders the customer did not place, stolen cards, hacked accounts, odd messages.",
    instructions=(
        "You look after fraud and security at Nordhus. Stay calm and brief. Report a case for what the customer "
        "tells you; freeze the account when somebody else may be using it, which needs the approval of a "
        "colleague. Say what was done and that a person calls back. Never ask for card numbers or passwords."
    ),
    tools=[report_case, freeze_account],
    knowledge=[
        "We never ask for your password or your whole card number, neither by email nor by phone.",
        "If your card was used by somebody else, have your bank block it first; then we take back the order.",
        "A frozen account can neither order nor get refunds until our fraud team has spoken to you.",
        "Our fraud team calls back within one working day.",
        "You do not pay for an order that somebody else placed in your name.",
        "Forward suspicious emails to fraud@nordhus.example and do not open their links.",
        "Our emails always come from an address that ends in @nordhus.example.",
        "Choose a new password if you have used the same one elsewhere, and log out of all devices.",
    ],
    examples=[
        "I did not place this order",
        "somebody used my credit card",
        "my account was hacked",
        "I got a suspicious email from you",
        "there is a charge I do not recognise",
        "freeze my account, someone else is logged in",
        "somebody ordered something in my name",
    ],
)

# Only returns can hand over to fraud, so triage is told to send these there.
ALSO = "And payments or charges that look wrong, or somebody else in the account."

# Fraud leads nowhere: what is told there is for a person to take up, and the conversation ends with it.
workflow = (
    HandoffBuilder(name="support", participants=[triage, orders, returns, fraud])
    .with_start_agent(triage)
    .with_terminal_agents([fraud])
    .add_handoff(triage, orders)
    .add_handoff(triage, returns, description=f"{returns.description} {ALSO}")
    .add_handoff(orders, [triage, returns])
    .add_handoff(returns, [triage, orders])
    .add_handoff(
        returns, fraud, description="when somebody else ordered, paid or logged in, or a message is suspicious"
    )
    .build()
)

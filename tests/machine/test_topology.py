"""Edges and the names of handoff tools."""

import re

from hypothesis import given
from hypothesis import strategies as st

from relayline.machine.topology import Edge, mesh, tool_name, tool_names


def test_a_mesh_leads_from_everyone_to_everyone_else() -> None:
    """No edge leads to its own source, and the order is the declared one."""
    assert mesh(["a", "b", "c"]) == (
        Edge("a", "b"),
        Edge("a", "c"),
        Edge("b", "a"),
        Edge("b", "c"),
        Edge("c", "a"),
        Edge("c", "b"),
    )


def test_a_plain_name_is_kept() -> None:
    """The tool for `orders` is called what everybody expects."""
    assert tool_names(["orders", "a-b_1"]) == {"orders": "handoff_to_orders", "a-b_1": "handoff_to_a-b_1"}


def test_names_that_look_alike_to_a_provider_are_told_apart() -> None:
    """`sales team` and `sales_team` both work in one team, and so do names without any Latin letter."""
    names = tool_names(["sales_team", "sales team", "客服", "退款"])
    assert names["sales_team"] == "handoff_to_sales_team"
    assert names["sales team"].startswith("handoff_to_sales_team_")
    assert len(set(names.values())) == 4


@given(st.lists(st.text(min_size=1, max_size=90), unique=True, max_size=8))
def test_any_names_get_tools_that_every_provider_takes(agents: list[str]) -> None:
    """Whatever agents are called: 64 characters at most, plain ones only, no two alike, the same every time."""
    names = tool_names(agents)
    assert len(set(names.values())) == len(agents)
    assert all(re.fullmatch(r"[a-zA-Z0-9_-]{12,64}", name) for name in names.values())
    assert names == tool_names(agents)


def test_whatever_a_model_called_is_shown_back_under_a_name_every_provider_takes() -> None:
    """Plain characters, a letter or an underscore first, 64 at most; a name that is one already is kept."""
    written = ["find_order", "_x", "2fa", "-v", "", "a b", "客服", "9" * 80, "x" * 80]
    names = [tool_name(each) for each in written]
    assert names[:5] == ["find_order", "_x", "_2fa", "_-v", "unnamed"]
    assert all(re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_-]{0,63}", name) for name in names)

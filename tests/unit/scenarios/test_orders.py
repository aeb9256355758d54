from math import factorial

from kvmprobe.scenarios.orders import restore_orders, with_one_more


def test_one_more_goes_to_every_place_from_first_to_last():
    assert list(with_one_more("ab", "x")) == [("x", "a", "b"), ("a", "x", "b"), ("a", "b", "x")]


def test_three_calls_and_an_anchor_have_thirty_orders():
    # 3! orders without it, 4! with it
    assert len(restore_orders("abc", "x")) == factorial(3) + factorial(4)


def test_no_order_occurs_twice():
    orders = restore_orders("abc", "x")
    assert len(set(orders)) == len(orders)


def test_the_orders_do_not_depend_on_how_the_calls_are_given():
    assert restore_orders(("b", "a"), "x") == restore_orders(("a", "b"), "x")

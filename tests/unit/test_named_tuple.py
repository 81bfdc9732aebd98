"""Our NamedTuple does what typing's does, with the first object of a class, the fifth, and the hundredth."""

from __future__ import annotations

import collections
import copy
import importlib
import pickle
import pkgutil
import sys
import typing
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import batchctl
from batchctl import named_tuple

# Made by each in turn, in a module of its own, so that annotations are looked up there.
SOURCE = '''
from __future__ import annotations
import typing

class Point(NamedTuple):
    """Where it is."""
    x: int
    y: int | None
    name: str = "p"
    tags: tuple[str, ...] = ()
    LIMIT: typing.ClassVar = 3

    @property
    def sum(self) -> int:
        return self.x + (self.y or 0)

    @classmethod
    def origin(cls) -> Point:
        return cls(0, 0)

class Named(Point):
    __slots__ = ()
    def __str__(self) -> str:
        return f"{self.name}: {super().__repr__()}"

class Empty(NamedTuple):
    pass
'''


def made_by(maker: Any, name: str) -> Any:
    module = type(sys)(name)
    module.__dict__["NamedTuple"] = maker
    sys.modules[name] = module
    exec(compile(SOURCE.replace("    LIMIT: typing.ClassVar = 3\n", ""), name, "exec"), module.__dict__)
    return module


THEIRS = made_by(typing.NamedTuple, "points_of_typing")


@pytest.fixture(params=[0, 4, 100], ids=lambda used: f"after {used} objects")
def ours(request: pytest.FixtureRequest) -> Any:
    module = made_by(named_tuple.NamedTuple, "points_of_ours")
    for _ in range(request.param):
        module.Point(1, 2)
    return module


# name: what is done with the module, its value or its error being compared
USES: dict[str, Any] = {
    "by position": lambda m: m.Point(1, 2, "q", ("a",)),
    "by name": lambda m: m.Point(y=1, x=2, tags=("b",)),
    "with defaults": lambda m: m.Point(1, y=2),
    "a subclass": lambda m: (m.Named(1, 2), str(m.Named(1, 2)), type(m.Named(1, 2)).__name__),
    "a subclass, and its base": lambda m: (type(m.Named(1, 2)).__name__, type(m.Point(1, 2)).__name__),
    "nothing in it": lambda m: (m.Empty(), m.Empty._fields, repr(m.Empty())),
    "a class method": lambda m: m.Point.origin(),
    "a property": lambda m: m.Point(3, None).sum,
    "fields": lambda m: (m.Point._fields, m.Point._field_defaults, m.Point.__match_args__),
    "its text": lambda m: repr(m.Point(1, None, "it's")),
    "its document": lambda m: m.Point.__doc__,
    "as a dict": lambda m: m.Point(1, 2)._asdict(),
    "made": lambda m: m.Point._make([1, 2, "n", ()]),
    "made, too short": lambda m: m.Point._make([1, 2]),
    "made, too long": lambda m: m.Point._make(range(5)),
    "replaced": lambda m: m.Point(1, 2)._replace(name="r", x=9),
    "replaced in a subclass": lambda m: type(m.Named(1, 2)._replace(x=0)).__name__,
    "one too many": lambda m: m.Point(1, 2, "n", (), 5),
    "one too few": lambda m: m.Point(1),
    "none": lambda m: m.Point(),
    "an unknown name": lambda m: m.Point(1, 2, z=3),
    "an unknown name, one too few": lambda m: m.Point(1, z=3),
    "twice": lambda m: m.Point(1, 2, x=3),
    "equal": lambda m: m.Point(1, 2) == (1, 2, "p", ()),
    "its hash": lambda m: hash(m.Point(1, 2)) == hash((1, 2, "p", ())),
    "order": lambda m: m.Point(1, 2) < m.Point(1, 3),
    "unpacked": lambda m: [*m.Point(1, 2)],
    "by index": lambda m: m.Point(1, 2)[1],
    "by the quick way": lambda m: tuple.__new__(m.Point, (1, 2, "n", ())).name,
    "copied": lambda m: (copy.copy(m.Point(1, 2)), copy.deepcopy(m.Point(1, 2))),
    "pickled": lambda m: pickle.loads(pickle.dumps(m.Point(1, 2))),
    "hints": lambda m: typing.get_type_hints(m.Point),
    "set": lambda m: setattr(m.Point(1, 2), "x", 5),
    "set, of another name": lambda m: setattr(m.Point(1, 2), "other", 5),
    "a dict of its own": lambda m: m.Point(1, 2).__dict__,
    "its class": lambda m: (type(m.Point).__name__, m.Point.__mro__[-2:], issubclass(m.Point, tuple)),
    "its place": lambda m: (m.Point.__qualname__, m.Point.__name__),
}


def outcome(use: Any, module: Any) -> tuple[str, Any]:
    try:
        value = use(module)
        return type(value).__name__, value
    except (AttributeError, TypeError, ValueError) as error:
        return "error", type(error)


@pytest.mark.parametrize("name", USES)
def test_what_typings_does(ours: Any, name: str) -> None:
    use = USES[name]
    theirs = outcome(use, THEIRS)
    assert outcome(use, ours) == theirs
    assert outcome(use, ours) == theirs  # and once more


def test_wrong_arguments_are_named(ours: Any) -> None:
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'y'"):
        ours.Point(1)
    with pytest.raises(TypeError, match="unexpected keyword argument 'z'"):
        ours.Point(1, 2, z=3)
    with pytest.raises(TypeError, match=r"Point has no field 'z'"):
        ours.Point(1, 2)._replace(z=3)
    with pytest.raises(TypeError, match="Point has 4 fields, not 2"):
        ours.Point._make((1, 2))


def test_a_match_by_position_and_by_name(ours: Any) -> None:
    match ours.Point(1, 2, "n"):
        case ours.Point(x, y, name=name):
            assert (x, y, name) == (1, 2, "n")
        case _:
            pytest.fail("no match")


@given(
    st.lists(st.integers(), max_size=6), st.dictionaries(st.sampled_from(["x", "y", "name", "tags", "z"]), st.none())
)
def test_any_arguments(values: list[int], named: dict[str, None]) -> None:
    fresh = made_by(named_tuple.NamedTuple, "points_of_ours")
    for _ in range(6):
        assert outcome(lambda m: m.Point(*values, **named), fresh) == outcome(
            lambda m: m.Point(*values, **named), THEIRS
        )


def test_no_class_of_ours_is_made_by_typing() -> None:
    """The guest's are: it is zipped alone."""
    for found in pkgutil.walk_packages(batchctl.__path__, "batchctl."):
        if found.name.startswith("batchctl.guest") or found.name == "batchctl.__main__":
            continue
        module = importlib.import_module(found.name)
        for value in vars(module).values():
            if isinstance(value, type) and hasattr(value, "_field_defaults") and value.__module__ == found.name:
                assert "_make" not in vars(value), f"{value} is made by typing.NamedTuple or namedtuple()"
                # What typing refuses when a class is made, ours does when the fifth object is.
                made = collections.namedtuple("made", value._fields, defaults=value._field_defaults.values())
                assert made._field_defaults == value._field_defaults, f"{value}: a field without a default comes last"
                assert value.__new__.__qualname__.startswith(("_Maker.", f"{value.__name__}.")), value

"""`NamedTuple`: typing's to whoever reads, checks or uses a class of values, made in a tenth of the time.

For each class typing.NamedTuple compiles the annotation of every field and a constructor. A start makes 140 such
classes and an object or two of half of them, which came to a sixth of its time (`python -m tests.bench.named_tuple`).
Here the annotations stay text, and the constructor, which is the standard library's, is made for the fifth object.
"""

from __future__ import annotations

import collections
from operator import itemgetter

__all__ = ["NamedTuple"]

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, NamedTuple, Tuple
else:
    _read_at = getattr(collections, "_tuplegetter", None)  # what namedtuple() uses: a third of a property's time

    _FEW = 4

    _readers: Dict[int, Any] = {}

    def _reader(index: int) -> Any:
        if index not in _readers:
            _readers[index] = _read_at(index, "") if _read_at else property(itemgetter(index))
        return _readers[index]

    class _Values(tuple):
        """What all of them can do; `_fields`, `_field_defaults` and `__match_args__` are each class's own."""

        __slots__ = ()

        @classmethod
        def _make(cls, values: Any) -> Any:
            made = tuple.__new__(cls, values)
            if len(made) != len(cls._fields):
                raise TypeError(f"{cls.__name__} has {len(cls._fields)} fields, not {len(made)}")
            return made

        def _replace(self, /, **changes: Any) -> Any:
            made = self._make(map(changes.pop, self._fields, self))
            if changes:
                raise TypeError(f"{type(self).__name__} has no field {', '.join(map(repr, changes))}")
            return made

        def _asdict(self) -> Dict[str, Any]:
            return dict(zip(self._fields, self))

        def __repr__(self) -> str:
            inside = ", ".join(f"{name}={value!r}" for name, value in zip(self._fields, self))
            return f"{type(self).__name__}({inside})"

        def __getnewargs__(self) -> Tuple[Any, ...]:
            return tuple(self)

    class _Maker(type):
        def __new__(mcs, name: str, bases: Tuple[type, ...], namespace: Dict[str, Any]) -> type:
            fields = tuple(namespace.get("__annotations__", ()))
            defaults = {field: namespace[field] for field in fields if field in namespace}
            readers = {field: _reader(index) for index, field in enumerate(fields)}
            objects = 0

            def of_few(cls: type, /, *values: Any, **named: Any) -> Any:
                nonlocal objects
                objects += 1
                others = fields[len(values) :]
                if objects <= _FEW and len(values) + len(others) == len(fields) and named.keys() <= {*others}:
                    given = {**defaults, **named}
                    if given.keys() >= {*others}:
                        return tuple.__new__(cls, (*values, *map(given.__getitem__, others)))
                # From now on, or for what it has to say about arguments that do not fit.
                new = collections.namedtuple(name, fields, defaults=defaults.values()).__new__
                made.__new__ = staticmethod(new)
                return new(cls, *values, **named)

            own = {"_fields": fields, "_field_defaults": defaults, "__match_args__": fields, "__new__": of_few}
            made = type(name, (_Values, *bases[1:]), {"__slots__": (), **namespace, **own, **readers})
            return made

    NamedTuple = type.__new__(_Maker, "NamedTuple", (), {})

"""What the vendors' schemas are made of: a rule that knows the vendor's code, and its field.

marshmallow formats a field's messages into plain strings; here a message is a `Rule`, a string
that also carries the code the vendor would have answered with, and it survives unformatted.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Self, cast

from marshmallow import INCLUDE, Schema, ValidationError, fields, missing, validates_schema

from worker.errors import InvalidRecord

MAX_ERRORS = 20  # fields named in one refusal: a hostile record must not make a huge response
#: Milliseconds have been above this since 1973, seconds stay below it until the year 5138.
MAX_TS_S = 10**11
_MAX_PATH_CHARS = 160  # the longest allowed key (120) and the path to it

FieldErrors = dict[str, list["Rule"]]


class Rule(str):
    """A broken rule in words, with the vendor's own code if it has one."""

    __slots__ = ("code",)
    code: int | None

    def __new__(cls, text: str, code: int | None = None) -> Self:
        rule = super().__new__(cls, text)
        rule.code = code
        return rule


#: The rules that a value breaks: one for it all, or several by path inside it.
Broken = FieldErrors | Rule | None


class RuleField(fields.Field[Any]):
    """A field that returns its value unchanged and reports `Rule`s, codes included.

    ``check`` names the schema's method that returns what is broken, given value and record.
    """

    def __init__(self, missing: Rule, check: str = "", **kwargs: Any) -> None:
        super().__init__(error_messages={"required": missing, "null": missing}, **kwargs)
        self.check = check

    def _deserialize(self, value: Any, attr: str | None, data: Any, **_: Any) -> Any:
        del attr
        if found := getattr(self.parent, self.check)(value, data):
            raise ValidationError([found] if isinstance(found, Rule) else found)
        return value

    def make_error(self, key: str, **_: Any) -> ValidationError:
        """Make marshmallow's error without the formatting, which would make a Rule a string."""
        return ValidationError([self.error_messages[key]])


class RuleSchema(Schema):
    """A schema of `RuleField`s, and of one pass over the record as a whole."""

    class Meta:
        """Let unknown keys pass: the vendors take them."""

        unknown = INCLUDE

    def __init__(self) -> None:
        super().__init__()
        self._looks = tuple(
            (name, field.required, field.allow_none, getattr(self, cast("RuleField", field).check))
            for name, field in self.fields.items()
        )

    def broken(self, record: Mapping[Any, Any]) -> FieldErrors:
        """Return the rules that the record breaks as a whole, whatever its fields hold."""
        raise NotImplementedError

    @validates_schema(skip_on_field_errors=False)
    def _check_whole(self, data: dict[Any, Any], **_: Any) -> None:
        if errors := self.broken(data):
            raise ValidationError(errors)

    def is_fine(self, record: Mapping[Any, Any]) -> bool:
        """Return whether a load would raise nothing, by the same rules.

        It leaves out what marshmallow does around them, more than half of an event's load
        (docs/decisions/0010).
        """
        for name, required, allow_none, broken in self._looks:
            value = record.get(name, missing)
            if value is missing:
                if required:
                    return False
            elif not allow_none if value is None else broken(value, record):
                return False
        return not self.broken(record)


def check(schema: RuleSchema, record: Mapping[str, Any]) -> None:
    """Raise InvalidRecord, with the first code, if the record breaks a rule.

    Only then does marshmallow go over it, to list every broken rule by its dotted path.
    """
    if schema.is_fine(record) or not (messages := schema.validate(record)):
        return
    found: dict[str, list[str]] = {}
    code = None
    for path, rule in _flat(messages, ""):
        if len(found) < MAX_ERRORS or path in found:
            found.setdefault(path, []).append(str(rule))
        if code is None:
            code = getattr(rule, "code", None)
    raise InvalidRecord(found, code)


def _flat(messages: Any, path: str) -> Iterator[tuple[str, str]]:
    """Walk marshmallow's nested messages; our own are at most two levels deep."""
    if isinstance(messages, Mapping):
        for key, inner in messages.items():
            yield from _flat(inner, join(path, key))
    elif isinstance(messages, list):
        for inner in messages:
            yield from _flat(inner, path)
    else:
        yield path or "record", messages


def add(errors: FieldErrors, path: str, found: FieldErrors | Rule) -> None:
    """Add what is broken at ``path``."""
    if isinstance(found, Rule):
        errors.setdefault(path, []).append(found)
        return
    for inner, broken in found.items():
        errors.setdefault(join(path, inner) if inner else path, []).extend(broken)


def collect(found: Iterable[tuple[object, Broken]]) -> FieldErrors | None:
    """Return what is broken under each key, as far as it is reported."""
    errors: FieldErrors = {}
    for key, broken in found:
        if broken:
            add(errors, join("", key), broken)
            if len(errors) >= MAX_ERRORS:
                break
    return errors or None


def join(path: str, key: object) -> str:
    """Return the path of a key inside ``path``: printable and bounded, whatever the key is."""
    if len(path) > _MAX_PATH_CHARS:
        return path  # deep inside: the way there is long enough to find it by
    if isinstance(key, str):
        name = str.encode(key, "utf-8", "backslashreplace").decode()
        name = name if len(name) <= _MAX_PATH_CHARS else name[:_MAX_PATH_CHARS] + "..."
    else:
        name = f"{key:d}" if type(key) is int and abs(key) < 10**18 else f"({type(key).__name__})"
    return f"{path}.{name}" if path else name

"""Flags of a program's command line: TensorFlow 1's ``tf.flags``, in the manners of absl.

>>> from graphrun import flags
>>> values = flags.FlagValues()
>>> _ = flags.DEFINE_integer("steps", 100, "how many steps", lower_bound=1, flag_values=values)
>>> _ = flags.DEFINE_boolean("train", True, "whether to train", flag_values=values)
>>> values(["prog", "--steps=5", "--notrain", "data.txt"])
['prog', 'data.txt']
>>> values.steps, values.train
(5, False)
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from difflib import get_close_matches
from enum import Enum
from pathlib import Path
from textwrap import indent, wrap
from typing import Any

from graphrun.errors import GraphrunError, message

_UNSET = object()


class Error(GraphrunError):
    """Base of what can be wrong with flags."""


class DuplicateFlagError(Error):
    """A flag is defined twice."""


class UnrecognizedFlagError(Error, AttributeError):
    """A flag is named that nobody has defined."""


class IllegalFlagValueError(Error, ValueError):
    """A flag is given a value that it cannot have."""


class UnparsedFlagAccessError(Error):
    """A flag is read while the command line has not been read."""


class ValidationError(Error, ValueError):
    """A check that was registered for a flag does not hold."""


class Flag:
    """One flag: its name, how its text is read, and its value."""

    def __init__(
        self, parse: Callable[[Any], Any], kind: str, name: str, default: Any, help: str | None,
        short_name: str | None = None, boolean: bool = False, multi: bool = False,
    ) -> None:  # fmt: skip
        self.parse, self.kind = parse, kind
        self.name, self.short_name = name, short_name
        self.help = help or "(no help available)"
        self.boolean, self.multi = boolean, multi
        self.present = 0
        self.checks: list[tuple[Callable[[Any], Any], str]] = []
        self.set_default(default)

    def set_default(self, default: Any) -> None:
        self.default: Any = None if default is None else self.read_all(default)
        self.unset()

    def unset(self) -> None:
        """Back to the default, as before the command line was read."""
        self.present = 0
        self.value: Any = list(self.default) if isinstance(self.default, list) else self.default

    def read(self, text: Any) -> Any:
        try:
            return self.parse(text)
        except (ValueError, TypeError) as error:
            raise IllegalFlagValueError(f"flag --{self.name}={text}: {error}") from None

    def read_all(self, value: Any) -> Any:
        if not self.multi:
            return self.read(value)
        several = value if isinstance(value, list | tuple) else [value]
        return [self.read(v) for v in several]

    def give(self, text: Any) -> None:
        """A value from the command line; of a flag that may be repeated, one more."""
        found = self.read(text)
        if self.multi:
            self.value = [*self.value, found] if self.present else [found]
        else:
            self.value = found
        self.present += 1

    def check(self) -> None:
        for holds, text in self.checks:
            if not holds(self.value):
                raise IllegalFlagValueError(f"flag --{self.name}={self.value}: {text}")

    def described(self) -> str:
        """The lines of it in the help text."""
        names = f"-{self.short_name}," if self.short_name else ""
        head = f"{names}--{'[no]' if self.boolean else ''}{self.name}: {self.help}"
        lines = wrap(head, 76, subsequent_indent="  ")
        if self.multi:
            lines.append("  repeat this option to specify a list of values")
        if self.default is not None:
            text = _text(self.default) if isinstance(self.default, bool) else f"{_text(self.default)!r}"
            lines.append(f"  (default: {text})")
        if self.kind:
            lines.append(f"  ({self.kind})")
        return indent("\n".join(lines), "  ")


def _text(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    return ",".join(map(str, value)) if isinstance(value, list) else value


class FlagHolder:
    """What a definition returns: the flag's name and its value."""

    def __init__(self, values: FlagValues, name: str) -> None:
        self._values, self.name = values, name

    @property
    def value(self) -> Any:
        return getattr(self._values, self.name)

    @property
    def default(self) -> Any:
        return self._values[self.name].default

    @property
    def present(self) -> int:
        return self._values[self.name].present


class FlagValues:
    """Flags by name; called with a command line it reads that.

    Attributes are the flags' values.  The first one that is read before anybody has read the command line
    has ``sys.argv`` read, as in TensorFlow.
    """

    def __init__(self) -> None:
        self.__dict__["_flags"] = {}
        self.__dict__["_parsed"] = False

    # -- flags by name --------------------------------------------------------------------------------

    def _all(self) -> dict[str, Flag]:
        found: dict[str, Flag] = self.__dict__["_flags"]
        return found

    def __setitem__(self, name: str, flag: Flag) -> None:
        for known in (name, flag.short_name):
            if known in self._all():
                raise DuplicateFlagError(
                    message(f"the flag '{known}' is defined twice", got=f"first: {self._all()[known].help}",
                            fix="define it in one place, or take it away with FLAGS.__delattr__(name)")
                )  # fmt: skip
        if hasattr(type(self), name):
            raise Error(message(f"a flag cannot be called '{name}'", got="FLAGS has a method of that name"))
        self._all()[name] = flag
        if flag.short_name:
            self._all()[flag.short_name] = flag

    def __getitem__(self, name: str) -> Flag:
        flag = self._all().get(name)
        if flag is None:
            raise UnrecognizedFlagError(self._unknown(name))
        return flag

    def __contains__(self, name: object) -> bool:
        return name in self._all()

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def __dir__(self) -> list[str]:
        return sorted([*super().__dir__(), *self._all()])

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        flag = self[name]
        if not self.is_parsed():
            self(sys.argv)
        return flag.value

    def __setattr__(self, name: str, value: Any) -> None:
        flag = self[name]
        flag.value = value
        flag.present += 1
        flag.check()

    def __delattr__(self, name: str) -> None:
        flag = self[name]
        for known in [n for n, f in self._all().items() if f is flag]:
            del self._all()[known]

    def _unknown(self, name: str) -> str:
        near = get_close_matches(name, self._all(), n=1)
        return f"Unknown command line flag '{name}'" + (f". Did you mean: {near[0]} ?" if near else "")

    # -- the command line -----------------------------------------------------------------------------

    def __call__(self, argv: Sequence[str], known_only: bool = False) -> list[str]:
        """Read a command line, and return what is not a flag, the program's name first.

        Parameters
        ----------
        argv : list of str
        known_only : bool
            Whether flags that nobody has defined are returned too, instead of an error.

        Raises
        ------
        UnrecognizedFlagError, IllegalFlagValueError, Error
        """
        if not argv:
            raise ValueError("argv cannot be an empty list; its first entry is the program's name")
        for known in self._all().values():
            known.unset()
        rest = [argv[0]]
        unknown: list[str] = []
        words = iter(argv[1:])
        for word in words:
            if word == "--":
                rest += [word, *words] if known_only else words
                break
            if not word.startswith("-") or word == "-":
                rest.append(word)
                continue
            name, given, text = word.lstrip("-").partition("=")
            flag = self._all().get(name)
            negated = self._all().get(name[2:]) if flag is None and name.startswith("no") else None
            if negated is not None and negated.boolean:
                if given:
                    raise IllegalFlagValueError(f"{word} does not take an argument")
                negated.give(False)
            elif flag is None:
                unknown.append(name)
                rest.append(word)
            elif given or not flag.boolean:
                value = text if given else next(words, None)
                if value is None:
                    raise Error(f"Missing value for flag --{name}")
                flag.give(value)
            else:
                flag.give(True)
        if unknown and not known_only:
            raise UnrecognizedFlagError(self._unknown(unknown[0]))
        self.mark_as_parsed()
        self.validate_all_flags()
        return rest

    def is_parsed(self) -> bool:
        return bool(self.__dict__["_parsed"])

    def mark_as_parsed(self) -> None:
        self.__dict__["_parsed"] = True

    def unparse_flags(self) -> None:
        """Forget that the command line was read."""
        self.__dict__["_parsed"] = False

    def validate_all_flags(self) -> None:
        """Raise unless all checks hold."""
        for flag in self._all().values():
            flag.check()

    # -- all of them ----------------------------------------------------------------------------------

    def set_default(self, name: str, value: Any) -> None:
        """Another default, which is the value too unless the command line gives one."""
        flag = self[name]
        kept = flag.value, flag.present
        flag.set_default(value)
        if kept[1]:
            flag.value, flag.present = kept

    def get_flag_value(self, name: str, default: Any) -> Any:
        """The value; `default` where that is None or there is no such flag."""
        value = getattr(self, name) if name in self else None
        return default if value is None else value

    def flag_values_dict(self) -> dict[str, Any]:
        """The values by name."""
        return {name: flag.value for name, flag in self._all().items() if name == flag.name}

    def flags_into_string(self) -> str:
        """The values as lines of a command line."""
        lines = []
        for name, value in self.flag_values_dict().items():
            if isinstance(value, bool):
                lines.append(f"--{'' if value else 'no'}{name}")
            elif self[name].multi:
                lines += [f"--{name}={v}" for v in value or ()]
            elif value is not None:
                lines.append(f"--{name}={_text(value)}")
        return "".join(line + "\n" for line in lines)

    def get_help(self, prefix: str = "") -> str:
        """The help texts of all flags."""
        flags = sorted({id(f): f for f in self._all().values()}.values(), key=lambda f: f.name)
        return indent("\n".join(f.described() for f in flags), prefix)

    main_module_help = get_help

    def __repr__(self) -> str:
        return f"<gr.flags.FlagValues {self.flag_values_dict()}>"


FLAGS = FlagValues()


# -- definitions --------------------------------------------------------------------------------------


def _define(
    flag_values: FlagValues, required: bool, *args: Any, module_name: str | None = None, **more: Any
) -> FlagHolder:
    flag = Flag(*args, **more)
    if required and flag.default is not None:
        raise ValueError(f"required flag --{flag.name} cannot have a default value other than None")
    flag_values[flag.name] = flag
    if required:
        mark_flag_as_required(flag.name, flag_values)
    return FlagHolder(flag_values, flag.name)


def _bounded(number: Callable[[str], Any], kind: str, lower: Any, upper: Any) -> tuple[Any, str]:
    article = "an" if kind[0] in "aeiou" else "a"
    words = f"{article} {kind}"
    if lower is not None and upper is not None:
        words = f"{article} {kind} in the range [{lower}, {upper}]"
    elif lower == 0:
        words = f"a non-negative {kind}"
    elif lower == 1 and kind == "integer":
        words = f"a positive {kind}"
    elif lower is not None:
        words = f"{article} {kind} >= {lower}"
    elif upper is not None:
        words = f"{article} {kind} <= {upper}"

    def parse(text: Any) -> Any:
        value = number(text)
        if (lower is not None and value < lower) or (upper is not None and value > upper):
            raise ValueError(f"{value} is not {words}")
        return value

    return parse, words


def _integer(text: Any) -> int:
    if isinstance(text, str):
        bare = text.lower().lstrip("+-")
        return int(text, 16 if bare.startswith("0x") else 8 if bare.startswith("0o") else 10)
    if isinstance(text, bool) or int(text) != text:
        raise TypeError(f"expected an integer, not {text!r}")
    return int(text)


def _float(text: Any) -> float:
    if isinstance(text, bool):
        raise TypeError(f"expected a number, not {text!r}")
    return float(text)


def _boolean(text: Any) -> bool:
    if isinstance(text, str):
        if text.lower() in ("true", "t", "1", "yes", "y"):
            return True
        if text.lower() in ("false", "f", "0", "no", "n"):
            return False
    elif text in (0, 1):
        return bool(text)
    raise ValueError(f"{text!r} is not true or false")


def _items(text: Any, separator: str | None = ",") -> list[str]:
    if isinstance(text, list | tuple):
        return [str(t) for t in text]
    if not text:
        return []
    words = [w.strip() for w in str(text).split(separator)]
    return words


def _choice(values: Iterable[str], case_sensitive: bool) -> Callable[[Any], str]:
    known = list(values)

    def parse(text: Any) -> str:
        for value in known:
            if text == value or (not case_sensitive and str(text).lower() == value.lower()):
                return value
        raise ValueError(f"value should be one of <{'|'.join(known)}>")

    return parse


def DEFINE_string(
    name: str, default: str | None, help: str | None, flag_values: FlagValues = FLAGS,
    required: bool = False, **args: Any,
) -> FlagHolder:  # fmt: skip
    """Define a flag whose value is any text.

    Parameters
    ----------
    name : str
    default : value or None
    help : str
    flag_values : FlagValues
    required : bool
        Whether the command line has to give it.
    **args
        ``short_name``, one letter.

    Returns
    -------
    FlagHolder
    """
    return _define(flag_values, required, str, "", name, default, help, **args)


def DEFINE_integer(
    name: str, default: int | None, help: str | None, lower_bound: int | None = None,
    upper_bound: int | None = None, flag_values: FlagValues = FLAGS, required: bool = False, **args: Any,
) -> FlagHolder:  # fmt: skip
    """Define a flag whose value is a whole number within bounds; parameters of `DEFINE_string`."""
    parse, kind = _bounded(_integer, "integer", lower_bound, upper_bound)
    return _define(flag_values, required, parse, kind, name, default, help, **args)


def DEFINE_float(
    name: str, default: float | None, help: str | None, lower_bound: float | None = None,
    upper_bound: float | None = None, flag_values: FlagValues = FLAGS, required: bool = False, **args: Any,
) -> FlagHolder:  # fmt: skip
    """Define a flag whose value is a number within bounds; parameters of `DEFINE_string`."""
    parse, kind = _bounded(_float, "number", lower_bound, upper_bound)
    return _define(flag_values, required, parse, kind, name, default, help, **args)


def DEFINE_bool(
    name: str, default: Any, help: str | None, flag_values: FlagValues = FLAGS,
    module_name: str | None = None, required: bool = False, **args: Any,
) -> FlagHolder:  # fmt: skip
    """Define a flag that is true or false: ``--name``, ``--noname`` or ``--name=false``."""
    return _define(flag_values, required, _boolean, "", name, default, help, boolean=True, **args)


DEFINE_boolean = DEFINE_bool


def DEFINE_enum(
    name: str, default: str | None, enum_values: Iterable[str], help: str | None,
    flag_values: FlagValues = FLAGS, module_name: str | None = None, required: bool = False,
    case_sensitive: bool = True, **args: Any,
) -> FlagHolder:  # fmt: skip
    """Define a flag whose value is one of `enum_values`."""
    known = list(enum_values)
    text = f"<{'|'.join(known)}>: {help}"
    return _define(flag_values, required, _choice(known, case_sensitive), "", name, default, text, **args)


def DEFINE_enum_class(
    name: str, default: Any, enum_class: type[Enum], help: str | None, flag_values: FlagValues = FLAGS,
    module_name: str | None = None, case_sensitive: bool = False, required: bool = False, **args: Any,
) -> FlagHolder:  # fmt: skip
    """Define a flag whose value is a member of an `enum.Enum`, by name."""
    choose = _choice([m.name for m in enum_class], case_sensitive)

    def parse(text: Any) -> Enum:
        return text if isinstance(text, enum_class) else enum_class[choose(text)]

    shown = f"<{'|'.join(m.name.lower() for m in enum_class)}>: {help}"
    return _define(flag_values, required, parse, "", name, default, shown, **args)


def DEFINE_list(
    name: str, default: Any, help: str | None, flag_values: FlagValues = FLAGS, required: bool = False,
    **args: Any,
) -> FlagHolder:  # fmt: skip
    """Define a flag whose value is a list of texts, with commas between."""
    return _define(flag_values, required, _items, "a comma separated list", name, default, help, **args)


def DEFINE_spaceseplist(
    name: str, default: Any, help: str | None, comma_compat: bool = False, flag_values: FlagValues = FLAGS,
    required: bool = False, **args: Any,
) -> FlagHolder:  # fmt: skip
    """Define a flag whose value is a list of texts, with spaces between; or commas, with `comma_compat`."""

    def parse(text: Any) -> list[str]:
        return _items(text.replace(",", " ") if comma_compat and isinstance(text, str) else text, None)

    kind = "a whitespace separated list"
    return _define(flag_values, required, parse, kind, name, default, help, **args)


def _multi(parse: Callable[[Any], Any], kind: str) -> Callable[..., FlagHolder]:
    def define(
        name: str, default: Any, help: str | None, flag_values: FlagValues = FLAGS, required: bool = False,
        **args: Any,
    ) -> FlagHolder:  # fmt: skip
        return _define(flag_values, required, parse, kind, name, default, help, multi=True, **args)

    define.__doc__ = "Define a flag that may be repeated; its value is the list of what it was given."
    return define


DEFINE_multi_string = _multi(str, "")


def DEFINE_multi_integer(
    name: str, default: Any, help: str | None, lower_bound: int | None = None,
    upper_bound: int | None = None, flag_values: FlagValues = FLAGS, required: bool = False, **args: Any,
) -> FlagHolder:  # fmt: skip
    """Define a flag of whole numbers that may be repeated; its value is their list."""
    parse, kind = _bounded(_integer, "integer", lower_bound, upper_bound)
    return _multi(parse, kind)(name, default, help, flag_values, required, **args)


def DEFINE_multi_float(
    name: str, default: Any, help: str | None, lower_bound: float | None = None,
    upper_bound: float | None = None, flag_values: FlagValues = FLAGS, required: bool = False, **args: Any,
) -> FlagHolder:  # fmt: skip
    """Define a flag of numbers that may be repeated; its value is their list."""
    parse, kind = _bounded(_float, "number", lower_bound, upper_bound)
    return _multi(parse, kind)(name, default, help, flag_values, required, **args)


def DEFINE_alias(
    name: str, original_name: str, flag_values: FlagValues = FLAGS, module_name: str | None = None
) -> FlagHolder:
    """Give a flag a second name."""
    flag = flag_values[original_name]
    if name in flag_values:
        raise DuplicateFlagError(f"the flag '{name}' is defined twice")
    flag_values._all()[name] = flag
    return FlagHolder(flag_values, name)


# -- checks -------------------------------------------------------------------------------------------


def register_validator(
    flag_name: str, checker: Callable[[Any], Any], message: str = "Flag validation failed",
    flag_values: FlagValues = FLAGS,
) -> None:  # fmt: skip
    """Have ``checker(value)`` hold for a flag when the command line is read, and whenever it is set."""

    def holds(value: Any) -> bool:
        try:
            return bool(checker(value))
        except ValidationError as error:
            raise IllegalFlagValueError(f"flag --{flag_name}={value}: {error}") from None

    flag_values[flag_name].checks.append((holds, message))
    if flag_values.is_parsed():
        flag_values[flag_name].check()


def mark_flag_as_required(flag_name: str, flag_values: FlagValues = FLAGS) -> None:
    """Have a flag given: a value of None is an error when the command line is read."""
    text = f"Flag --{flag_name} must have a value other than None."
    register_validator(flag_name, lambda value: value is not None, text, flag_values)


def mark_flags_as_required(flag_names: Iterable[str], flag_values: FlagValues = FLAGS) -> None:
    """`mark_flag_as_required` for several flags."""
    for name in flag_names:
        mark_flag_as_required(name, flag_values)


def set_default(flag_holder: FlagHolder, value: Any) -> None:
    """Another default for a flag, by what its definition returned."""
    flag_holder._values.set_default(flag_holder.name, value)


def usage(flag_values: FlagValues = FLAGS) -> str:
    """The help text of the program that runs."""
    program = sys.argv[0] or Path(sys.executable).name
    main = getattr(sys.modules.get("__main__"), "__doc__", None)
    about = (main or "").replace("%s", program).strip() or f"USAGE: {program} [flags]"
    return f"\n{indent(about, '       ')}\nflags:\n\n{flag_values.get_help()}\n"

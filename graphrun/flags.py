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
from collections.abc import Callable, Iterable
from enum import Enum
from pathlib import Path
from textwrap import indent
from typing import Any

from graphrun.flag_values import FLAGS as FLAGS
from graphrun.flag_values import DuplicateFlagError as DuplicateFlagError
from graphrun.flag_values import Error as Error
from graphrun.flag_values import Flag as Flag
from graphrun.flag_values import FlagHolder as FlagHolder
from graphrun.flag_values import FlagValues as FlagValues
from graphrun.flag_values import IllegalFlagValueError as IllegalFlagValueError
from graphrun.flag_values import UnparsedFlagAccessError as UnparsedFlagAccessError
from graphrun.flag_values import UnrecognizedFlagError as UnrecognizedFlagError
from graphrun.flag_values import ValidationError as ValidationError

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

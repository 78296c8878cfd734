"""What flags are: their names, how a command line is read into values, and what is said of wrong ones."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from difflib import get_close_matches
from textwrap import indent, wrap
from typing import Any

from graphrun.errors import GraphrunError, message


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

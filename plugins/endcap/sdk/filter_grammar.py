r"""The filter grammar of AIP-160: text in, tree out.

::

    filter      = [ expression ]                      an empty filter is true everywhere
    expression  = sequence { "AND" sequence }
    sequence    = factor { factor }                   side by side means AND
    factor      = term { "OR" term }                  OR binds tighter than AND
    term        = [ "NOT" | "-" ] simple
    simple      = "(" expression ")" | restriction
    restriction = field operator argument | value
    argument    = value | "(" expression of values ")"
    operator    = "=" | "!=" | "<" | "<=" | ">" | ">=" | ":"
    value       = word | timestamp | text in double or single quotes

``AND``, ``OR`` and ``NOT`` are written in capitals. A field is a word; the values in parentheses after
an operator are compared with its field one by one, as in ``brand = ("Acme" OR "Zenith")``. Right after
an operator ``-`` is the sign of a number, everywhere else a negation. In a value
``*`` stands for any characters; ``\*``, ``\\``, ``\"`` and ``\'`` stand for the character itself. What
the fields are called and what their values mean is not the grammar's: see ``filter_fields``.

There are no functions. The limits below keep the time and the stack that any text can cost small.

Source: https://google.aip.dev/160 and its EBNF.
"""

import re
from typing import NamedTuple, NoReturn

from endcap.sdk.errors import InvalidInput
from endcap.sdk.filter_expression import And, Comparison, Expression, Literal, Not, Operator, Or, Value


MAX_LENGTH = 4_096
"""Characters of a filter."""

MAX_NESTING = 32
"""Parentheses within parentheses."""

MAX_CONDITIONS = 256
"""Comparisons and values of a filter."""

_SHOWN = 32  # characters of a filter that a message repeats at most


def parse(text: str) -> Expression:
    """Read a filter.

    Raises:
        InvalidInput: The filter breaks the grammar or is beyond a limit; the message names the position.
    """
    if len(text) > MAX_LENGTH:
        raise InvalidInput(
            f"filter has {len(text)} characters; at most {MAX_LENGTH} are allowed", field="filter"
        )
    return _Parser(_tokens(text)).filter()


def shown(text: str) -> str:
    """Return a part of a filter as a message may repeat it: quoted, escaped and short."""
    return repr(text if len(text) <= _SHOWN else text[:_SHOWN] + "…")


def refuse(problem: str, position: int) -> NoReturn:
    """Reject a filter for a problem at a position, which the message counts from 1.

    Raises:
        InvalidInput: Always.
    """
    raise InvalidInput(f"filter, character {position + 1}: {problem}", field="filter")


class _Token(NamedTuple):
    kind: str
    """The name of a group of ``_TOKEN``, or a keyword."""

    text: str
    position: int


_KEYWORDS = frozenset({"AND", "OR", "NOT"})
_STARTS_TERM = frozenset({"OPEN", "MINUS", "QUOTED", "WORD", "NOT"})

# Every quantifier over characters is possessive: nothing is ever tried twice, whatever the text.
_TOKEN = re.compile(
    r"""
    \s*+ (?:
      (?P<OPEN> \( )
    | (?P<CLOSE> \) )
    | (?P<OPERATOR> [<>!]= | [<>=:] )
    | (?P<MINUS> - )
    | (?P<QUOTED> " [^"\\]*+ (?: \\. [^"\\]*+ )*+ " | ' [^'\\]*+ (?: \\. [^'\\]*+ )*+ ' )
    | (?P<WORD> [0-9]{4}-[0-9]{2}-[0-9]{2} [Tt] [0-9]{2}:[0-9]{2}:[0-9]{2} (?: \.[0-9]++ )?
                (?: [Zz] | [+-][0-9]{2}:[0-9]{2} )   # the colons of a timestamp are no operators
              | (?: [^\s()<>=!:"',\\] | \\. )++ )
    | (?P<END> \Z )
    )
    """,
    re.VERBOSE | re.DOTALL,
)
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_PIECE = re.compile(r"\\(?P<escaped>.)|(?P<wildcard>\*)|(?P<plain>[^\\*]++)", re.DOTALL)


def _tokens(text: str) -> list[_Token]:
    if control := _CONTROL.search(text):
        refuse("a control character; remove it", control.start())
    tokens: list[_Token] = []
    end = 0
    while True:
        found = _TOKEN.match(text, end)
        if found is None:
            _refuse_character(text, end)
        kind, end = str(found.lastgroup), found.end()
        token, position = found[kind], found.start(kind)
        if kind == "WORD" and _is_sign(tokens, position):
            tokens[-1] = _Token("WORD", "-" + token, position - 1)
        else:
            tokens.append(_Token(token if token in _KEYWORDS else kind, token, position))
        if kind == "END":
            return tokens


def _refuse_character(text: str, position: int) -> NoReturn:
    position += len(text[position:]) - len(text[position:].lstrip())
    if text[position] in "\"'":
        refuse("the quote is not closed; close it, or put a backslash before it", position)
    refuse(f"{text[position]!r} cannot stand here; put texts that hold it in quotes", position)


def _is_sign(tokens: list[_Token], position: int) -> bool:
    """Return whether the last token is the sign of a value at a position, and no negation."""
    return (
        len(tokens) > 1
        and tokens[-1].kind == "MINUS"
        and tokens[-1].position == position - 1
        and tokens[-2].kind == "OPERATOR"
    )


class _Parser:
    """Reads tokens by recursive descent, as deep as parentheses nest; one method a rule of the grammar."""

    def __init__(self, tokens: list[_Token]) -> None:
        self._tokens = tokens
        self._index = 0
        self._nesting = 0
        self._conditions = 0
        self._compared: tuple[_Token, Operator] | None = None
        """The field and operator whose values in parentheses are being read."""

    def filter(self) -> Expression:
        if self._next.kind == "END":
            return And(())
        expression = self._expression()
        if self._next.kind != "END":
            self._refuse_next("cannot stand here")
        return expression

    def _expression(self) -> Expression:
        operands = self._sequence()
        while self._next.kind == "AND":
            self._take()
            operands += self._sequence()
        return operands[0] if len(operands) == 1 else And(tuple(operands))

    def _sequence(self) -> list[Expression]:
        factors = [self._factor()]
        while self._next.kind in _STARTS_TERM:
            before = self._tokens[self._index - 1]
            if before.position + len(before.text) == self._next.position:
                self._refuse_next("needs a space, AND or OR before it; there are no functions")
            factors.append(self._factor())
        return factors

    def _factor(self) -> Expression:
        terms = [self._term()]
        while self._next.kind == "OR":
            self._take()
            terms.append(self._term())
        return terms[0] if len(terms) == 1 else Or(tuple(terms))

    def _term(self) -> Expression:
        if self._next.kind not in {"NOT", "MINUS"}:
            return self._simple()
        negation = self._take()
        if negation.kind == "MINUS" and self._next.position != negation.position + 1:
            refuse(
                "'-' stands directly before what it negates; put a dash of a text in quotes",
                negation.position,
            )
        return Not(self._simple())

    def _simple(self) -> Expression:
        return self._group() if self._next.kind == "OPEN" else self._restriction()

    def _group(self) -> Expression:
        opening = self._take()
        if self._nesting == MAX_NESTING:
            refuse(f"parentheses nest more than {MAX_NESTING} deep", opening.position)
        self._nesting += 1
        expression = self._expression()
        self._nesting -= 1
        if self._next.kind != "CLOSE":
            self._refuse_next(f"cannot stand before the ')' of the '(' at character {opening.position + 1}")
        self._take()
        return expression

    def _restriction(self) -> Expression:
        token = self._next
        if token.kind not in {"WORD", "QUOTED"}:
            self._refuse_next("cannot stand where a condition must")
        if self._tokens[self._index + 1].kind != "OPERATOR":
            if token.kind == "WORD" and token.text.upper() in _KEYWORDS:
                self._refuse_next("is no operator; write it in capitals, or the word in quotes")
            return self._condition(self._compared)
        if token.kind == "QUOTED":
            self._refuse_next("cannot name a field; write the name without quotes")
        if self._compared is not None:
            self._refuse_next(f"cannot be compared within the values of {shown(self._compared[0].text)}")
        self._take()
        compared = token, Operator(self._take().text)
        if self._next.kind != "OPEN":
            return self._condition(compared)
        self._compared = compared
        values = self._group()
        self._compared = None
        return values

    def _condition(self, compared: tuple[_Token, Operator] | None) -> Expression:
        value = self._value()
        self._conditions += 1
        if self._conditions > MAX_CONDITIONS:
            refuse(f"a filter holds at most {MAX_CONDITIONS} conditions", value.position)
        if compared is None:
            return Literal(value)
        field, operator = compared
        return Comparison(field.text, operator, value, field.position)

    def _value(self) -> Value:
        if self._next.kind not in {"WORD", "QUOTED"}:
            self._refuse_next("cannot stand where a value must")
        token = self._take()
        quoted = token.kind == "QUOTED"
        text = token.text[1:-1] if quoted else token.text
        pieces = _pieces(text, token.position + quoted)
        if pieces == ("",):
            refuse("an empty text matches nothing; write NOT brand:* for what has no brand", token.position)
        return Value(pieces, quoted, token.position)

    @property
    def _next(self) -> _Token:
        return self._tokens[self._index]

    def _take(self) -> _Token:
        token = self._tokens[self._index]
        self._index += 1
        return token

    def _refuse_next(self, problem: str) -> NoReturn:
        token = self._next
        refuse(f"{'the end' if token.kind == 'END' else shown(token.text)} {problem}", token.position)


def _pieces(text: str, position: int) -> tuple[str, ...]:
    """Split a text at its wildcards, and take the escapes out."""
    if "\\" not in text and "*" not in text:
        return (text,)
    pieces = [""]
    for part in _PIECE.finditer(text):
        if part["wildcard"]:
            pieces.append("")
        elif part["escaped"] and part["escaped"] not in "*\\\"'":
            refuse(
                "a backslash stands only before *, \\ and quotes; double it to mean itself",
                position + part.start(),
            )
        else:
            pieces[-1] += part["escaped"] or part["plain"]
    return (pieces[0], *filter(None, pieces[1:-1]), pieces[-1]) if len(pieces) > 1 else (pieces[0],)

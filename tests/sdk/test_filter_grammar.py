"""The filter grammar: what binds to what, what a value may be, and that no text does harm."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from endcap.sdk.errors import InvalidInput
from endcap.sdk.filter_expression import And, Comparison, Expression, Literal, Not, Or, Value
from endcap.sdk.filter_grammar import MAX_CONDITIONS, MAX_LENGTH, MAX_NESTING, parse


def written_out(expression: Expression) -> str:
    """Write an expression with every pair of parentheses."""
    match expression:
        case Literal(value):
            return value.text
        case Comparison(field, operator, value):
            return f"{field}{operator}{value.text}"
        case Not(operand):
            return f"not {written_out(operand)}"
        case And(operands):
            return f"({' & '.join(map(written_out, operands))})"
        case Or(operands):
            return f"({' | '.join(map(written_out, operands))})"


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("", "()"),
        (" \t\n\u3000", "()"),
        ("a", "a"),
        ("a b", "(a & b)"),
        ("a AND b", "(a & b)"),
        ("a OR b OR c", "(a | b | c)"),
        # OR binds tighter than AND, and so than standing side by side.
        ("a AND b OR c", "(a & (b | c))"),
        ("a OR b AND c", "((a | b) & c)"),
        ("a OR b AND c OR d", "((a | b) & (c | d))"),
        ("New York Giants OR Yankees", "(New & York & (Giants | Yankees))"),
        ("a b AND c AND d", "(a & b & c & d)"),
        ("(a b) AND c", "((a & b) & c)"),
        ("(a AND b) OR c", "((a & b) | c)"),
        ("((a))", "a"),
        # A negation reaches to the next condition only.
        ("NOT a", "not a"),
        ("-a", "not a"),
        ("NOT a OR b", "(not a | b)"),
        ("NOT a AND b", "(not a & b)"),
        ("-a b", "(not a & b)"),
        ("NOT (a OR b)", "not (a | b)"),
        ("-(a b)", "not (a & b)"),
        ('-file:".java"', "not file:.java"),
        ("NOT price < 3", "not price<3"),
        ("-30", "not 30"),
        # Comparisons, with any white space.
        ("a = 1", "a=1"),
        ("a!=1", "a!=1"),
        ("a<1 b<=1 c>1 d>=1", "(a<1 & b<=1 & c>1 & d>=1)"),
        ("a\n:\tb", "a:b"),
        ("price > -5", "price>-5"),
        ("price>-5", "price>-5"),
        ("attributes.size >= 2.5e3", "attributes.size>=2.5e3"),
        ("create_time < 2026-01-31T10:00:00.5+01:00", "create_time<2026-01-31T10:00:00.5+01:00"),
        ("brand:*", "brand:*"),
        ("a = 1 OR b = 2 c = 3", "((a=1 | b=2) & c=3)"),
        # Values in parentheses are compared with the field before them.
        ('brand = ("Acme" OR Zen)', "(brand=Acme | brand=Zen)"),
        ("tags:(a AND NOT b) c", "((tags:a & not tags:b) & c)"),
        ("tags:(a (b OR -c))", "(tags:a & (tags:b | not tags:c))"),
        # Words may hold what is no operator.
        ("t-shirt", "t-shirt"),
        ("ANDES NOTE ORB", "(ANDES & NOTE & ORB)"),
        ('"AND" "or"', "(AND & or)"),
        ("com.example", "com.example"),
        ("玩具 category=花园", "(玩具 & category=花园)"),
    ],
)
def test_a_filter_means(text: str, meaning: str) -> None:
    assert written_out(parse(text)) == meaning


@pytest.mark.parametrize(
    ("text", "pieces"),
    [
        ('"two words"', ("two words",)),
        ("'two words'", ("two words",)),
        ('"it\'s"', ("it's",)),
        (r'"say \"hi\""', ('say "hi"',)),
        (r"'it\'s'", ("it's",)),
        (r'"back\\slash"', ("back\\slash",)),
        ('"a AND (b)"', ("a AND (b)",)),
        ("sun*", ("sun", "")),
        ('"*.java"', ("", ".java")),
        ("a*b", ("a", "b")),
        ("a***b", ("a", "b")),
        ("*", ("", "")),
        ("**", ("", "")),
        (r"5\*", ("5*",)),
        (r'"5\* *"', ("5* ", "")),
        ("' OR 1=1 --'", (" OR 1=1 --",)),
    ],
)
def test_a_value_is_its_text_between_wildcards(text: str, pieces: tuple[str, ...]) -> None:
    expression = parse(f"title:{text}")

    assert isinstance(expression, Comparison)
    assert expression.value.pieces == pieces


@pytest.mark.parametrize(
    ("text", "character", "problem"),
    [
        ("a AND", 6, "the end cannot stand where a condition must"),
        ("AND a", 1, "'AND' cannot stand where a condition must"),
        ("a OR OR b", 6, "'OR' cannot stand where a condition must"),
        ("NOT", 4, "the end cannot stand"),
        ("NOT NOT a", 5, "'NOT' cannot stand"),
        ("--a", 2, "'-' cannot stand where a condition must"),
        ("a - b", 3, "directly before what it negates"),
        ("()", 2, "')' cannot stand"),
        ("(a", 3, "the end cannot stand before the ')' of the '(' at character 1"),
        ("a)", 2, "')' cannot stand here"),
        ("a = ", 5, "the end cannot stand where a value must"),
        ("a = = b", 5, "'=' cannot stand where a value must"),
        ("= b", 1, "'=' cannot stand"),
        ("a < b < c", 7, "'<' cannot stand here"),
        ("price > - 5", 9, "'-' cannot stand where a value must"),
        ('"a" = b', 1, "cannot name a field"),
        ("near(a)", 5, "there are no functions"),
        ('"a""b"', 4, "needs a space"),
        ("a, b", 2, "put texts that hold it in quotes"),
        ("a ! b", 3, "put texts that hold it in quotes"),
        ("a = 'b", 5, "the quote is not closed"),
        ('title:"' + r"\"", 7, "the quote is not closed"),
        (r"a\n", 2, "a backslash stands only before"),
        (r'title:"a\n"', 9, "a backslash stands only before"),
        ("a\\", 2, "cannot stand here"),
        ("a or b", 3, "write it in capitals"),
        ("a And b", 3, "write it in capitals"),
        ('brand = ""', 9, "an empty text matches nothing"),
        ("brand = (a OR price < 3)", 15, "within the values of 'brand'"),
        ("title:a\x00b", 8, "a control character"),
        ("' OR 1=1 --", 1, "the quote is not closed"),
    ],
)
def test_what_does_not_parse_is_rejected_with_its_position(text: str, character: int, problem: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse(text)

    assert refused.value.field == "filter"
    assert str(refused.value).startswith(f"filter, character {character}: ")
    assert problem in str(refused.value)


def test_the_longest_filter_is_read_and_one_character_more_is_rejected() -> None:
    longest = '"' + "a" * (MAX_LENGTH - 2) + '"'

    assert written_out(parse(longest)) == "a" * (MAX_LENGTH - 2)
    with pytest.raises(InvalidInput, match="filter has 4097 characters; at most 4096"):
        parse(longest + " ")


def test_parentheses_nest_as_deep_as_the_limit() -> None:
    def nested(depth: int) -> str:
        return "-(" * depth + "a" + ")" * depth

    assert written_out(parse(nested(MAX_NESTING))).count("not") == MAX_NESTING
    with pytest.raises(InvalidInput, match="character 66: parentheses nest more than 32 deep"):
        parse(nested(MAX_NESTING + 1))


def test_conditions_are_as_many_as_the_limit() -> None:
    assert written_out(parse("a " * MAX_CONDITIONS)).count("a") == MAX_CONDITIONS
    with pytest.raises(InvalidInput, match="character 513: a filter holds at most 256 conditions"):
        parse("a " * (MAX_CONDITIONS + 1))
    with pytest.raises(InvalidInput, match="at most 256 conditions"):
        parse(f"tags:({' OR '.join(['a'] * (MAX_CONDITIONS + 1))})")


@pytest.mark.parametrize(
    "text",
    [
        "(" * 4_000,
        "(" * 2_000 + ")" * 2_000,
        "-" * 4_000,
        "NOT " * 1_000,
        "a OR " * 800,
        "a " * 10_000,
        "=" * 4_000,
        '"' * 3_999,
        '"' + "\\" * 4_001,
        '"' + '\\"' * 2_000,
    ],
)
def test_hostile_texts_are_rejected(text: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        parse(text)

    assert len(str(refused.value)) < 200


PARTS = [
    *("AND", "OR", "NOT", "or", "-", "(", ")", "=", "!=", "<", "<=", ">", ">=", ":", "!", ",", ".", "*"),
    *("price", "title", "attributes.size", "brand", "20", "-5", "1e999", "true", "2026-01-31T00:00:00Z"),
    *('"', "'", "\\", '"a b"', '"\\""', "\x00", "\u202e", "ａ", "а", "花园", "\ud800", "İ", "\n"),
]


@given(
    st.one_of(
        st.text(),
        st.lists(st.sampled_from(PARTS)).map(" ".join),
        st.lists(st.sampled_from(PARTS)).map("".join),
    )
)
def test_any_text_is_read_or_rejected(text: str) -> None:
    try:
        expression = parse(text)
    except InvalidInput as refused:
        str(refused).encode()
        return

    assert expression == parse(text)
    assert hash(expression) == hash(parse(text))


def test_values_are_read_as_their_field_needs_them() -> None:
    def value(text: str) -> Value:
        return Value((text,), quoted=False, position=0)

    assert [value(text).number for text in ("20", "-0.5", "+1", "2e3", ".5", "5.")] == [
        20,
        -0.5,
        1,
        2000,
        0.5,
        5,
    ]
    assert [value(text).number for text in ("", "x", "nan", "inf", "1e999", "1_000", "0x10", "٣", "1 ")] == [
        None
    ] * 9
    assert [value(text).boolean for text in ("true", "false", "True", "1")] == [True, False, None, None]
    assert value("1970-01-02T00:00:00Z").time == 86_400_000
    assert value("1970-01-01t01:00:00.0015+01:00").time == 1.5
    assert value("1969-12-31T23:59:59Z").time == -1000
    assert [
        value(text).time
        for text in ("1970-01-01", "1970-02-30T00:00:00Z", "1970-01-01T00:00:00", "1970-01-01T00:00:60Z")
    ] == [None] * 4


def test_a_wildcard_stands_for_any_characters() -> None:
    def equals(*pieces: str) -> list[str]:
        texts = ["", "sun", "sunset", "set", "sunsun", "SUN"]
        outcomes = Value(pieces, quoted=False, position=0).equals(texts)
        return [text for text, outcome in zip(texts, outcomes, strict=True) if outcome]

    assert equals("sun") == ["sun"]
    assert equals("sun", "") == ["sun", "sunset", "sunsun"]
    assert equals("", "set") == ["sunset", "set"]
    assert equals("sun", "sun") == ["sunsun"]
    assert equals("s", "n", "t") == ["sunset"]
    assert equals("", "u", "u", "") == ["sunsun"]


def test_a_value_occurs_in_a_text_whatever_its_case() -> None:
    def occurs_in(*pieces: str) -> list[bool]:
        return list(Value(pieces, quoted=False, position=0).occurs_in(["beach chair", "strasse"]))

    assert occurs_in("CHAIR") == [True, False]
    assert occurs_in("straße") == [False, True]
    assert occurs_in("B", "chair") == [True, False]
    assert occurs_in("chair", "beach") == [False, False]

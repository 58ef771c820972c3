import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from hubwire.resources.expressions import Budget, Scope, evaluate, parse
from hubwire.resources.template_context import Environment, Target
from hubwire.resources.template_faults import TemplateFault
from hubwire.resources.template_functions import FUNCTIONS
from hubwire.resources.template_values import dump

SUBSCRIPTION = "00000000-0000-4000-8000-000000000001"
OTHER = "00000000-0000-4000-8000-000000000002"
ENVIRONMENT = Environment(
    tenant_id="tenant",
    subscription_id=SUBSCRIPTION,
    subscription_name="Lab",
    resource_group="lab",
    location="westeurope",
    group_tags={"stage": "test"},
    deployment_name="first",
    now="2026-01-02T15:04:05.6789Z",
    new_guid=lambda: "11111111-2222-4333-8444-555555555555",
    endpoint="https://hub.example",
)
GROUP = f"/subscriptions/{SUBSCRIPTION}/resourceGroups/lab"
VALUES: dict[str, Any] = {
    "o": {"one": 1, "Two": {"x": [1]}, "three": None},
    "p": {"one": 5, "Two": {"y": 2}},
    "half": 0.5,
    "big": 1e300,
    "null": None,
    "long": 2**64 - 1,
}


def _parameter(name: str) -> Any:
    if name not in VALUES:
        raise TemplateFault("not found")
    return VALUES[name]


class Everything:
    """A runtime that knows every resource."""

    def reference(self, resource_id: str, api_version: str | None, full: bool) -> dict[str, Any]:
        return {"id": resource_id, "version": api_version, "full": full}

    def list_secrets(self, function: str, resource_id: str, api_version: str) -> dict[str, Any]:
        return {"function": function, "id": resource_id, "version": api_version}


SCOPE = Scope(
    budget=Budget({}),
    functions=FUNCTIONS,
    environment=ENVIRONMENT,
    parameter=_parameter,
    variable=_parameter,
    target=lambda word: Target(f"/id/of/{word}", "type", word, "2024-03-01"),
    targets=lambda word: [Target(f"/id/of/{word}/{number}", api_version="2024-03-01") for number in range(2)],
    template={"contentVersion": "1.0.0.0"},
)


def run(text: str, **scope: Any) -> Any:
    return evaluate(parse(f"[{text}]"), replace(SCOPE, budget=Budget({}), **scope))


def fault(text: str, **scope: Any) -> str:
    with pytest.raises(TemplateFault) as caught:
        run(text, **scope)
    return caught.value.message


def same(left: Any, right: Any) -> bool:
    """Equal, and of one type all through: True is no 1."""
    return dump(left) == dump(right)


def vectors(table: str) -> list[Any]:
    """Lines of an expression and its value in JSON, with an arrow between."""
    pairs = [line.split(" -> ") for line in table.strip().splitlines()]
    return [pytest.param(text.strip(), json.loads(value), id=text.strip()) for text, value in pairs]


@pytest.mark.parametrize(
    ("text", "value"),
    vectors(
        """
        concat('a') -> "a"
        concat('a', 1, true(), 'b') -> "a1Trueb"
        concat(createArray(1), createArray('b', 3)) -> [1, "b", 3]
        format('{0}/{1}', 'a', 'b') -> "a/b"
        format('plain') -> "plain"
        format('{{{0}}}', 'a') -> "{a}"
        format('{0:D3}|{0:d}|{1:D2}', 7, -7) -> "007|7|-07"
        format('{0:X}|{0:x}|{0:X4}|{1:x}', 255, -1) -> "FF|ff|00FF|ffffffffffffffff"
        format('{0:N0}|{0:N}|{0:F1}|{0:0000}|{0:G}', 1234) -> "1,234|1,234.00|1234.0|1234|1234"
        format('{0:F2}', parameters('half')) -> "0.50"
        format('{0,5}|{0,-5}|', 'ab') -> "   ab|ab   |"
        format('{0:D3}', 'text') -> "text"
        format('{0}{1}{2}', true(), null(), createArray(1, 'a')) -> "True[1,\\"a\\"]"
        toLower('AbC') -> "abc"
        toUpper('AbC') -> "ABC"
        trim('  a b ') -> "a b"
        replace('a-b-c', '-', '') -> "abc"
        replace('aXa', 'x', 'y') -> "aXa"
        substring('abcdef', 1, 3) -> "bcd"
        substring('abc', 3) -> ""
        split('a,b,,c', ',') -> ["a", "b", "", "c"]
        split('a,b;c', createArray(',', ';')) -> ["a", "b", "c"]
        split('abc', '') -> ["abc"]
        join(createArray('a', 1, true()), '-') -> "a-1-True"
        join(createArray(), '-') -> ""
        startsWith('abc', 'AB') -> true
        startsWith('abc', 'b') -> false
        endsWith('abc', 'BC') -> true
        endsWith('abc', 'b') -> false
        padLeft('5', 3, '0') -> "005"
        padLeft(5, 3, '0') -> "005"
        padLeft('abcd', 3) -> "abcd"
        string('a') -> "a"
        string(5) -> "5"
        string(true()) -> "True"
        string(null()) -> ""
        string(createObject('a', createArray(1, true(), null()))) -> "{\\"a\\":[1,true,null]}"
        base64('héllo') -> "aMOpbGxv"
        base64ToString('aMOpbGxv') -> "héllo"
        base64ToJson(base64('{"a": [1]}')) -> {"a": [1]}
        json('{"a": [1.5, null]}') -> {"a": [1.5, null]}
        json('null') -> null
        json('"a"') -> "a"
        dataUri('Hello') -> "data:text/plain;charset=utf8;base64,SGVsbG8="
        dataUriToString('data:;base64,SGVsbG8sIFdvcmxkIQ==') -> "Hello, World!"
        dataUriToString('data:text/plain,a%20b') -> "a b"
        uri('http://contoso.org/firstpath', 'myscript.sh') -> "http://contoso.org/myscript.sh"
        uri('http://contoso.org/firstpath/', 'myscript.sh') -> "http://contoso.org/firstpath/myscript.sh"
        uriComponent('http://a b/é?') -> "http%3A%2F%2Fa%20b%2F%C3%A9%3F"
        uriComponentToString('http%3A%2F%2Fa%20b') -> "http://a b"
        guid('a', 'b') -> "2d796349-8c7e-55ec-9624-54ece82ed031"
        dateTimeAdd('2020-04-07 14:53:14Z', 'P3Y') -> "2023-04-07T14:53:14Z"
        dateTimeAdd('2020-04-07 14:53:14Z', '-P9D') -> "2020-03-29T14:53:14Z"
        dateTimeAdd('20200407T145314Z', 'PT1H') -> "20200407T155314Z"
        dateTimeAdd('2020-04-07T14:53:14+02:00', 'PT1H2M3S', 'u') -> "2020-04-07 13:55:17Z"
        dateTimeAdd('2020-04-07', 'P1M2W', 'yyyy-MM-dd') -> "2020-05-21"
        dateTimeToEpoch('1970-01-02') -> 86400
        dateTimeFromEpoch(86400) -> "1970-01-02T00:00:00Z"
        """
    ),
)
def test_function_of_text(text: str, value: Any) -> None:
    assert same(run(text), value)


@pytest.mark.parametrize(
    ("text", "value"),
    vectors(
        """
        take('abc', 2) -> "ab"
        take('abc', 9) -> "abc"
        take('abc', -1) -> ""
        take(createArray(1, 2, 3), 2) -> [1, 2]
        skip('abc', 1) -> "bc"
        skip(createArray(1, 2, 3), 9) -> []
        skip(createArray(1, 2), -1) -> [1, 2]
        first('abc') -> "a"
        first('') -> ""
        first(createArray(7, 8)) -> 7
        first(createArray()) -> null
        last('abc') -> "c"
        last(createArray(7, 8)) -> 8
        last(createArray()) -> null
        indexOf('abcABC', 'C') -> 2
        indexOf('abc', 'z') -> -1
        indexOf(createArray('a', 1, true()), true()) -> 2
        indexOf(createArray(1), true()) -> -1
        lastIndexOf('abcabc', 'B') -> 4
        lastIndexOf(createArray(1, 2, 1), 1) -> 2
        lastIndexOf(createArray(), 1) -> -1
        length('abc') -> 3
        length(createArray(1, 2)) -> 2
        length(parameters('o')) -> 3
        empty('') -> true
        empty(createArray()) -> true
        empty(createObject()) -> true
        empty(null()) -> true
        empty('a') -> false
        contains('abc', 'b') -> true
        contains('abc', 'B') -> false
        contains('a1', 1) -> true
        contains(createArray('a', 1), 1) -> true
        contains(createArray(createArray(1)), createArray(1)) -> true
        contains(createArray(true()), 1) -> false
        contains(parameters('o'), 'ONE') -> true
        contains(parameters('o'), 'four') -> false
        range(3, 4) -> [3, 4, 5, 6]
        range(0, 0) -> []
        array('a') -> ["a"]
        array(createArray(1)) -> [1]
        createArray() -> []
        createObject() -> {}
        createObject('a', 1, 'b', createArray()) -> {"a": 1, "b": []}
        union(createArray(1, 2), createArray(2, 3)) -> [1, 2, 3]
        union(createArray(1, 1, true())) -> [1, true]
        union(parameters('o'), parameters('p')) -> {"one": 5, "Two": {"x": [1], "y": 2}, "three": null}
        union(createObject('a', createObject('b', 1)), createObject('a', 2)) -> {"a": 2}
        intersection(createArray(1, 2, 3), createArray(3, 2), createArray(2)) -> [2]
        intersection(createObject('a', 1, 'b', 2), createObject('a', 1, 'b', 3)) -> {"a": 1}
        flatten(createArray(createArray(1), createArray(2, createArray(3)))) -> [1, 2, [3]]
        items(createObject('b', 1, 'a', 2)) -> [{"key": "a", "value": 2}, {"key": "b", "value": 1}]
        objectKeys(createObject('b', 1, 'a', 2)) -> ["a", "b"]
        shallowMerge(createArray(createObject('a', 1, 'b', 1), createObject('b', 2))) -> {"a": 1, "b": 2}
        tryGet(parameters('o'), 'two', 'X', 0) -> 1
        tryGet(parameters('o'), 'two', 'z', 0) -> null
        tryGet(null(), 'a') -> null
        indexFromEnd(createArray(1, 2, 3), 1) -> 3
        tryIndexFromEnd(createArray(1, 2, 3), 4) -> null
        coalesce(null(), null(), 'a', fail('never')) -> "a"
        coalesce(null()) -> null
        """
    ),
)
def test_function_of_arrays_and_objects(text: str, value: Any) -> None:
    assert same(run(text), value)


def it(expression: str) -> str:
    return expression.replace("@", "lambdaVariables('x')")


@pytest.mark.parametrize(
    ("text", "value"),
    vectors(
        """
        map(range(1, 3), lambda('x', mul(@, 2))) -> [2, 4, 6]
        map(createArray('a', 'b'), lambda('x', 'i', concat(@, lambdaVariables('I')))) -> ["a0", "b1"]
        map(range(1, 2), lambda('x', map(range(0, @), lambda('y', add(@, lambdaVariables('y')))))) -> [[1], [2, 3]]
        map(range(0, 2), lambda('x', map(range(5, 1), lambda('x', @)))) -> [[5], [5]]
        filter(range(0, 5), lambda('x', greater(@, 2))) -> [3, 4]
        filter(createArray('a', 'b'), lambda('x', 'i', equals(lambdaVariables('i'), 1))) -> ["b"]
        reduce(range(1, 4), 0, lambda('a', 'x', add(lambdaVariables('a'), @))) -> 10
        reduce(range(1, 2), 0, lambda('a', 'x', 'i', add(lambdaVariables('a'), lambdaVariables('i')))) -> 1
        sort(createArray(3, 1, 2), lambda('x', 'y', less(@, lambdaVariables('y')))) -> [1, 2, 3]
        sort(createArray('b', 'a', 'b'), lambda('x', 'y', less(@, lambdaVariables('y')))) -> ["a", "b", "b"]
        toObject(createArray('a', 'b'), lambda('x', toUpper(@))) -> {"A": "a", "B": "b"}
        toObject(createArray('a'), lambda('x', @), lambda('x', length(@))) -> {"a": 1}
        groupBy(createArray('ab', 'ac', 'b'), lambda('x', first(@))) -> {"a": ["ab", "ac"], "b": ["b"]}
        mapValues(createObject('a', 1), lambda('x', add(@, 1))) -> {"a": 2}
        """
    ),
)
def test_function_that_is_given_a_lambda(text: str, value: Any) -> None:
    assert same(run(it(text)), value)


@pytest.mark.parametrize(
    ("text", "value"),
    vectors(
        """
        if(true(), 'a', fail('never')) -> "a"
        if(false(), fail('never'), 'b') -> "b"
        and(true(), true(), true()) -> true
        and(false(), fail('never')) -> false
        or(false(), true(), fail('never')) -> true
        or(false()) -> false
        not(false()) -> true
        xor(true(), false()) -> true
        xor(true(), true()) -> false
        equals(1, 1) -> true
        equals('a', 'A') -> false
        equals(1, '1') -> false
        equals(1, true()) -> false
        equals(null(), null()) -> true
        equals(createObject('a', 1, 'b', 2), createObject('b', 2, 'a', 1)) -> true
        equals(createArray(1, 2), createArray(2, 1)) -> false
        less(1, 2) -> true
        less('a', 'b') -> true
        lessOrEquals(2, 2) -> true
        greater(2, 2) -> false
        greater(1, parameters('half')) -> true
        greaterOrEquals('b', 'a') -> true
        add(1, 2) -> 3
        sub(1, 2) -> -1
        mul(3, 4) -> 12
        div(7, 2) -> 3
        div(-7, 2) -> -3
        mod(7, 3) -> 1
        mod(-7, 3) -> -1
        min(3, 1, 2) -> 1
        max(createArray(3, 1, 2)) -> 3
        min(5) -> 5
        int('42') -> 42
        int(42) -> 42
        int(' -7 ') -> -7
        int(json('2.0')) -> 2
        float('1.5') -> 1.5
        float(2) -> 2.0
        bool('TRUE') -> true
        bool('0') -> false
        bool(1) -> true
        bool(0) -> false
        bool(true()) -> true
        null() -> null
        """
    ),
)
def test_function_of_logic_and_numbers(text: str, value: Any) -> None:
    assert same(run(text), value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("resourceId('A.B/c', 'n')", f"{GROUP}/providers/A.B/c/n"),
        ("resourceId('A.B/c/d', 'n', 'm')", f"{GROUP}/providers/A.B/c/n/d/m"),
        ("resourceId('other', 'A.B/c', 'n')", f"{GROUP.replace('lab', 'other')}/providers/A.B/c/n"),
        (f"resourceId('{OTHER}', 'A.B/c', 'n')", f"{GROUP.replace(SUBSCRIPTION, OTHER)}/providers/A.B/c/n"),
        (f"resourceId('{OTHER}', 'g', 'A.B/c', 'n')", f"/subscriptions/{OTHER}/resourceGroups/g/providers/A.B/c/n"),
        ("subscriptionResourceId('A.B/c', 'n')", f"/subscriptions/{SUBSCRIPTION}/providers/A.B/c/n"),
        ("subscriptionResourceId('s', 'A.B/c', 'n')", "/subscriptions/s/providers/A.B/c/n"),
        ("tenantResourceId('A.B/c/d', 'n', 'm')", "/providers/A.B/c/n/d/m"),
        (
            "managementGroupResourceId('m', 'A.B/c', 'n')",
            "/providers/Microsoft.Management/managementGroups/m/providers/A.B/c/n",
        ),
        ("extensionResourceId('/x/y', 'A.B/c', 'n')", "/x/y/providers/A.B/c/n"),
        ("resourceGroup().id", GROUP),
        ("resourceGroup().name", "lab"),
        ("resourceGroup().location", "westeurope"),
        ("resourceGroup().tags.stage", "test"),
        ("subscription().id", f"/subscriptions/{SUBSCRIPTION}"),
        ("subscription().subscriptionId", SUBSCRIPTION),
        ("subscription().displayName", "Lab"),
        ("subscription().tenantId", "tenant"),
        ("tenant().tenantId", "tenant"),
        ("environment().resourceManager", "https://hub.example"),
        ("environment().suffixes.storage", "core.windows.net"),
        ("deployment().name", "first"),
        ("deployment().properties.template.contentVersion", "1.0.0.0"),
        ("parameters('o').one", 1),
        ("variables('half')", 0.5),
        ("copyIndex()", 4),
        ("copyIndex(10)", 14),
        ("copyIndex('Inner')", 2),
        ("copyIndex('inner', 1)", 3),
        ("reference('x').id", "/id/of/x"),
        ("reference('x').version", "2024-03-01"),
        ("reference('x').full", False),
        ("reference('x', '2021-01-01').version", "2021-01-01"),
        ("reference('x', '2021-01-01', 'Full').full", True),
        ("reference('x', 'full').full", True),
        ("references('x')[1].id", "/id/of/x/1"),
        ("references('x', 'full')[0].full", True),
        ("listKeys('x', '2024-03-01')", {"function": "listKeys", "id": "/id/of/x", "version": "2024-03-01"}),
        ("listFoo('x', '1', createObject()).function", "listFoo"),
        ("resourceInfo('x').name", "x"),
        ("resourceInfo('x').id", "/id/of/x"),
    ],
)
def test_function_of_resources(text: str, value: Any) -> None:
    assert run(text, runtime=Everything(), copies={"": 4, "inner": 2}) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("utcNow()", "20260102T150405Z"),
        ("utcNow('d')", "01/02/2026"),
        ("utcNow('yyyy-MM-ddTHH:mm:ss.fffZ')", "2026-01-02T15:04:05.678Z"),
        ("utcNow('yy/M/d h:m:s tt')", "26/1/2 3:4:5 PM"),
        ("utcNow('o')", "2026-01-02T15:04:05.6789000Z"),
        ("utcNow('hh''Uhr''\\x')", "03Uhrx"),
        ("utcNow('\"at\" HH')", "at 15"),
        ("newGuid()", "11111111-2222-4333-8444-555555555555"),
    ],
)
def test_function_that_is_for_defaults_only(text: str, value: str) -> None:
    assert run(text, is_default=True) == value
    assert "default value of a parameter" in fault(text)


@pytest.mark.parametrize(
    "text",
    [
        "concat(createArray(1), 'a')",
        "concat('a', createArray(1))",
        "concat('a', null())",
        "concat(createObject())",
        "format('{0}')",
        "format('{')",
        "format('}', 1)",
        "format('{a}', 1)",
        "format('{0:C}', 1)",
        "format('{0:E2}', 1)",
        "format('{0:#.##}', 1)",
        "format('{0:G3}', 1)",
        "format('{0:D2}', parameters('half'))",
        "format('{0,9999999}', 1)",
        "format(1)",
        "format('{0}', lambda('x', 1))",
        "toLower(1)",
        "replace('a', '', 'b')",
        "replace('a', 'a', 1)",
        "substring('abc', 2, 2)",
        "substring('abc', -1)",
        "substring('abc', 0, -1)",
        "split('a', createArray(1))",
        "split(1, ',')",
        "join('a', ',')",
        "join(createArray('a'), 1)",
        "padLeft('a', 3, '')",
        "padLeft('a', 3, 'ab')",
        "padLeft('a', -1)",
        "padLeft(createArray(), 3)",
        "base64(1)",
        "base64ToString('?')",
        "base64ToString('abc')",
        "base64ToJson('????')",
        "base64ToJson(base64('{'))",
        "json('{')",
        "json('')",
        "json(1)",
        "dataUriToString('x')",
        "dataUriToString('data:text/plain')",
        "uri('http://[', 'x')",
        "guid(1)",
        "uniqueString(1)",
        "dateTimeAdd('never', 'P1D')",
        "dateTimeAdd('2020-02-30', 'P1D')",
        "dateTimeAdd('2020-02-01', 'P')",
        "dateTimeAdd('2020-02-01', 'one day')",
        "dateTimeAdd('9999-12-31', 'P1D')",
        "dateTimeAdd('0001-01-01T00:00:00+01:00', 'P1D')",
        "dateTimeAdd('2020-02-01', 'P1D', 'K')",
        "dateTimeAdd('2020-02-01', 'P1D', 'D')",
        "dateTimeAdd('2020-02-01', 'P1D', 'yyyyy')",
        "dateTimeAdd('2020-02-01', 'P1D', 'ffffffff')",
        "dateTimeFromEpoch(99999999999999)",
        "take(1, 1)",
        "take('a', 'b')",
        "skip(createObject(), 1)",
        "first(1)",
        "length(1)",
        "empty(1)",
        "contains(1, 1)",
        "contains(createObject(), 1)",
        "range(0, 10001)",
        "range(0, -1)",
        "range(2147483647, 1)",
        "createObject('a')",
        "createObject(1, 2)",
        "createObject('a', 1, 'a', 2)",
        "union(createArray(), createObject())",
        "union(createObject(), createArray())",
        "union('a', 'b')",
        "intersection(createArray(), createObject())",
        "intersection(createObject('a', 1), createArray())",
        "flatten(createArray(1))",
        "items(createArray())",
        "objectKeys('a')",
        "shallowMerge(createArray(1))",
        "indexFromEnd(createArray(1), 0)",
        "indexFromEnd(createArray(1), 2)",
        "map(createArray(1), 1)",
        "map(createArray(1), lambda(1))",
        "map(createArray(1), lambda('a', 'b', 'c', 1))",
        "map(createArray(1), lambda(concat('a'), 1))",
        "map(createArray(1), lambda(1, 2))",
        "map('a', lambda('x', 1))",
        "map(createArray(1), lambda('x', lambdaVariables('y')))",
        "map(createArray(1), lambda('x', lambda('y', 1)))",
        "filter(createArray(1), lambda('x', 1))",
        "sort(createArray(1, 2), lambda('x', 'y', 1))",
        "toObject(createArray(1), lambda('x', 1))",
        "groupBy(createArray(1), lambda('x', 1))",
        "mapValues(createArray(1), lambda('x', 1))",
        "lambdaVariables('x')",
        "createArray(lambda('x', 1))",
        "string(lambda('x', 1))",
        "equals(lambda('x', 1), createArray(lambda('x', 1)))",
        "if('true', 1, 2)",
        "and(1)",
        "or(false(), 'a')",
        "not(0)",
        "xor(true(), 1)",
        "less('a', 1)",
        "less(1, 'a')",
        "less(true(), false())",
        "add(1, '1')",
        "add(true(), 1)",
        "add(parameters('half'), 1)",
        "add(9223372036854775807, 1)",
        "add(parameters('long'), 1)",
        "mul(9223372036854775807, 2)",
        "div(1, 0)",
        "mod(1, 0)",
        "min(createArray())",
        "max('a')",
        "int('1.5')",
        "int('')",
        "int('99999999999999999999')",
        "int(parameters('half'))",
        "int(true())",
        "float('a')",
        "float('1e999')",
        "float(true())",
        "bool('yes')",
        "bool(createArray())",
        "fail('as asked')",
        "resourceId('A.B', 'n')",
        "resourceId('A.B/c', 'n', 'm')",
        "resourceId('A.B/c/d', 'n')",
        "resourceId('A.B/c/', 'n')",
        "resourceId('/c', 'n')",
        "resourceId('a', 'b', 'c', 'A.B/c', 'n')",
        "subscriptionResourceId('a', 'b', 'A.B/c', 'n')",
        "tenantResourceId('a', 'A.B/c')",
        "managementGroupResourceId('A.B/c', 'n')",
        "extensionResourceId('/x', 'a', 'A.B/c', 'n')",
        "reference('x', '1', 'half')",
        "reference(1)",
        "references('x', 'half')",
        "listKeys('x', '1', createObject('a', 1))",
        "copyIndex()",
        "copyIndex('absent')",
        "copyIndex(1, 2)",
        "copyIndex('a', 'b')",
        "parameters('absent')",
        "parameters(1)",
        "pickZones('a', 'b', 'c')",
        "cidrSubnet('10.0.0.0/8', 16, 1)",
    ],
)
def test_function_refuses_what_it_cannot_take(text: str) -> None:
    assert fault(text, runtime=Everything())


def test_fault_names_the_function_and_the_type() -> None:
    message = fault("concat('a', toLower(createArray()))")

    assert "'toLower'" in message
    assert "a string is expected, but a value of type 'Array' was given" in message


def test_fault_does_not_quote_a_value() -> None:
    """It may be a secret."""
    for function in ("int", "bool", "float", "json", "base64ToString", "dateTimeToEpoch"):
        assert "hunter" not in fault(f"{function}('hunter2')")


@pytest.mark.parametrize("text", ["reference('x')", "references('x')", "listKeys('x', '1')"])
def test_resources_are_not_asked_before_they_can_be_known(text: str) -> None:
    assert "not expected at this location" in fault(text)


def test_unique_string_is_stable() -> None:
    """The value itself is promised: names of resources are made of it."""
    made = run("uniqueString('a', 'b')")

    assert made == "2rbwfvt5siijd"
    assert made == run("uniqueString('a-b')")
    assert made != run("uniqueString('a')")


@given(st.lists(st.text(), min_size=1, max_size=3))
def test_unique_string_is_thirteen_characters_of_base_32(values: list[str]) -> None:
    given_values = ", ".join("'" + value.replace("'", "''") + "'" for value in values)

    made = run(f"uniqueString({given_values})")

    assert len(made) == 13
    assert set(made) <= set("abcdefghijklmnopqrstuvwxyz234567")


@given(st.text())
def test_encodings_can_be_undone(text: str) -> None:
    literal = "'" + text.replace("'", "''") + "'"

    assert run(f"base64ToString(base64({literal}))") == text
    assert run(f"uriComponentToString(uriComponent({literal}))") == text
    assert run(f"dataUriToString(dataUri({literal}))") == text


_ARGUMENTS = st.sampled_from(
    [
        "'a'",
        "''",
        "'A.B/c'",
        "'{0:D2}'",
        "0",
        "-1",
        "7",
        "true()",
        "null()",
        "createArray(1, 'a')",
        "createObject('a', 1)",
    ]
    + ["lambda('x', lambdaVariables('x'))", "lambda('x', 'y', true())", "parameters('half')", "createArray()"]
)


@given(st.sampled_from(sorted(FUNCTIONS)), st.lists(_ARGUMENTS, max_size=4))
def test_whatever_a_function_is_given_it_has_a_value_or_a_fault(name: str, arguments: list[str]) -> None:
    try:
        run(f"{name.replace('*', 'X')}({', '.join(arguments)})", runtime=Everything(), is_default=True)
    except TemplateFault as caught:
        message = caught.message
    else:
        message = "none"

    assert message

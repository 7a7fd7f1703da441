"""What agents are asked about columns that rules leave open, and what of their answers is used."""

from __future__ import annotations

import json
from array import array
from typing import Any

import pytest

from estate.mapping import Suggestion, decide, suggest
from estate.mapping.asked import (
    CAP,
    AnswerRefused,
    Open,
    columns_named,
    offered,
    open_columns,
    question,
    read_answer,
    take,
)
from estate.roles import MACHINES
from estate.tables import Column, Table

Json = dict[str, Any]


def table(**columns: list[Any]) -> Table:
    """A table of machines; `_` in a header is a blank."""
    made, rows = [], 0
    for name, cells in columns.items():
        distinct = [None, *dict.fromkeys(cell for cell in cells if cell is not None)]
        made.append(Column(name.replace("_", " "), distinct, array("I", [distinct.index(cell) for cell in cells])))
        rows = len(cells)
    return Table("servers.csv", None, made, array("I", range(2, rows + 2)), 1, kind="table", role=MACHINES)


ESTATE: dict[str, list[Any]] = {
    "Server_Name": ["web01", "web02", "web03"],
    "Memory_(MB)": [4096, 8192, 4096],
    "Zweck": ["Abrechnung", "Lager", "Abrechnung"],
    "Kst": ["4711", "4712", "4711"],
    "Leer": [None, None, None],
}


def asked(estate: Table) -> tuple[list[Suggestion], list[Open]]:
    suggestions = suggest([estate])
    (columns,) = open_columns([estate], suggestions)
    return suggestions, columns


def answer(**targets: Any) -> str:
    return json.dumps(
        {
            "columns": [
                {"column": column, "target": target, "confidence": 0.9, "reason": "says so"}
                for column, target in targets.items()
            ]
        }
    )


def of(suggestions: list[Suggestion], field: str) -> Suggestion:
    return next(one for one in suggestions if one.source_field == field)


def test_open_are_columns_without_a_sure_meaning_that_say_something() -> None:
    _, columns = asked(table(**ESTATE))
    assert [one.suggestion.source_field for one in columns] == ["Zweck", "Kst"]


def test_a_unit_in_doubt_is_no_question_for_agents() -> None:
    estate = table(Server_Name=["a1", "a2", "a3"], Memory=[4, 4096, 8])
    suggestions = suggest([estate])
    assert of(suggestions, "Memory").doubtful == "unit"
    assert not list(open_columns([estate], suggestions))


def test_a_wide_table_is_asked_about_in_parts() -> None:
    wide = table(Server_Name=["a1"], **{f"Xyz{n}q": [f"v{n}"] for n in range(45)})
    assert [len(columns) for columns in open_columns([wide], suggest([wide]))] == [20, 20, 5]


def test_fields_that_other_columns_have_are_not_offered() -> None:
    suggestions, columns = asked(table(**ESTATE))
    targets = offered(columns, suggestions)
    assert "department" in targets
    assert not {"name", "memory_gb", "custom_attributes", "source_ip"} & set(targets)
    # several columns may hold addresses, and addresses may be open
    assert "ip_addresses" in targets


def test_a_question_shows_headers_kinds_and_masked_samples() -> None:
    estate = table(
        Server_Name=["web01", "web02"],
        Kst=["4711", "4712"],
        Zuständig=["call ada@corp.example first, then the desk", "nobody knows, ask around"],
        Zugang=["user=sa;password=hunter2secret", "none"],
        Wer=["Ada Lovelace", "Bob Miller"],
    )
    suggestions = suggest([estate])
    columns = columns_named(
        [["servers.csv", None, name] for name in ("Kst", "Zuständig", "Zugang", "Wer")], [estate], suggestions
    )
    shown = question(columns, ["department"], samples=2)
    assert shown["rows_are"] == "machines"
    assert shown["fields"] == {"department": "the department or business unit it belongs to"}
    number, email, secret, person = shown["columns"]
    assert (number["column"], number["header"], number["holds"]) == ("c1", "Kst", "numbers")
    assert (number["samples"], number["different_values"], number["filled_percent"]) == (["4711", "4712"], 2, 100)
    assert email["samples"]
    assert not any("ada@" in cell for cell in email["samples"])
    assert secret["samples"] == person["samples"] == []
    assert "hunter2secret" not in json.dumps(shown)
    assert "servers" not in json.dumps(shown)


def test_samples_can_be_left_out_altogether() -> None:
    _, columns = asked(table(**ESTATE))
    assert all(one["samples"] == [] for one in question(columns, ["department"], samples=0)["columns"])


def test_an_answer_of_the_asked_form_is_read_also_from_a_fence() -> None:
    plain = answer(c1="department", c2=None)
    for text in (plain, f"```json\n{plain}\n```", f"\n  {plain}  \n"):
        (said,) = read_answer(text, 2, ["department"])
        assert (said.column, said.target, said.confidence) == ("c1", "department", 0.9)


@pytest.mark.parametrize(
    ("text", "objection"),
    [
        ("I think that c1 is the department.", "not one JSON object"),
        ("", "not one JSON object"),
        (f"Here you are: {answer(c1='department')}", "not one JSON object"),
        (answer(c1="department") * 2, "not one JSON object"),
        ("[" * 100_000, "asked form|not one JSON object"),
        ("[]", "asked form"),
        ('{"columns": [{"column": "c1"}]}', "asked form"),
        ('{"columns": [], "note": "hello"}', "asked form"),
        (answer(c1="department").replace("0.9", "1.1"), "asked form"),
        (answer(c1="department").replace("0.9", "-0.1"), "asked form"),
        (answer(c1="department").replace("0.9", '"high"'), "asked form"),
        (answer(c1="department").replace("0.9", "true"), "asked form"),
        (answer(c1=["department"]), "asked form"),
        (answer(c3="department"), "Column 'c3' was not asked"),
        (answer(Zweck="department"), "Column 'Zweck' was not asked"),
        (answer(c1="cost_centre"), "'cost_centre' is not one of the fields"),
        (answer(c1="name"), "'name' is not one of the fields"),
        (answer(c1="department", c2="department"), "given to two columns"),
        ('{"columns": [' + 2 * '{"column":"c1","target":null,"confidence":1},' + "{}]}", "asked form"),
        (
            '{"columns": [{"column":"c1","target":null,"confidence":1},{"column":"c1","target":null,"confidence":1}]}',
            "answered twice",
        ),
    ],
)
def test_any_other_answer_is_refused_and_says_why(text: str, objection: str) -> None:
    with pytest.raises(AnswerRefused, match=objection) as refused:
        read_answer(text, 2, ["department", "location"])
    assert len(refused.value.objections) <= 5


def test_a_sure_agent_becomes_a_suggestion_for_a_person() -> None:
    estate = table(**ESTATE)
    suggestions, columns = asked(estate)
    assert take(columns, read_answer(answer(c1="department", c2=None), 2, ["department"]), suggestions) == 1
    said = of(suggestions, "Zweck")
    assert (said.target_field, said.match_type, said.confidence) == ("department", "crew", CAP)
    assert said.reason == "agents say: says so"
    assert of(suggestions, "Kst").target_field is None


def test_what_agents_say_holds_with_an_approval_and_never_by_itself() -> None:
    estate = table(**ESTATE)
    suggestions, columns = asked(estate)
    take(columns, read_answer(answer(c1="department"), 2, ["department"]), suggestions)

    def held(**how: Any) -> set[str | None]:
        return {one.target_field for one in decide([estate], suggestions, **how).mappings}

    assert "department" not in held(threshold=0.0)
    assert "department" not in held(threshold=0.8)
    assert "department" in held(take_all=True)


def test_cells_that_speak_against_it_halve_what_agents_say() -> None:
    estate = table(**ESTATE)
    suggestions, columns = asked(estate)
    take(columns, read_answer(answer(c1="ip_addresses"), 2, ["ip_addresses"]), suggestions)
    said = of(suggestions, "Zweck")
    assert (said.target_field, said.confidence) == ("ip_addresses", 0.38)
    assert "cells do not look like it" in said.reason
    assert "ip_addresses" not in {one.target_field for one in decide([estate], suggestions, take_all=True).mappings}


def test_the_surer_of_rules_and_agents_holds_and_the_other_is_an_alternative() -> None:
    estate = table(Server_Name=["a1", "a2"], Business_owner_team_x=["Ulm", "Bonn"])
    suggestions, columns = asked(estate)
    rules = of(suggestions, "Business owner team x")
    before = (rules.target_field, rules.confidence)
    assert before[0] is not None
    assert before[1] < CAP
    low = read_answer(answer(c1="department").replace("0.9", "0.1"), 1, ["department"])
    take(columns, low, suggestions)
    assert (rules.target_field, rules.confidence) == before
    assert rules.alternatives[0]["target_field"] == "department"
    take(columns, read_answer(answer(c1="department"), 1, ["department"]), suggestions)
    assert (rules.target_field, rules.match_type) == ("department", "crew")
    assert before[0] in [one["target_field"] for one in rules.alternatives]


def test_agents_that_agree_with_the_rules_make_them_no_surer() -> None:
    estate = table(Server_Name=["a1", "a2"], Business_owner_team_x=["Ulm", "Bonn"])
    suggestions, columns = asked(estate)
    rules = of(suggestions, "Business owner team x")
    before = (rules.target_field, rules.confidence, rules.match_type)
    take(columns, read_answer(answer(c1=rules.target_field), 1, [str(rules.target_field)]), suggestions)
    assert (rules.target_field, rules.confidence, rules.match_type) == before
    assert rules.reason.endswith("agents say so too")


def test_of_two_columns_for_one_field_the_surer_keeps_it() -> None:
    estate = table(Server_Name=["a1", "a2"], Business_owner_team_x=["Ulm", "Bonn"], Zweck=["x y", "y z"])
    suggestions, columns = asked(estate)
    rules = of(suggestions, "Business owner team x")
    target = str(rules.target_field)
    names = [one.suggestion.source_field for one in columns]
    said = read_answer(answer(**{f"c{names.index('Zweck') + 1}": target}), 2, [target])
    take(columns, said, suggestions)
    holders = [one.source_field for one in suggestions if one.target_field == target]
    assert holders == ["Zweck"]


def test_a_size_that_agents_find_gets_its_unit_from_the_cells() -> None:
    estate = table(Server_Name=["a1", "a2", "a3"], Speicherding=[4096, 8192, 16384])
    suggestions, columns = asked(estate)
    take(columns, read_answer(answer(c1="memory_gb"), 1, ["memory_gb"]), suggestions)
    said = of(suggestions, "Speicherding")
    assert (said.unit, said.conversion) == ("MiB", "MiB / 1024 -> GiB")


def test_a_reason_is_shown_as_one_short_line() -> None:
    estate = table(**ESTATE)
    suggestions, columns = asked(estate)
    text = json.dumps(
        {
            "columns": [
                {"column": "c1", "target": "department", "confidence": 1, "reason": "a\n\u202eb\x07 " + "x" * 500}
            ]
        }
    )
    take(columns, read_answer(text, 2, ["department"]), suggestions)
    reason = of(suggestions, "Zweck").reason
    assert reason.isprintable()
    assert len(reason) < 230

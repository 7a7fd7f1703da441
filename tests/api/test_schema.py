"""Every route of the OpenAPI document, called with what the document allows and with what it does not."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any
from uuid import UUID, uuid4

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis import Case, GenerationMode
from schemathesis.checks import CheckContext
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import AcceptedNegativeData, Failure, FailureGroup
from schemathesis.core.parameters import ParameterLocation
from schemathesis.core.transport import Response

from api.reading import MAX_WAIT_MS
from tests.api.conftest import Json
from tests.api.served import OPERATOR, Served, served

# how many drawn examples each operation gets, and every how many-th of the systematic cases is called
EXAMPLES = int(os.environ.get("MFO_TEST_SCHEMA_EXAMPLES", "1"))
EVERY = int(os.environ.get("MFO_TEST_SCHEMA_EVERY", "16"))
ONLY = os.environ.get("MFO_TEST_SCHEMA_PATHS", "")
# the service is in this process, and may use `random` while a case is drawn
pytestmark = pytest.mark.filterwarnings("ignore:Do not use the `random` module inside strategies")
CALL_SECONDS = 60
POSITIVE = "Positive test case"
STEPS = 12
ACCEPTED = ("2xx", "3xx", "401", "403", "404", "409", "429", "5xx")

# bodies with rules that JSON Schema does not say, so that a valid one may be answered 422: the operations, why
RULES_OF_THEIR_OWN: tuple[tuple[str, str], ...] = (
    (
        r"POST /api/v1/(discovery/|assessment/)?flows(/legacy/\w+/create)?$",
        "mail goes to the domains that a setting names",
    ),
    (r"POST /api/v1/flow-types/check$", "a definition, or a type and a version"),
    (r"POST /api/v1/flows/\{flow_id\}/\w+$", "what a verb may name follows from the flow's type and history"),
    (r"POST /api/v1/(operations|standing-pauses|pause-rules)$", "some flows are named, or all, not both"),
    (
        r"(POST|PATCH) /api/v1/schedules",
        "one of three timings; crons, time zones and ranges have grammars of their own",
    ),
    (r"(POST|PATCH) /api/v1/subscriptions", "url or address by kind; a setting names where they may lead"),
    (r"(POST|PATCH) /api/v1/imports", "options are JSON in a text; they fit the format of the file"),
    (r"GET /api/v1/(dlq|compliance/report)$", "parameters that go together, or not"),
)
# headers that any answer may have
PLAIN_HEADERS = frozenset({"content-length", "content-type", "date", "connection", "transfer-encoding"})
TENANT_IDS = ("X-Client-Account-ID", "X-Engagement-ID")


def documented_headers(_: CheckContext, response: Response, case: Case[Any]) -> None:
    """Every header of an answer stands in the document."""
    documented = case.operation.responses.find_by_status_code(response.status_code)
    if documented is not None:
        known = {name.lower() for name, _ in documented.headers.items()}
        unknown = sorted({name.lower() for name in response.headers} - known - PLAIN_HEADERS)
        if unknown:
            raise Failure(
                operation=case.operation.label,
                title="Undocumented header",
                message=f"{response.status_code}: {', '.join(unknown)}",
            )


@dataclass
class Findings:
    """What was found, each once, by operation, check and words."""

    said: dict[tuple[str, str, str], str] = field(default_factory=dict)
    calls: int = 0
    told: int = 0

    def note(self, case: Case[Any], title: str, words: str, answer: str) -> None:
        tried = (case.meta.phase.data.description or "") if case.meta else ""
        line = f"{case.operation.label}: {title}: {words[:300]} ({tried[:100]})"
        self.said.setdefault(
            (case.operation.label, title, words[:40] + tried[:40]),
            f"{line}\n  {case.as_curl_command()[:800]}\n  {answer[:400]}",
        )

    def judge(self, case: Case[Any], response: Response) -> None:
        """Note what is wrong with an answer."""
        try:
            case.validate_response(response, additional_checks=[documented_headers])
        except FailureGroup as group:
            tried = (case.meta.phase.data.description or "") if case.meta else ""
            for failure in group.exceptions:
                # of a body that may be left out the library counts its absence among what is wrong
                if isinstance(failure, AcceptedNegativeData) and tried == POSITIVE:
                    continue
                words = str(failure.message).split("Schema:")[0]
                self.note(case, failure.title, words, f"{response.status_code} {response.text}")

    def news(self) -> str:
        """What was found since this was asked last."""
        new = [*self.said.values()][self.told :]
        self.told = len(self.said)
        return "".join(f"{each}\n" for each in new)

    def report(self) -> str:
        return "\n".join([f"{len(self.said)} findings in {self.calls} calls", *sorted(self.said.values())])


@pytest.fixture(scope="module")
def service(shared_database_url: str) -> Iterator[Served]:
    with served(shared_database_url) as running:
        yield running


@pytest.fixture(scope="module")
def schema(service: Served, api_document: Json) -> Any:
    rules = [operations for operations, _ in RULES_OF_THEIR_OWN]
    names = [re.escape(name) for name in grammars(api_document)]
    config = SchemathesisConfig.from_dict(
        {
            # 503 and 504 are answers: come again
            "checks": {
                "not_a_server_error": {"expected-statuses": ["2xx", "3xx", "4xx", "503", "504"]},
                # whatever the reason: too large, for one
                "negative_data_rejection": {"expected-statuses": ["4xx", "5xx"]},
            },
            "operations": [
                {
                    "include-name-regex": "|".join([*rules, *(f"{name}$" for name in names)]),
                    "checks": {"positive_data_acceptance": {"expected-statuses": [*ACCEPTED, "422"]}},
                }
            ],
        }
    )
    loaded = schemathesis.openapi.from_dict(api_document, config=config)
    loaded.config.update(base_url=service.url)
    return loaded


def grammars(document: Json) -> list[str]:
    """The operations with a text among their parameters, such as a list of words or a time, whose grammar is its own."""
    return [
        f"{method.upper()} {path}"
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if any(_is_text(parameter.get("schema", {})) for parameter in operation.get("parameters", ()))
    ]


def _is_text(schema: Json) -> bool:
    kinds = schema.get("anyOf", [schema])
    return any(kind.get("type") == "string" and not {"format", "pattern", "enum"} & kind.keys() for kind in kinds)


def aimed(case: Case[Any], service: Served) -> Case[Any]:
    """The case with the tenant and ids of things that there are, where it has valid ones; what is wrong stays wrong."""
    # asked before the case is changed: the library judges it anew afterwards
    path = case.meta.components.get(ParameterLocation.PATH) if case.meta is not None else None
    addressed(case, service)
    if path is not None and path.mode.is_negative:
        return case
    for name, value in case.path_parameters.items():
        drawn, there = _uuid(value), service.ids.get(name)
        if drawn and there and drawn.int % 4:
            case.path_parameters[name] = (
                there[-1] if case.method == "DELETE" else there[drawn.int // 4 % max(len(there) - 1, 1)]
            )
    return case


def addressed(case: Case[Any], service: Served) -> None:
    """Make the case one of the tenant, without what nobody can guess."""
    positive = case.meta is not None and case.meta.generation.mode.is_positive
    headers, query = case.headers, case.query
    for name in TENANT_IDS:
        if name in headers and _uuid(headers[name]):
            headers[name] = service.tenant[name]
    if positive and OPERATOR.keys() & {*headers}:
        headers.update(OPERATOR)
    if positive:
        if "Idempotency-Key" in headers:
            headers["Idempotency-Key"] = str(uuid4())
        # nobody can guess these; a wrong one is refused
        for name in ("cursor", "min_position", "min_version"):
            query.pop(name, None)
        headers.pop("If-Match", None)
    # systematic cases hold numbers as text
    waits = str(query.get("wait_ms", 0))
    if (
        any(parameter.name == "wait_ms" for parameter in case.operation.query)
        and waits.isdigit()
        and int(waits) <= MAX_WAIT_MS
    ):
        query["wait_ms"] = 0
    if positive and isinstance(case.body, dict) and "flow_type" in case.body:
        case.body["flow_type"] = "discovery"
    if positive and case.media_type == "application/json":
        case.body = _whole(case.body)


def _whole(value: Any) -> Any:
    """The value with 3 for 3.0: JSON Schema takes one for the other, strict fields do not."""
    if isinstance(value, dict):
        return {name: _whole(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_whole(each) for each in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _uuid(value: Any) -> UUID | None:
    try:
        return UUID(str(value))
    except ValueError:
        return None


@pytest.mark.timeout(0 if EVERY == 1 else 900)
def test_every_route_answers_as_the_document_says(
    schema: Any, service: Served, capfd: pytest.CaptureFixture[str]
) -> None:
    findings = Findings()
    with requests.Session() as session:

        def call(case: Case[Any]) -> None:
            findings.calls += 1
            aimed(case, service)
            try:
                response = case.call(session=session, timeout=CALL_SECONDS)
            except requests.RequestException as error:
                findings.note(case, type(error).__name__, str(error), "")
                return
            findings.judge(case, response)

        # include() of the library is not heard where its configuration speaks of operations
        every = [found.ok() for found in schema.get_all_operations()]
        wanted = [operation for operation in every if re.search(ONLY, operation.label)]
        for n, operation in enumerate(wanted, 1):
            for case in islice(systematic(operation), 0, None, EVERY):
                call(case)
            drawn = st.one_of([operation.as_strategy(generation_mode=mode) for mode in GenerationMode])
            settings(
                max_examples=EXAMPLES,
                derandomize=True,
                database=None,
                deadline=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )(given(case=drawn)(call))()
            if EVERY == 1:
                with capfd.disabled():
                    sys.stderr.write(findings.news())
                    sys.stderr.write(
                        f"{n} of {len(wanted)}: {operation.label}: {findings.calls} calls, {len(findings.said)} findings\n"
                    )
    assert findings.calls, f"no operation matches {ONLY!r}; they are such as GET /api/v1/flows/{{flow_id}}"
    if findings.said:
        pytest.fail(findings.report(), pytrace=False)


@pytest.mark.timeout(0 if EVERY == 1 else 900)
def test_what_an_answer_names_can_be_asked_for(schema: Any, service: Served) -> None:
    """Walks from answer to answer: ids that one gives are taken by the next. The links are inferred from names and shapes."""
    findings = Findings()

    class Walk(schema.as_state_machine()):  # type: ignore[misc]
        def before_call(self, case: Case[Any]) -> None:
            addressed(case, service)

        def get_call_kwargs(self, _: Case[Any]) -> Json:
            return {"timeout": CALL_SECONDS}

        def validate_response(self, response: Response, case: Case[Any], *_: Any, **__: Any) -> None:
            findings.calls += 1
            findings.judge(case, response)

    Walk.run(
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=STEPS,
            derandomize=True,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
    )
    if findings.said:
        pytest.fail(findings.report(), pytrace=False)


def systematic(operation: Any) -> Iterator[Case[Any]]:
    """A case for each bound and each rule of the operation's parameters and body, kept and broken."""
    generation = operation.schema.config.generation_for(operation=operation, phase="coverage")
    cases: Iterator[Case[Any]] = operation.schema.iter_coverage_cases(
        operation, generation_modes=list(GenerationMode), generation_config=generation
    )
    return cases


def test_what_may_not_be_null_is_not_told_as_null(api_document: Json) -> None:
    changes = api_document["components"]["schemas"]["UpdateSchedule"]["properties"]
    assert {"type": "null"} not in changes["timing"].get("anyOf", [])
    assert {"type": "null"} in changes["description"]["anyOf"]

from __future__ import annotations

import json

from colonnade.base.errors import NotFoundError, UnavailableError
from colonnade.bundle.request import Problem, RequestError
from colonnade.web.problem import HttpError, problem, status_of


def test_an_error_of_the_product_is_a_problem_with_its_status_code_and_fix():
    error = NotFoundError("CN-SERVE-010", "no endpoint 'x'", "did you mean 'y'?")
    assert status_of(error) == 404
    assert json.loads(problem(error)) == {
        "type": "urn:colonnade:error:CN-SERVE-010",
        "title": "Not Found",
        "status": 404,
        "code": "CN-SERVE-010",
        "detail": "no endpoint 'x'",
        "fix": "did you mean 'y'?",
    }


def test_what_leans_on_something_that_is_down_is_503():
    assert status_of(UnavailableError("CN-X-001", "m", "f")) == 503


def test_what_is_wrong_with_rows_is_listed_row_by_row():
    problems = [Problem(1, "hour", "missing"), Problem(2, None, "expected an object")]
    body = json.loads(problem(RequestError("CN-REQUEST-002", problems, "send all")))
    assert body["status"] == 422
    assert body["errors"] == [
        {"row": 1, "field": "hour", "reason": "missing"},
        {"row": 2, "field": None, "reason": "expected an object"},
    ]


def test_an_error_of_http_has_its_own_status():
    assert json.loads(problem(HttpError(413, "CN-HTTP-005", "m", "f")))["title"] in {
        "Request Entity Too Large",
        "Content Too Large",
    }


def test_clients_of_the_open_inference_protocol_find_their_own_member():
    error = NotFoundError("CN-SERVE-010", "no endpoint 'x'", "fix")
    assert json.loads(problem(error, error_member=True))["error"] == "no endpoint 'x'"

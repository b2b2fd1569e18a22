from __future__ import annotations

from colonnade.serve.log import LogState
from colonnade.serve.meter import Meter


def test_answers_are_counted_by_endpoint_and_status_and_timed():
    meter = Meter()
    for status in (200, 200, 422):
        meter.request("late", status, 0.0004)
    meter.predictions("late", 3, 10)
    page = meter.page().decode()
    assert 'colonnade_requests_total{endpoint="late",status="200"} 2.0' in page
    assert 'colonnade_requests_total{endpoint="late",status="422"} 1.0' in page
    assert 'colonnade_request_seconds_bucket{endpoint="late",le="0.0005"} 3.0' in page
    assert 'colonnade_request_seconds_bucket{endpoint="late",le="0.00025"} 0.0' in page
    assert 'colonnade_predictions_total{endpoint="late",version="3"} 10.0' in page


def test_the_log_and_the_requests_in_flight_are_sampled():
    meter = Meter()
    state = LogState(lag_s=0.5, pending_rows=7, written_bytes=900, failures=2, broken=True)
    meter.sample(4, [("late", state)])
    page = meter.page().decode()
    for line in [
        "colonnade_requests_in_flight 4.0",
        'colonnade_log_pending_rows{endpoint="late"} 7.0',
        'colonnade_log_written_bytes{endpoint="late"} 900.0',
        'colonnade_log_failures{endpoint="late"} 2.0',
        'colonnade_log_lag_seconds{endpoint="late"} 0.5',
    ]:
        assert line in page

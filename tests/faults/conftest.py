"""What the fault tests share with the acceptance tests: real servers, ended and judged at the end of each test."""

from acceptance.conftest import hub, start_server

__all__ = ["hub", "start_server"]

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from serve_support import application, client_of


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient]:
    with client_of(application()) as client:
        yield client

# SPDX-License-Identifier: GPL-3.0-or-later
"""Signatures are those that AWS publishes for the same requests.

Source: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html, at its end.
"""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cutover.sigv4 import Credentials, signed_headers

PUBLISHED = Credentials("AKIAIOSFODNN7" + "EXAMPLE", "wJalrXUtnFEMI/K7MDENG/bPxRfiCY" + "EXAMPLEKEY")
NOW = datetime(2013, 5, 24, tzinfo=UTC)


@pytest.mark.parametrize(
    ("query", "signature"),
    [
        pytest.param("lifecycle", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543", id="a bare name"),
        pytest.param(
            "max-keys=2&prefix=J", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7", id="two values"
        ),
        pytest.param(
            "prefix=J&max-keys=2", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7", id="in any order"
        ),
    ],
)
def test_a_signature_is_the_published_one(query: str, signature: str) -> None:
    address = f"https://examplebucket.s3.amazonaws.com/?{query}"
    headers = signed_headers("GET", address, PUBLISHED, region="us-east-1", now=NOW)
    assert headers["Authorization"].endswith(f"Signature={signature}")
    assert headers["x-amz-date"] == "20130524T000000Z"


def test_the_secret_is_in_no_header_and_in_no_representation() -> None:
    headers = signed_headers("GET", "http://h:9000/b?a=%2F", PUBLISHED, region="us-east-1", now=NOW)
    assert PUBLISHED.secret_key not in str(headers)
    assert PUBLISHED.secret_key not in repr(PUBLISHED)

# SPDX-License-Identifier: GPL-3.0-or-later
"""Visitors of the ledger: a steady, bounded stream of requests that are never repeated, and an honest count.

    python lab/visitors.py --url https://127.20.0.1:8443 --ca ca.pem --rate 25 --report visitors.json --token-file FILE

Every tenth request writes (with an Idempotency-Key of its own), three of ten read as a known user, the others ask only
whether the service is there. Every third uses a connection of its own, the others keep theirs alive. Counting begins
with the first good answer. The report is replaced whole, every second and at the end; for each second of the last half
hour it holds a sample, as visitors_check asks for. SIGTERM ends the visit.
"""

from __future__ import annotations

import argparse
import json
import signal
import threading
import time
import uuid
from collections import Counter, deque
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import count
from pathlib import Path
from typing import Any

import requests

VISITORS = 8
TIMEOUT_S = 10
SAMPLES = 1800
NOTHING_YET = {"sent": 0, "failed": 0, "slowest_ms": 0.0, "total_ms": 0.0}
BATCH = "BATCH-2026-02-0012"
READS = (f"/api/v1/batches?code={BATCH}", "/api/v1/requests?limit=5", "/api/v1/kpi/daily")


@dataclass
class Tally:
    """What became of the requests. Percentiles are over the last 10,000, ``max`` over all, a sample is of a second."""

    beneficiary: str
    started_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    outcomes: Counter[str] = field(default_factory=Counter)
    by_version: Counter[str] = field(default_factory=Counter)
    writes: int = 0
    slowest_ms: float = 0
    latencies: deque[float] = field(default_factory=lambda: deque(maxlen=10_000))
    failures: deque[dict[str, Any]] = field(default_factory=lambda: deque(maxlen=20))
    samples: deque[dict[str, float]] = field(default_factory=lambda: deque(maxlen=SAMPLES))
    sample: dict[str, float] = field(default_factory=lambda: dict(NOTHING_YET))
    lock: threading.Lock = field(default_factory=threading.Lock)

    def count(self, method: str, path: str, took_ms: float, answer: requests.Response | Exception) -> None:
        answered = isinstance(answer, requests.Response)
        outcome = f"{answer.status_code // 100}xx" if answered else "lost"
        with self.lock:
            self.outcomes[outcome] += 1
            self.latencies.append(took_ms)
            self.slowest_ms = max(self.slowest_ms, took_ms)
            self.sample["sent"] += 1
            self.sample["failed"] += outcome != "2xx"
            self.sample["total_ms"] += took_ms
            self.sample["slowest_ms"] = max(self.sample["slowest_ms"], round(took_ms, 1))
            if answered:
                self.by_version[answer.headers.get("X-Release", "unknown")] += 1
            if outcome == "2xx":
                self.writes += method == "POST"
                return
            what = str(answer.status_code) if answered else type(answer).__name__
            failure = {"at": datetime.now(UTC).isoformat(), "request": f"{method} {path}", "outcome": what}
            self.failures.append({**failure, "took_ms": round(took_ms)})

    def end_sample(self) -> None:
        with self.lock:
            total_ms = self.sample.pop("total_ms")
            mean = {"mean_ms": round(total_ms / self.sample["sent"], 1)} if self.sample["sent"] else {}
            self.samples.append({"at": round(time.time(), 3), **self.sample, **mean})
            self.sample = dict(NOTHING_YET)

    def report(self) -> dict[str, Any]:
        with self.lock:
            total, ok = self.outcomes.total(), self.outcomes["2xx"]
            ordered = sorted(self.latencies) or [0]
            share = {f"p{part}": round(ordered[int((len(ordered) - 1) * part / 100)], 1) for part in (50, 95, 99)}
            return {
                "started_at": self.started_at.isoformat(),
                "updated_at": datetime.now(UTC).isoformat(),
                "requests": total,
                "ok": ok,
                "failed": total - ok,
                "lost": self.outcomes["lost"],
                "server_errors": self.outcomes["5xx"],
                "failures": list(self.failures),
                "writes_acknowledged": self.writes,
                "beneficiary": self.beneficiary,
                "latency_ms": {**share, "max": round(self.slowest_ms, 1)},
                "by_version": dict(self.by_version),
                "samples": list(self.samples),
            }


@dataclass
class Visit:
    """What all visitors have in common."""

    url: str
    ca: str
    rate: float
    token_file: Path | None
    stopping: threading.Event = field(default_factory=threading.Event)
    tally: Tally = field(default_factory=lambda: Tally(f"visitors {uuid.uuid4().hex[:12]}"))
    numbers: count[int] = field(default_factory=count)
    batch_id: int | None = None

    def session(self) -> requests.Session:
        session = requests.Session()
        session.verify, session.trust_env = self.ca, False
        return session

    def wait_for_service(self) -> None:
        with self.session() as session:
            while not self.stopping.wait(0.5):
                try:
                    if session.get(f"{self.url}/api/v1/ping", timeout=TIMEOUT_S).ok:
                        return
                except requests.RequestException:
                    continue

    def run_visitor(self, started: float) -> None:
        """Take the next number, wait for its time, make its request. Who is late leaves out, and never catches up."""
        with self.session() as kept:
            for number in self.numbers:
                due = started + number / self.rate - time.monotonic()
                if due < -1:
                    continue
                if self.stopping.wait(max(0, due)):
                    return
                if number % 3:
                    self.make_request(number, kept)
                else:
                    with self.session() as own:
                        own.headers["Connection"] = "close"
                        self.make_request(number, own)

    def make_request(self, number: int, session: requests.Session) -> None:
        method, path, body, headers = self.choose(number)
        began = time.monotonic()
        try:
            # A redirect is an answer; it is not followed.
            answer: requests.Response | Exception = session.request(
                method, self.url + path, json=body, headers=headers, timeout=TIMEOUT_S, allow_redirects=False
            )
        except requests.RequestException as error:
            answer = error
        self.tally.count(method, path, (time.monotonic() - began) * 1000, answer)
        if self.batch_id is None and path == READS[0] and isinstance(answer, requests.Response) and answer.ok:
            self.batch_id = next((batch["id"] for batch in answer.json()["items"]), None)

    def choose(self, number: int) -> tuple[str, str, dict[str, Any] | None, dict[str, str]]:
        """Method, path, body and headers of the request with this number."""
        if self.token_file is None or number % 10 > 3:
            return "GET", "/api/v1/ping", None, {}
        known = {"Authorization": f"Bearer {self.token_file.read_text().strip()}"}
        if number % 10 or self.batch_id is None:
            return "GET", READS[number % 10 % len(READS)], None, known
        body = {"batch_id": self.batch_id, "beneficiary": self.tally.beneficiary, "amount": "1.00"}
        return "POST", "/api/v1/requests", body, {**known, "Idempotency-Key": uuid.uuid4().hex}

    def write_report(self, path: Path) -> None:
        unfinished = path.with_name(f".{path.name}.new")
        unfinished.write_text(json.dumps(self.tally.report()) + "\n")
        unfinished.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description="Visit the ledger and count what becomes of it.")
    parser.add_argument("--url", required=True, help="the front door")
    parser.add_argument("--ca", required=True, help="the certificates to trust")
    parser.add_argument("--rate", type=float, default=25, help="requests a second (default: 25)")
    parser.add_argument("--report", type=Path, required=True, help="the file that receives the count")
    parser.add_argument(
        "--token-file", type=Path, help="a bearer token with the role ops_scheduler; without it, no writes"
    )
    arguments = parser.parse_args()
    visit = Visit(arguments.url.rstrip("/"), arguments.ca, arguments.rate, arguments.token_file)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: visit.stopping.set())
    visit.write_report(arguments.report)
    visit.wait_for_service()
    started, visit.tally.started_at = time.monotonic(), datetime.now(UTC)
    visitors = [threading.Thread(target=visit.run_visitor, args=(started,)) for _ in range(VISITORS)]
    for visitor in visitors:
        visitor.start()
    while not visit.stopping.wait(1):
        visit.tally.end_sample()
        visit.write_report(arguments.report)
    for visitor in visitors:
        visitor.join()
    visit.write_report(arguments.report)


if __name__ == "__main__":
    main()

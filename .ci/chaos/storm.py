#!/usr/bin/env python3
"""R8: many writers want the same thing at the same moment; exactly one of them gets it.

    storm.py --binary target/release/stratos [--rounds 60] [--writers 32] [--seed N]

In each round every writer sends its request but for the last byte, waits for the others, and
then sends that. One is answered with 2xx, the others with 412 (or 404 and 409 where S3 says
so), and the bytes that stay are those of the one. A conditional delete of what is not there
is 204 in S3, so rounds with deletes say what else must hold of them. The endpoints are a list: one today.
"""

import random
import sys
import time
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import base  # noqa: E402
from client import complete_body  # noqa: E402
from cluster import Up  # noqa: E402
from smoke_harness import KIB  # noqa: E402

BUCKET = "storm"
BARRIER_SECONDS = 60
# Who loses a condition is told so; a busy moment would be a 503, which S3 clients repeat.
LOSSES = {404, 409, 412}


def add_options(parser):
    parser.add_argument("--rounds", type=int, default=60, help="of each kind")
    parser.add_argument("--writers", type=int, default=32)


class Storm:
    def __init__(self, chaos, clients, pool):
        self.writers, self.clients, self.pool = chaos.options.writers, clients, pool
        self.seed = chaos.options.seed
        self.answers = Counter()

    def body(self, key, number):
        """A writer's bytes: inline in one round, coded in the next."""
        rng = random.Random(f"{self.seed}/{key}/{number}")
        return rng.randbytes(rng.choice([200, 20 * KIB]))

    def client(self, number):
        return self.clients[number % len(self.clients)]

    def all_at_once(self, request):
        """`request(number, before_last)` of every writer, together; their answers."""
        barrier = threading.Barrier(self.writers)

        def send(number):
            return request(number, lambda: barrier.wait(BARRIER_SECONDS))

        answers = list(self.pool.map(send, range(self.writers)))
        self.answers.update(answer.status for answer in answers)
        return answers

    def winner(self, key, answers):
        """The one whose answer is 2xx."""
        winners = [number for number, answer in enumerate(answers) if answer.is_ok]
        statuses = Counter(answer.status for answer in answers)
        assert len(winners) == 1, f"{key}: {len(winners)} winners, {dict(statuses)}"
        others = statuses.keys() - LOSSES - {answers[winners[0]].status}
        assert not others, f"{key}: {dict(statuses)}"
        return winners[0]

    def assert_shows(self, key, wanted):
        for client in self.clients:
            answer = client.get(BUCKET, key)
            shown = answer.body if answer.is_ok else None
            assert shown == wanted, f"{key}: not the winner's bytes ({answer.status})"

    def put(self, key, condition):
        answers = self.all_at_once(lambda n, last: self.client(n).ask(
            "PUT", f"/{BUCKET}/{key}", headers=condition, body=self.body(key, n),
            before_last=last))
        winner = self.winner(key, answers)
        self.assert_shows(key, self.body(key, winner))
        return answers[winner].etag


def puts_of_an_absent_key(storm, key):
    storm.put(key, {"if-none-match": "*"})


def puts_over_a_known_tag(storm, key):
    stored = storm.clients[0].put(BUCKET, key, b"first")
    storm.put(key, {"if-match": stored.etag})


def copies_to_an_absent_key(storm, key):
    for number in range(storm.writers):
        source = f"source/{number}"
        if storm.clients[0].get(BUCKET, source).status == 404:
            assert storm.clients[0].put(BUCKET, source, storm.body(source, 0)).is_ok
    answers = storm.all_at_once(lambda n, last: storm.client(n).ask(
        "PUT", f"/{BUCKET}/{key}", before_last=last,
        headers={"x-amz-copy-source": f"/{BUCKET}/source/{n}", "if-none-match": "*"}))
    storm.assert_shows(key, storm.body(f"source/{storm.winner(key, answers)}", 0))


def prepared(ask, of=lambda answer: answer):
    """What comes before a round may be told to slow down, and is asked again."""
    deadline = time.monotonic() + 30
    while True:
        answer = ask()
        if of(answer).is_ok:
            return answer
        if of(answer).status != 503 or time.monotonic() > deadline:
            raise AssertionError(f"could not prepare a round: {of(answer)}")
        time.sleep(0.2)


def completions_of_an_absent_key(storm, key):
    def upload(number):
        client = storm.client(number)
        _, upload = prepared(lambda: client.begin_upload(BUCKET, key), lambda begun: begun[0])
        part = prepared(
            lambda: client.put_part(BUCKET, key, upload, 1, storm.body(key, number)))
        return {"uploadId": upload}, complete_body([part.etag])

    begun = list(storm.pool.map(upload, range(storm.writers)))
    answers = storm.all_at_once(lambda n, last: storm.client(n).ask(
        "POST", f"/{BUCKET}/{key}", begun[n][0], {"if-none-match": "*"}, begun[n][1],
        before_last=last))
    # A completion may say 200 first and what went wrong in its body.
    answers = [answer._replace(status=412) if b"<Error>" in answer.body else answer
               for answer in answers]
    winner = storm.winner(key, answers)
    # Uploads that lost stay open, and a bucket takes a thousand of them.
    for number in range(storm.writers):
        if number != winner:
            storm.client(number).ask("DELETE", f"/{BUCKET}/{key}", begun[number][0])
    storm.assert_shows(key, storm.body(key, winner))


def deletes_and_an_overwrite(storm, key):
    """Deletes of the old bytes never take the new ones with them."""
    stored = storm.clients[0].put(BUCKET, key, b"first")

    def request(number, last):
        if number == 0:
            return storm.client(0).ask("PUT", f"/{BUCKET}/{key}", body=storm.body(key, 0),
                                       before_last=last)
        return storm.client(number).ask("DELETE", f"/{BUCKET}/{key}",
                                        headers={"if-match": stored.etag}, before_last=last)

    answers = storm.all_at_once(request)
    statuses = Counter(answer.status for answer in answers)
    assert answers[0].status == 200 and statuses.keys() <= {200, 204, 412}, f"{key}: {statuses}"
    storm.assert_shows(key, storm.body(key, 0))


def deletes_and_puts_of_a_known_tag(storm, key):
    """Either one put wins and every delete fails, or the deletes win and every put fails."""
    stored = storm.clients[0].put(BUCKET, key, b"first")

    def request(number, last):
        method, body = ("PUT", storm.body(key, number)) if number % 2 else ("DELETE", b"")
        return storm.client(number).ask(method, f"/{BUCKET}/{key}", body=body,
                                        headers={"if-match": stored.etag}, before_last=last)

    answers = storm.all_at_once(request)
    puts, deletes = answers[1::2], answers[0::2]
    if any(answer.is_ok for answer in puts):
        winner = storm.winner(key, answers)
        storm.assert_shows(key, storm.body(key, winner))
    else:
        # S3 answers 204 to a delete of what is not there, whatever its condition.
        assert {answer.status for answer in deletes} == {204}, [a.status for a in deletes]
        assert {answer.status for answer in puts} <= LOSSES, [a.status for a in puts]
        storm.assert_shows(key, None)


KINDS = [
    puts_of_an_absent_key, puts_over_a_known_tag, copies_to_an_absent_key,
    completions_of_an_absent_key, deletes_and_an_overwrite, deletes_and_puts_of_a_known_tag,
]


def of_many_conditional_writes_exactly_one_wins(chaos):
    network = Up(chaos, "storm", "--epoch", "5s")
    network.start()
    clients = [network.client()]
    clients[0].create_bucket(BUCKET)
    rounds = chaos.options.rounds
    with ThreadPoolExecutor(chaos.options.writers) as pool:
        storm = Storm(chaos, clients, pool)
        for number in range(rounds):
            for kind in KINDS:
                kind(storm, f"{kind.__name__}/{number}")
    network.stop()
    told = ", ".join(f"{count} x {status}" for status, count in sorted(storm.answers.items()))
    return f"{rounds} rounds of {len(KINDS)} kinds, {chaos.options.writers} writers: {told}"


CHECKS = [of_many_conditional_writes_exactly_one_wins]

if __name__ == "__main__":
    sys.exit(base.main(sys.modules[__name__]))

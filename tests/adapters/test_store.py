"""The store keeps what it accepted, once, in order, and its audit chain holds or says where not."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import builders
import numpy as np
import pytest
import servers
from hypothesis import given, settings
from hypothesis import strategies as st

from healer.adapters.store import SqlStore, open_store
from healer.errors import BadInput, Permanent, Temporary
from healer.model.audit import AuditEntry
from healer.model.incident import Phase
from healer.model.intent import Effect, Intent, Outcome, State
from healer.model.message import Delivery, DeliveryResult
from healer.model.opinion import Opinion
from healer.model.tally import Tally
from healer.ports import Baseline, Episode

NOW = builders.NOW


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database; every test runs on both."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/healer.db"
    server: str = request.getfixturevalue("postgres")
    return servers.new_database(server)


@pytest.fixture
def store(url: str) -> Iterator[SqlStore]:
    opened = open_store(url)
    yield opened
    opened.close()


def tamper(store: SqlStore, *statements: str) -> None:
    with store.transaction() as connection:
        for statement in statements:
            connection.exec_driver_sql(statement)


def entry(number: int) -> AuditEntry:
    return AuditEntry(
        "plan.proposed",
        NOW,
        "healer",
        incident_id=f"inc-{number % 3}",
        message=f"entry {number}",
        detail={"n": number, "为": "什么"},
    )


def test_an_incident_comes_back_as_it_was_put_after_a_restart(store: SqlStore, url: str) -> None:
    put = builders.incident(diagnosis=builders.diagnosis())
    store.put_incident(put)
    store.close()
    again = open_store(url)
    assert again.incident("inc-1") == put
    assert again.open_incidents() == (put,)
    again.close()


def test_a_resolved_incident_is_no_longer_open(store: SqlStore) -> None:
    put = builders.incident()
    store.put_incident(put)
    store.put_incident(dataclasses.replace(put, phase=Phase.RESOLVED))
    assert store.open_incidents() == ()
    assert store.incident("inc-1") is not None


def test_pages_cover_every_incident_once_newest_first(store: SqlStore) -> None:
    for number in range(7):
        store.put_incident(builders.incident(f"inc-{number}", opened_at=builders.at(number // 2)))
    seen: list[str] = []
    cursor = None
    while True:
        page = store.incidents(limit=2, cursor=cursor)
        seen += [i.id for i in page.items]
        cursor = page.next_cursor
        if cursor is None:
            break
    assert seen == [f"inc-{n}" for n in (6, 5, 4, 3, 2, 1, 0)]


def test_incidents_are_found_by_phase_cause_namespace_node_time_and_text(store: SqlStore) -> None:
    store.put_incident(builders.incident("a", diagnosis=builders.diagnosis()))
    store.put_incident(
        builders.incident(
            "b",
            targets=(builders.node(),),
            phase=Phase.RESOLVED,
            opened_at=builders.at(60),
            title="disk 100% full",
        )
    )

    def ids(**wanted: Any) -> list[str]:
        return [i.id for i in store.incidents(**wanted).items]

    assert ids(phase=["resolved"]) == ["b"]
    assert ids(cause=["engine_hang"]) == ["a"]
    assert ids(namespace=["serving"]) == ["a"]
    assert ids(node=["gpu-node-1"]) == ["b"]
    assert ids(since=builders.at(0)) == ["b"]
    assert ids(until=builders.at(0)) == ["a"]
    assert ids(text="100% f") == ["b"]
    assert ids(text="100_ f") == []


def test_a_foreign_cursor_is_refused_with_its_value(store: SqlStore) -> None:
    with pytest.raises(BadInput, match="cursor: '!!'"):
        store.incidents(cursor="!!")


def test_an_intent_is_claimed_once(store: SqlStore) -> None:
    intent = builders.intent()
    assert store.claim_intent(intent)
    assert not store.claim_intent(dataclasses.replace(intent, note="second"))
    found = store.intent(intent.id)
    assert found is not None
    assert found.note == ""


def test_an_approval_counts_once_for_the_very_plan_and_in_time(store: SqlStore) -> None:
    intent = builders.intent(expires_at=builders.at(900))
    store.claim_intent(intent)
    assert not store.decide(intent.id, "another digest", "ada", yes=True, at=NOW)
    assert not store.decide(intent.id, intent.plan.digest, "ada", yes=True, at=builders.at(900))
    assert store.decide(intent.id, intent.plan.digest, "ada", yes=True, at=NOW)
    assert not store.decide(intent.id, intent.plan.digest, "bob", yes=True, at=NOW)
    found = store.intent(intent.id)
    assert found is not None
    assert (found.approved_by, found.state) == ("ada", State.PLANNED)


def test_a_rejected_intent_is_aborted_and_says_by_whom(store: SqlStore) -> None:
    intent = builders.intent()
    store.claim_intent(intent)
    assert store.decide(intent.id, intent.plan.digest, "ada", yes=False, at=NOW)
    found = store.intent(intent.id)
    assert found is not None
    assert (found.state, found.note) == (State.ABORTED, "rejected by ada")
    assert store.intents(open_only=True) == ()


def test_an_alert_delivered_twice_is_one_episode_and_its_end_is_kept(store: SqlStore) -> None:
    firing = Episode("alertmanager", "f1", NOW, {"alertname": "X"}, last_seen=NOW)
    assert store.accept([firing]) == (1, 0)
    assert store.accept([firing]) == (0, 1)
    ended = dataclasses.replace(firing, ends_at=builders.at(60), last_seen=builders.at(60))
    assert store.accept([ended]) == (1, 0)
    assert store.accept([firing]) == (0, 1)
    (found,) = store.episodes(NOW)
    assert found.ends_at == builders.at(60)
    assert store.episodes(builders.at(61)) == ()


def test_a_notice_is_enqueued_once_a_channel_and_retried_when_it_is_due(store: SqlStore) -> None:
    assert store.enqueue("ops", "k", "inc-1", "{}", NOW)
    assert not store.enqueue("ops", "k", "inc-1", "{}", NOW)
    assert store.enqueue("dev", "k", "inc-1", "{}", NOW)
    (parcel,) = store.due("ops", NOW)
    retry = DeliveryResult(Delivery.RETRY, "-1", "busy")
    store.settle(parcel.id, retry, NOW, builders.at(30))
    assert store.due("ops", NOW) == ()
    (again,) = store.due("ops", builders.at(30))
    assert again.tries == 1
    store.settle(parcel.id, DeliveryResult(Delivery.DELIVERED, "0"), builders.at(31), None)
    assert store.due("ops", builders.at(9999)) == ()
    assert {d["result"] for d in store.deliveries(incident_id="inc-1")} == {"delivered", "waiting"}


def test_a_baseline_keeps_its_arrays_to_the_bit(store: SqlStore) -> None:
    arrays = {"profile": np.linspace(0, 1, 7, dtype=np.float32), "n": np.array([3])}
    store.put_baseline(Baseline("seasonal", "ttft_p95", 2, NOW, arrays, {"period_s": 86400}))
    (found,) = store.baselines()
    assert (found.version, found.meta) == (2, {"period_s": 86400})
    assert all(np.array_equal(found.arrays[k], v) for k, v in arrays.items())


def test_pruning_forgets_ended_incidents_and_never_the_audit(store: SqlStore) -> None:
    store.put_incident(builders.incident("old", phase=Phase.RESOLVED))
    store.put_incident(builders.incident("open"))
    store.record(entry(1))
    assert store.prune(NOW + timedelta(days=1)) == 1
    assert [i.id for i in store.incidents().items] == ["open"]
    assert store.verify_audit() == (1, "")


def test_what_is_counted_follows_what_is_stored(store: SqlStore) -> None:
    sent = builders.intent().steps[0]
    for number, effect in enumerate((Effect.EFFECTIVE, Effect.INEFFECTIVE, None)):
        name, helped = f"inc-{number}", effect is Effect.EFFECTIVE
        store.put_incident(
            builders.incident(
                name,
                phase=Phase.RESOLVED if helped else Phase.ESCALATED,
                started_at=builders.at(-100 - number),
                opened_at=builders.at(-60),
                resolved_at=NOW if helped else None,
                diagnosis=builders.diagnosis(),
            )
        )
        if effect is not None:
            store.claim_intent(
                builders.intent(
                    State.SUCCEEDED if helped else State.FAILED,
                    id=f"intent-{number}",
                    plan=builders.plan(incident_id=name),
                    steps=(dataclasses.replace(sent, sent_at=NOW),),
                    outcome=Outcome(effect, NOW),
                )
            )
    found = store.tally(builders.at(-60))
    assert (found.incidents, found.open, found.escalated) == (3, 2, 2)
    assert (found.acted_on, found.acted_on_and_over, found.recovered) == (2, 2, 1)
    assert (found.missed, found.wrong_actions) == (1, 1)
    assert (found.detect_s, found.recover_s) == ((40.0, 41.0, 42.0), (100.0,))
    assert found.actions == {"restart_pod": {"failed": 1, "succeeded": 1}}
    assert found.causes == {"engine_hang": 3}
    assert store.tally(NOW) == Tally()
    store.prune(NOW + timedelta(days=1))
    kept = store.tally(builders.at(-60))
    assert (kept.incidents, kept.recovered, kept.actions) == (2, 0, {"restart_pod": {"failed": 1}})


def test_pruning_keeps_the_incident_whose_cordon_still_stands(store: SqlStore) -> None:
    for name in ("gone", "owed"):
        store.put_incident(builders.incident(name, phase=Phase.RESOLVED))
        plan = builders.plan(incident_id=name)
        store.claim_intent(builders.intent(State.SUCCEEDED, id=f"intent-{name}", plan=plan))
    assert store.prune(NOW + timedelta(days=1), keep=("intent-owed",)) == 1
    assert [i.id for i in store.incidents().items] == ["owed"]
    assert [i.id for i in store.intents()] == ["intent-owed"]


def test_the_audit_chain_holds_over_many_appends_and_a_restart(store: SqlStore, url: str) -> None:
    for number in range(20):
        store.record(entry(number), entry(number + 100))
    store.close()
    again = open_store(url)
    assert again.verify_audit() == (40, "")
    assert [n for n, _ in again.audit(incident_id="inc-1", limit=2)] == [2, 3]
    again.close()


@pytest.mark.parametrize(
    ("statement", "complaint"),
    [
        ("UPDATE audit SET body = replace(body, 'entry 4', 'entry 5') WHERE sequence = 5", "5 doe"),
        ("UPDATE audit SET incident_id = 'inc-9' WHERE sequence = 3", "3 does not match"),
        ("DELETE FROM audit WHERE sequence = 4", "entry 4 is missing"),
        ("DELETE FROM audit WHERE sequence > 8", "ends at entry 8"),
        ("DELETE FROM audit", "ends at entry 0"),
        ("UPDATE audit SET sequence = 99 WHERE sequence = 1", "entry 1 is missing"),
        ("UPDATE audit SET body = 'x' WHERE sequence = 2", "2 is not readable"),
    ],
)
def test_tampering_with_the_audit_is_found(
    store: SqlStore, url: str, statement: str, complaint: str
) -> None:
    for number in range(10):
        store.record(entry(number))
    tamper(store, statement)
    assert complaint in store.verify_audit()[1]


def test_swapping_two_audit_rows_is_found(store: SqlStore, url: str) -> None:
    for number in range(4):
        store.record(entry(number))
    tamper(
        store,
        "UPDATE audit SET sequence = -1 WHERE sequence = 2",
        "UPDATE audit SET sequence = 2 WHERE sequence = 3",
        "UPDATE audit SET sequence = 3 WHERE sequence = -1",
    )
    assert "2 does not match" in store.verify_audit()[1]


@given(st.lists(st.integers(1, 4), min_size=1, max_size=6))
@settings(max_examples=15, deadline=None)
def test_any_grouping_of_appends_gives_the_same_chain(groups: list[int]) -> None:
    one, many = open_store("sqlite://"), open_store("sqlite://")
    entries = [entry(n) for n in range(sum(groups))]
    many.record(*entries)
    rest = list(entries)
    for size in groups:
        one.record(*rest[:size])
        rest = rest[size:]
    assert one.verify_audit() == many.verify_audit() == (len(entries), "")
    one.close()
    many.close()


def test_a_store_that_cannot_be_written_raises_temporary(store: SqlStore, url: str) -> None:
    tamper(store, "DROP TABLE audit")
    with pytest.raises(Temporary, match=r"audit"):
        store.record(entry(1))


def test_a_database_newer_than_the_program_is_refused(url: str) -> None:
    opened = open_store(url)
    tamper(opened, "UPDATE alembic_version SET version_num = '9999'")
    opened.close()
    with pytest.raises(Permanent, match="9999, newer than this program"):
        open_store(url)


def test_a_url_that_is_none_is_refused_with_its_value() -> None:
    with pytest.raises(BadInput, match=r"store\.url: 'nonsense'"):
        open_store("nonsense")


def at_once(jobs: int, work: Callable[[int], Any]) -> list[Any]:
    """`work(0)` … at the same moment, each in a thread of its own."""
    start = threading.Barrier(jobs)

    def one(number: int) -> Any:
        start.wait(60)
        return work(number)

    with ThreadPoolExecutor(jobs) as pool:
        return list(pool.map(one, range(jobs)))


def test_replicas_that_start_at_once_make_one_schema(url: str) -> None:
    for opened in at_once(3, lambda _: open_store(url)):
        opened.record(entry(1))
        opened.close()


def test_replicas_that_write_at_once_keep_one_chain_and_lose_nothing(url: str) -> None:
    stores = [open_store(url) for _ in range(3)]

    def write(number: int) -> None:
        for _ in range(15):
            stores[number].record(entry(number))

    at_once(3, write)
    assert stores[0].verify_audit() == (45, "")
    for opened in stores:
        opened.close()


def _claim(stores: list[SqlStore], intent: Intent, number: int) -> bool:
    return stores[number].claim_intent(intent)


def test_of_replicas_that_claim_one_intent_at_once_one_gets_it(url: str) -> None:
    stores = [open_store(url) for _ in range(4)]
    for number in range(5):
        intent = dataclasses.replace(builders.intent(), id=f"intent-{number}")
        claim = partial(_claim, stores, intent)
        assert sum(at_once(4, claim)) == 1
    for opened in stores:
        opened.close()


def test_an_alert_that_reaches_two_replicas_at_once_is_one_episode(url: str) -> None:
    stores = [open_store(url) for _ in range(3)]
    alerts = [Episode("alertmanager", f"f{n}", NOW, {"a": "b"}, last_seen=NOW) for n in range(20)]
    taken = at_once(3, lambda n: stores[n].accept(alerts if n % 2 else alerts[::-1]))
    assert sum(fresh for fresh, _ in taken) == 20
    assert sum(known for _, known in taken) == 40
    assert sum(at_once(3, lambda n: stores[n].enqueue("ops", "k", "inc-1", "{}", NOW))) == 1
    for opened in stores:
        opened.close()


def opinion(
    incident: str, cause: str = "engine_hang", *, right: bool = True, **rest: Any
) -> Opinion:
    return Opinion(incident, cause, right, rest.pop("who", "ada"), rest.pop("at", NOW), **rest)


def test_opinions_come_back_newest_first_and_make_a_standing(store: SqlStore) -> None:
    later = opinion("inc-2", right=False, at=NOW + timedelta(hours=1), note="it was the network")
    for each in (opinion("inc-1"), later, opinion("inc-3", "load_surge")):
        store.put_opinion(each)
    assert store.opinions(cause="engine_hang") == (later, opinion("inc-1"))
    assert store.opinions(incident_id="inc-3") == (opinion("inc-3", "load_surge"),)
    assert store.standings() == {"engine_hang": (1, 1), "load_surge": (1, 0)}


def test_the_newest_opinion_of_an_incident_counts_and_counts_once(store: SqlStore) -> None:
    for right in (True, True, False):
        store.put_opinion(opinion("inc-1", right=right))
    assert store.standings() == {"engine_hang": (0, 1)}


def test_an_opinion_outlives_its_incident(store: SqlStore) -> None:
    ended = dataclasses.replace(builders.incident(), phase=Phase.RESOLVED)
    store.put_incident(ended)
    store.put_opinion(opinion(ended.id))
    assert store.prune(NOW + timedelta(days=400)) == 1
    assert store.standings() == {"engine_hang": (1, 0)}


def test_opinions_given_at_once_by_two_replicas_are_one(url: str) -> None:
    stores = [open_store(url) for _ in range(3)]
    at_once(3, lambda n: stores[n].put_opinion(opinion("inc-1", who=f"person {n}")))
    assert stores[0].standings() == {"engine_hang": (1, 0)}
    for opened in stores:
        opened.close()


def test_a_database_of_the_first_schema_is_brought_up_to_date(url: str) -> None:
    store = open_store(url)
    store.record(entry(1))
    later = ("opinions", "incident_facts", "intent_facts")
    tamper(store, *(f"DROP TABLE {name}" for name in later),
           "UPDATE alembic_version SET version_num = '0001'")  # fmt: skip
    store.close()
    opened = open_store(url)
    assert opened.standings() == {}
    assert opened.verify_audit() == (1, "")
    opened.close()

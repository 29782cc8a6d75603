"""Messages reach people: paced, folded, retried, and never reported as sent when they were not."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from builders import NOW, finding, incident
from standins import DingTalkRobot, FeishuBot, StandIn, WeComRobot

from healer.adapters.channels import open_notifiers
from healer.adapters.clocks import SteppedClock
from healer.adapters.outbox import Outbox
from healer.adapters.post import RequestsPost
from healer.adapters.store import SqlStore, open_store
from healer.errors import BadInput, Temporary
from healer.model.incident import Incident, Severity
from healer.model.message import DeliveryResult, Notice, Occasion
from healer.notifiers.dingtalk import DingTalk
from healer.notifiers.feishu import Feishu
from healer.notifiers.wecom import WeCom
from healer.ports import Notifier, PostRequest
from healer.settings import Channel, NotifySettings


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock(NOW)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqlStore]:
    opened = open_store(f"sqlite:///{tmp_path / 'healer.db'}")
    yield opened
    opened.close()


@pytest.fixture
def post() -> Iterator[RequestsPost]:
    opened = RequestsPost()
    yield opened
    opened.close()


@pytest.fixture
def dingtalk(clock: SteppedClock) -> Iterator[StandIn]:
    with DingTalkRobot(clock.now) as robot:
        yield robot


@pytest.fixture
def wecom(clock: SteppedClock) -> Iterator[StandIn]:
    with WeComRobot(clock.now) as robot:
        yield robot


def ding(robot: StandIn, **changes: Any) -> DingTalk:
    return DingTalk(**{"url": robot.url, "secret": "SECtest", "keyword": "healer", **changes})


def notice(number: int = 1, occasion: Occasion = Occasion.OPENED, **changes: Any) -> Notice:
    return Notice(occasion, incident(f"inc-{number}", **changes), NOW)


def results(store: SqlStore) -> list[tuple[str, str]]:
    return [(row["result"], row["code"]) for row in reversed(store.deliveries(limit=5000))]


def test_a_notice_reaches_every_channel_once(
    store: SqlStore, clock: SteppedClock, post: RequestsPost, dingtalk: StandIn, wecom: StandIn
) -> None:
    with FeishuBot(clock.now) as feishu:
        channels: dict[str, Notifier] = {
            "ops": ding(dingtalk),
            "duty": WeCom(url=wecom.url, language="zh"),
            "lark": Feishu(url=feishu.url, secret="SECtest"),
        }
        outbox = Outbox(store, channels, post, clock)
        for _ in range(3):
            assert outbox.enqueue([notice()]) == ()
        assert outbox.flush() == 3
        assert outbox.flush() == 0
        assert [len(r.taken) for r in (dingtalk, wecom, feishu)] == [1, 1, 1]
        assert feishu.taken[0]["card"]["header"]["template"] == "red"
    assert results(store) == [("delivered", "0")] * 3


def test_what_was_told_before_a_restart_is_not_told_again(
    store: SqlStore, clock: SteppedClock, post: RequestsPost, dingtalk: StandIn
) -> None:
    for _ in range(2):
        outbox = Outbox(store, {"ops": ding(dingtalk)}, post, clock)
        outbox.enqueue([notice()])
        outbox.flush()
    assert len(dingtalk.taken) == 1


def test_a_wrong_signature_breaks_the_channel_and_keeps_the_message(
    store: SqlStore, clock: SteppedClock, post: RequestsPost, dingtalk: StandIn
) -> None:
    counts: list[tuple[str, str]] = []
    outbox = Outbox(
        store,
        {"ops": ding(dingtalk, secret="another")},
        post,
        clock,
        counted=lambda c, r: counts.append((c, r)),
    )
    outbox.enqueue([notice(1), notice(2)])
    assert outbox.flush() == 0
    assert outbox.broken() == ("ops: 310000 sign not match",)
    assert results(store)[0] == ("broken", "310000")
    clock.move(timedelta(minutes=9))
    outbox.flush()
    assert len(dingtalk.attempts) == 1, "a channel that refuses us is not hammered"
    assert counts == [("ops", "broken")]

    mended = Outbox(store, {"ops": ding(dingtalk)}, post, clock)
    clock.move(timedelta(minutes=2))
    assert mended.flush() == 2
    assert mended.broken() == ()


def test_a_clock_that_is_off_is_said_in_the_delivery_log(
    store: SqlStore, clock: SteppedClock, post: RequestsPost
) -> None:
    with DingTalkRobot(lambda: clock.now() + timedelta(hours=2)) as robot:
        outbox = Outbox(store, {"ops": ding(robot)}, post, clock)
        outbox.enqueue([notice()])
        outbox.flush()
        assert "invalid timestamp" in store.deliveries()[0]["detail"]


@pytest.mark.parametrize(
    ("code", "errmsg", "pause"),
    [(130101, "send too fast", 600), (410100, "too fast", 600), (999, "flow control", 600)],
)
def test_a_throttled_robot_is_left_alone_and_its_queue_is_kept(
    store: SqlStore,
    clock: SteppedClock,
    post: RequestsPost,
    dingtalk: StandIn,
    code: int,
    errmsg: str,
    pause: int,
) -> None:
    dingtalk.scripted = [(200, json.dumps({"errcode": code, "errmsg": errmsg}))]
    outbox = Outbox(store, {"ops": ding(dingtalk)}, post, clock)
    outbox.enqueue([notice(1), notice(2)])
    assert outbox.flush() == 0
    clock.move(timedelta(seconds=pause - 1))
    again = Outbox(store, {"ops": ding(dingtalk)}, post, clock)
    assert again.flush() == 0, "the pause outlives a restart"
    assert len(dingtalk.attempts) == 1
    clock.move(timedelta(seconds=2))
    assert again.flush() == 2


def test_wecom_saying_45009_pauses_for_a_minute(
    store: SqlStore, clock: SteppedClock, post: RequestsPost, wecom: StandIn
) -> None:
    wecom.scripted = [(200, '{"errcode":45009,"errmsg":"api freq out of limit"}')]
    outbox = Outbox(store, {"duty": WeCom(url=wecom.url)}, post, clock)
    outbox.enqueue([notice()])
    assert outbox.flush() == 0
    assert results(store) == [("pause", "45009")]
    clock.move(timedelta(seconds=61))
    assert outbox.flush() == 1


@pytest.mark.parametrize(
    "answer",
    [
        (502, "<html>bad gateway</html>"),
        (200, ""),
        (200, '{"errcode":-1,"errmsg":"busy"}'),
        (200, '{"errcode":77777,"errmsg":"who knows"}'),
        (200, "[]"),
        (200, '{"errcode":false}'),
    ],
)
def test_anything_but_success_is_tried_again(
    store: SqlStore,
    clock: SteppedClock,
    post: RequestsPost,
    wecom: StandIn,
    answer: tuple[int, str],
) -> None:
    wecom.scripted = [answer, answer]
    outbox = Outbox(store, {"duty": WeCom(url=wecom.url)}, post, clock)
    outbox.enqueue([notice()])
    assert outbox.flush() == 0
    assert results(store)[0][0] == "retry"
    assert outbox.flush() == 0
    assert len(wecom.attempts) == 1, "it waits before it tries again"
    clock.move(timedelta(seconds=6))
    assert outbox.flush() == 0
    clock.move(timedelta(seconds=6))
    assert outbox.flush() == 0, "and longer each time"
    clock.move(timedelta(seconds=6))
    assert outbox.flush() == 1
    assert store.deliveries()[0]["tries"] == 3


def test_a_message_refused_as_too_large_is_shortened_and_sent(
    store: SqlStore, clock: SteppedClock, post: RequestsPost, wecom: StandIn
) -> None:
    wecom.limits = {"markdown": 300}  # type: ignore[attr-defined]
    symptoms = tuple(finding(summary=f"symptom {n} " + "x" * 100) for n in range(4))
    outbox = Outbox(store, {"duty": WeCom(url=wecom.url)}, post, clock)
    outbox.enqueue([notice(findings=symptoms)])
    for _ in range(4):
        outbox.flush()
        clock.move(timedelta(seconds=10))
    assert len(wecom.taken) == 1
    assert "llama-8b" in wecom.taken[0]["markdown"]["content"]
    assert {r for r, _ in results(store)} == {"too_large", "delivered"}


def test_a_crash_between_sending_and_settling_sends_it_again(
    store: SqlStore, clock: SteppedClock, post: RequestsPost, wecom: StandIn
) -> None:
    class Crashing(RequestsPost):
        def send(self, request: PostRequest) -> tuple[int, str]:
            super().send(request)
            self.close()
            raise KeyboardInterrupt

    outbox = Outbox(store, {"duty": WeCom(url=wecom.url)}, Crashing(), clock)
    outbox.enqueue([notice()])
    with pytest.raises(KeyboardInterrupt):
        outbox.flush()
    again = Outbox(store, {"duty": WeCom(url=wecom.url)}, post, clock)
    assert again.flush() == 1
    assert len(wecom.taken) == 2


def test_no_answer_at_all_names_the_host_and_never_the_token(
    store: SqlStore, clock: SteppedClock, post: RequestsPost, wecom: StandIn
) -> None:
    url = "http://127.0.0.1:9/cgi-bin/webhook/send?key=very-secret-key"
    outbox = Outbox(store, {"duty": WeCom(url=url)}, post, clock)
    outbox.enqueue([notice()])
    assert outbox.flush() == 0
    row = store.deliveries()[0]
    assert row["result"] == "retry"
    assert "127.0.0.1" in row["detail"]
    assert "very-secret-key" not in json.dumps([dict(r) for r in store.deliveries()])
    with pytest.raises(Temporary) as raised:
        post.send(PostRequest(url, b"{}"))
    assert "very-secret-key" not in str(raised.value)


def test_a_provider_that_repeats_the_token_does_not_bring_it_into_the_log(
    store: SqlStore, clock: SteppedClock, post: RequestsPost, wecom: StandIn
) -> None:
    wecom.scripted = [(200, '{"errcode":93000,"errmsg":"bad key wecom-webhook-key"}')]
    outbox = Outbox(store, {"duty": WeCom(url=wecom.url)}, post, clock)
    outbox.enqueue([notice()])
    outbox.flush()
    assert store.deliveries()[0]["detail"] == "bad key ***"


def flood(outbox: Outbox, clock: SteppedClock, flushes: int, made: Callable[[int], Notice]) -> None:
    for step in range(flushes):
        outbox.enqueue([made(step * 20 + n) for n in range(20)])
        outbox.flush()
        clock.move(timedelta(seconds=60 / 25))
    for _ in range(40):
        clock.move(timedelta(seconds=10))
        outbox.flush()


def test_five_hundred_incidents_in_a_minute_are_a_few_readable_messages(
    store: SqlStore, clock: SteppedClock, post: RequestsPost, dingtalk: StandIn, wecom: StandIn
) -> None:
    outbox = Outbox(
        store, {"ops": ding(dingtalk), "duty": WeCom(url=wecom.url, language="zh")}, post, clock
    )

    incidents: dict[str, Incident] = {}

    def made(number: int) -> Notice:
        found = notice(number, title=f"GPU {number} fell off the bus " + "很长的标题" * 30)
        incidents[found.incident.id] = found.incident
        return found

    store.incident = incidents.get  # type: ignore[method-assign]
    flood(outbox, clock, 25, made)
    for robot in (dingtalk, wecom):
        assert len(robot.taken) == len(robot.attempts), "no limit was ever met"
        assert 2 <= len(robot.taken) <= 6
    assert dingtalk.largest() <= 20_000
    told = [r for r, _ in results(store)]
    assert told.count("folded") == 1000
    assert told.count("delivered") == len(dingtalk.taken) + len(wecom.taken)
    assert store.due("ops", clock.now() + timedelta(days=1)) == ()
    assert store.due("duty", clock.now() + timedelta(days=1)) == ()


def test_what_needs_an_answer_is_never_folded(
    store: SqlStore, clock: SteppedClock, post: RequestsPost, dingtalk: StandIn
) -> None:
    outbox = Outbox(store, {"ops": ding(dingtalk)}, post, clock)
    for n in range(20):
        found = notice(n)
        store.put_incident(found.incident)
        outbox.enqueue([found])
    outbox.enqueue([notice(7, Occasion.ESCALATED)])
    outbox.flush()
    titles = [t["markdown"]["title"] for t in dingtalk.taken]
    assert len(titles) == 2
    assert "Needs a person" in titles[0]
    assert "20 incidents" in titles[1]


def test_the_pace_of_a_channel_is_kept_without_digests_too(
    store: SqlStore, clock: SteppedClock, post: RequestsPost, dingtalk: StandIn
) -> None:
    outbox = Outbox(store, {"ops": ding(dingtalk)}, post, clock)
    outbox.enqueue([notice(n, Occasion.ESCALATED) for n in range(30)])
    assert outbox.flush() == 18
    assert outbox.flush() == 0
    clock.move(timedelta(seconds=60))
    assert outbox.flush() == 12
    assert len(dingtalk.attempts) == 30


def test_the_pace_is_remembered_over_a_restart(
    store: SqlStore, clock: SteppedClock, post: RequestsPost, dingtalk: StandIn
) -> None:
    first = Outbox(store, {"ops": ding(dingtalk)}, post, clock)
    first.enqueue([notice(n, Occasion.ESCALATED) for n in range(30)])
    assert first.flush() == 18
    assert Outbox(store, {"ops": ding(dingtalk)}, post, clock).flush() == 0


def test_a_channel_is_told_only_what_is_grave_enough(
    store: SqlStore, clock: SteppedClock, post: RequestsPost, wecom: StandIn
) -> None:
    settings = {"duty": Channel("wecom", min_severity="critical")}
    outbox = Outbox(store, {"duty": WeCom(url=wecom.url)}, post, clock, settings)
    outbox.enqueue([notice(1, severity=Severity.WARNING), notice(2, severity=Severity.CRITICAL)])
    assert outbox.flush() == 1


class Raising(WeCom):
    def render(self, notice: Notice) -> str:
        raise ZeroDivisionError("no template")


class Garbling(WeCom):
    def classify(self, status: int, body: str) -> DeliveryResult:
        raise KeyError("errcode")


def test_a_notifier_that_raises_is_reported_and_the_others_go_on(
    store: SqlStore, clock: SteppedClock, post: RequestsPost, wecom: StandIn
) -> None:
    channels: dict[str, Notifier] = {"bad": Raising(url=wecom.url), "duty": WeCom(url=wecom.url)}
    outbox = Outbox(store, channels, post, clock)
    problems = outbox.enqueue([notice()])
    assert [(p.where, p.what) for p in problems] == [
        ("notifier.bad", "ZeroDivisionError: no template")
    ]
    assert outbox.flush() == 1


def test_an_answer_that_a_notifier_cannot_read_is_tried_again(
    store: SqlStore, clock: SteppedClock, post: RequestsPost, wecom: StandIn
) -> None:
    outbox = Outbox(store, {"duty": Garbling(url=wecom.url)}, post, clock)
    outbox.enqueue([notice()])
    assert outbox.flush() == 0
    assert results(store) == [("retry", "KeyError")]


def test_notifiers_are_built_from_settings_and_files(tmp_path: Path) -> None:
    (tmp_path / "url").write_text("https://oapi.dingtalk.com/robot/send?access_token=abc\n")
    (tmp_path / "secret").write_text("SECtest\n")
    channel = Channel(
        "dingtalk",
        url_file=tmp_path / "url",
        secret_file=tmp_path / "secret",
        language="zh",
        options={"keyword": "告警"},
    )
    found = open_notifiers(NotifySettings({"ops": channel}, timezone="Asia/Shanghai"))["ops"]
    assert isinstance(found, DingTalk)
    assert (found.secret, found.keyword, found.zone) == ("SECtest", "告警", "Asia/Shanghai")


@pytest.mark.parametrize(
    ("channel", "said"),
    [
        (Channel("dingtalk"), "notify.channels.ops.url_file"),
        (Channel("dingtork", url="https://x"), "did you mean 'dingtalk'?"),
        (Channel("wecom", url="https://x", options={"formt": "text"}), "did you mean 'format'?"),
        (Channel("wecom", url="https://x", options={"format": "html"}), "text, markdown"),
        (Channel("wecom", url="ftp://x"), "http or https URL"),
        (Channel("wecom", url="https://x", language="fr"), "en or zh"),
        (Channel("slack", url_file=Path("/nowhere/url")), "/nowhere/url"),
    ],
)
def test_a_channel_set_up_wrongly_is_one_clear_line(channel: Channel, said: str) -> None:
    with pytest.raises(BadInput) as raised:
        open_notifiers(NotifySettings({"ops": channel}))
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)

"""Messages: what a phone shows at night, within every limit, harmless whatever a label says."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from builders import NOW, at, diagnosis, finding, hypothesis, incident, intent, plan, pod

from healer.model.event import Event
from healer.model.hypothesis import Side, Term
from healer.model.incident import Phase
from healer.model.intent import Effect, Outcome, State
from healer.model.message import Delivery, Notice, Occasion
from healer.model.verdict import Decision, Verdict
from healer.notifiers._chat import Chat
from healer.notifiers._fit import cut, fit, shrink, size
from healer.notifiers._markup import harmless, plain
from healer.notifiers.dingtalk import CODES as DINGTALK_CODES
from healer.notifiers.dingtalk import DingTalk
from healer.notifiers.dingtalk import sign as dingtalk_sign
from healer.notifiers.feishu import CODES as FEISHU_CODES
from healer.notifiers.feishu import Feishu
from healer.notifiers.feishu import sign as feishu_sign
from healer.notifiers.slack import Slack
from healer.notifiers.teams import Teams
from healer.notifiers.webhook import Webhook
from healer.notifiers.webhook import sign as webhook_sign
from healer.notifiers.wecom import CODES as WECOM_CODES
from healer.notifiers.wecom import WeCom

EVIL = (
    "<@all> @all [click](http://evil) **bold** `x` <!channel> <at id=all></at>\n# big\x00\u202e|~"
)
URL = "https://hooks.example/services/T0/B0/abcdefgh"


def channels(language: str = "en", **changes: Any) -> tuple[Chat, ...]:
    given = {"url": URL, "language": language, "zone": "Asia/Shanghai", **changes}
    return (
        DingTalk(secret="SECtest", keyword="Healer", **given),
        WeCom(**given),
        WeCom(format="text", **given),
        WeCom(format="markdown_v2", **given),
        Feishu(secret="SECtest", **given),
        Slack(**given),
        Teams(**given),
        Webhook(secret="s3cret-s3cret", **given),
    )


def notice(occasion: Occasion = Occasion.PROPOSED, text: str = "plain", times: int = 1) -> Notice:
    terms = tuple(
        Term(f"{text} {n}", Side.FOR, 2.0, f"{text} {n} " + text * 20, source="x")
        for n in range(6 * times)
    )
    against = (Term("an Xid", Side.AGAINST, -0.4, f"none {text}"),)
    leader = hypothesis(terms=terms + against, title="The engine hangs", title_zh="推理引擎卡死")
    found = incident(
        title=text * times,
        targets=tuple(pod(f"{text}-{n}") for n in range(5 * times)),
        findings=tuple(finding(summary=f"{text} {n}", signal=f"s{n}") for n in range(5 * times)),
        events=(Event("alert", pod(), at(-9), text),),
        diagnosis=diagnosis(leader, would_decide=text),
        resolved_at=NOW if occasion is Occasion.RESOLVED else None,
        phase=Phase.RESOLVED if occasion is Occasion.RESOLVED else Phase.OPEN,
        resolution="restart_pod was effective",
    )
    asked = intent(
        State.PLANNED,
        plan=plan(summary=text * times),
        expires_at=at(900),
        verdicts=(Verdict("approval", Decision.APPROVE, (text,)),),
    )
    return Notice(occasion, found, NOW, (asked,), "https://healer.example/approvals/x")


def shown(channel: Chat, body: str) -> str:
    """All text that a person sees."""
    texts: list[str] = []

    def walk(value: Any) -> None:
        if isinstance(value, dict):
            for inner in value.values():
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)
        elif isinstance(value, str):
            texts.append(value)

    walk(json.loads(body))
    return "\n".join(texts)


@pytest.mark.parametrize("channel", channels(), ids=lambda c: f"{type(c).__name__}")
def test_a_message_says_what_why_what_was_done_and_what_is_wanted(channel: Chat) -> None:
    text = shown(channel, channel.render(notice()))
    for said in ("Waits for your yes", "Critical", "plain", "The engine hangs", "approvals/x"):
        assert said in text, said
    if not isinstance(channel, Webhook):
        for said in ("confidence 90 %", "03-04 19:58:00 +0800", "healer approve", "20:15:00 +0800"):
            assert said in text, said


@pytest.mark.parametrize("channel", channels("zh"), ids=lambda c: f"{type(c).__name__}")
def test_a_message_is_chinese_where_that_is_asked_for(channel: Chat) -> None:
    text = shown(channel, channel.render(notice()))
    assert "等你批准" in text
    if not isinstance(channel, Webhook):
        assert "推理引擎卡死" in text
        assert "置信度 90 %" in text
        assert "The engine hangs" not in text


@pytest.mark.parametrize("channel", channels(), ids=lambda c: f"{type(c).__name__}")
@pytest.mark.parametrize("occasion", list(Occasion))
def test_nothing_that_others_wrote_becomes_markup_or_a_mention(
    channel: Chat, occasion: Occasion
) -> None:
    text = shown(channel, channel.render(notice(occasion, EVIL)))
    if isinstance(channel, Webhook):
        text = json.loads(channel.render(notice(occasion, EVIL)))["headline"]
    for harm in ("@all", "<@", "<!", "<at", "](http://evil", "http://evil", "**bold**", "`x`"):
        assert harm not in text, harm
    assert not any(line.startswith("# ") for line in text.split("\n"))
    assert "\x00" not in text
    assert "\u202e" not in text
    if not isinstance(channel, Webhook):
        assert "click" in text, "but it can still be read"


LIMITS = {"DingTalk": 20_000, "Feishu": 20_000, "Teams": 28_000}


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("text", ["x", "长", "🔥", '"\\', "<&>"])
@pytest.mark.parametrize("times", [1, 12])
def test_no_message_is_over_its_limit_in_bytes(language: str, text: str, times: int) -> None:
    for occasion in Occasion:
        told = notice(occasion, text * 200, times)
        for channel in channels(language):
            body = channel.render(told)
            if isinstance(channel, WeCom):
                most = 2048 if channel.format == "text" else 4096
                assert size(json.loads(body)[channel.format]["content"]) <= most
            elif isinstance(channel, Slack):
                assert len(json.loads(body)["blocks"][1]["text"]["text"]) <= 3000
                assert len(json.loads(body)["blocks"][0]["text"]["text"]) <= 150
            elif not isinstance(channel, Webhook):
                assert len(channel.request(body, NOW).body) <= LIMITS[type(channel).__name__]


def test_a_long_message_loses_whole_lines_says_so_and_keeps_its_link() -> None:
    lines = [f"line {n} 中文" for n in range(100)]
    text = fit(lines, 400, "…{n} more", ["https://healer.example/x"])
    assert size(text) <= 400
    kept = text.split("\n")
    assert kept[-1] == "https://healer.example/x"
    assert kept[-2] == f"…{100 - len(kept) + 2} more"
    assert kept[:-2] == lines[: len(kept) - 2]


def test_a_text_is_cut_between_characters() -> None:
    for room in range(12):
        piece = cut("中文🔥字", room)
        assert size(piece) <= room
        assert "\ufffd" not in piece
    assert cut("short", 5) == "short"


def test_a_parcel_can_be_shrunk_until_nothing_is_left_to_take() -> None:
    body: str | None = DingTalk(url=URL).render(notice(text="长" * 200, times=5))
    sizes = []
    while body is not None:
        sizes.append(size(body))
        json.loads(body)
        body = shrink(body)
    assert sizes == sorted(sizes, reverse=True)
    assert len(set(sizes)) == len(sizes) > 3


def test_a_digest_counts_and_names_the_gravest_and_stays_short() -> None:
    told = [
        Notice(Occasion.OPENED, incident(f"inc-{n}", title=f"fault {n} {EVIL}"), NOW)
        for n in range(300)
    ]
    for channel in channels():
        body = channel.digest(told, NOW)
        if isinstance(channel, Webhook):
            assert body is None, "a program wants each by itself"
            continue
        assert body is not None
        text = shown(channel, body)
        assert "300 incidents" in text
        assert "@all" not in text
        assert 12 <= len(re.findall(r"fault \d+", text)) <= 15
        assert "…285 more" in text
        assert size(body) < 8000


def test_the_same_fault_of_an_incident_is_told_in_the_past_when_it_is_over() -> None:
    text = shown(WeCom(url=URL), WeCom(url=URL).render(notice(Occasion.RESOLVED)))
    assert "Lasted" in text
    assert "2 min" in text
    assert "Restart pod: effective" in text
    assert "healer approve" not in text


def test_a_result_is_told_with_its_reasons() -> None:
    failed = intent(State.FAILED, outcome=Outcome(Effect.INEFFECTIVE, NOW, ("ttft_p95 still 4 s",)))
    told = Notice(Occasion.ACTED, incident(), NOW, (failed,))
    text = shown(Slack(url=URL), Slack(url=URL).render(told))
    assert "did not help" in text
    assert "ttft_p95 still 4 s" in text


# signatures


def test_dingtalk_signs_as_its_vector_says() -> None:
    assert dingtalk_sign("SECtest", 1700000000000) == (
        "aZLLrriXgn05YbwaGR7knYsLeJADjr9NwLaNNKpxh4g%3D"
    )
    moment = datetime.fromtimestamp(1700000000, UTC)
    robot = DingTalk(url="https://oapi.dingtalk.com/robot/send?access_token=T", secret="SECtest")
    assert robot.request("{}", moment).url.endswith(
        "access_token=T&timestamp=1700000000000&sign=aZLLrriXgn05YbwaGR7knYsLeJADjr9NwLaNNKpxh4g%3D"
    )
    unsigned = DingTalk(url="https://oapi.dingtalk.com/robot/send?access_token=T")
    assert unsigned.request("{}", moment).url == unsigned.url


def test_feishu_signs_as_its_vector_says() -> None:
    expected = "G7XpBpG8NgG02fJOAhX6FRAObIljmFoxVReo8I62pEk="
    assert feishu_sign("SECtest", 1700000000) == expected
    moment = datetime.fromtimestamp(1700000000, UTC)
    body = Feishu(url=URL, secret="SECtest").request('{"msg_type":"x"}', moment).body
    assert json.loads(body) == {"timestamp": "1700000000", "sign": expected, "msg_type": "x"}


def test_a_webhook_is_signed_over_time_and_body() -> None:
    moment = datetime.fromtimestamp(1700000000, UTC)
    request = Webhook(url=URL, secret="s3cret", token="bearer-token").request("{}", moment)
    assert request.headers["X-Healer-Timestamp"] == "1700000000"
    signature = webhook_sign("s3cret", "1700000000", b"{}")
    assert request.headers["X-Healer-Signature"] == f"sha256={signature}"
    assert request.headers["Authorization"] == "Bearer bearer-token"


def test_stored_bodies_hold_no_credential_and_requests_name_theirs() -> None:
    for channel in channels(url="https://x.example/hook/path-secret?access_token=query-secret"):
        body = channel.render(notice())
        for secret in ("path-secret", "query-secret", "SECtest", "s3cret-s3cret"):
            assert secret not in body
        parts = channel.request(body, NOW).secret_parts
        assert {"path-secret", "query-secret"} <= set(parts)
        if channel.secret:
            assert channel.secret in parts


def test_a_keyword_is_always_there_even_when_lines_are_cut() -> None:
    robot = DingTalk(url=URL, keyword="告警关键词")
    for told in (notice(), notice(text="长" * 300, times=30)):
        made = json.loads(robot.render(told))
        assert "告警关键词" in made[made["msgtype"]]["text"]


def test_people_are_mentioned_only_when_somebody_is_needed() -> None:
    robot = DingTalk(url=URL, at_mobiles=("13800000000",), at_user_ids=("u1",))
    asked = json.loads(robot.render(notice(Occasion.PROPOSED)))
    assert asked["at"] == {"atMobiles": ["13800000000"], "atUserIds": ["u1"]}
    assert "@13800000000 @u1" in asked["markdown"]["text"], "without it nobody is notified"
    assert "at" not in json.loads(robot.render(notice(Occasion.RESOLVED)))
    wecom = WeCom(url=URL, mention=("zhang",))
    assert "<@zhang>" in json.loads(wecom.render(notice()))["markdown"]["content"]
    text = WeCom(url=URL, format="text", mention=("@all",), mention_mobiles=("138",))
    content = json.loads(text.render(notice()))["text"]
    assert (content["mentioned_list"], content["mentioned_mobile_list"]) == (["@all"], ["138"])


# answers


@pytest.mark.parametrize(
    ("channel", "table", "code_key", "text_key"),
    [
        (DingTalk(url=URL), DINGTALK_CODES, "errcode", "errmsg"),
        (WeCom(url=URL), WECOM_CODES, "errcode", "errmsg"),
        (Feishu(url=URL), FEISHU_CODES, "code", "msg"),
    ],
    ids=["DingTalk", "WeCom", "Feishu"],
)
def test_only_the_providers_own_zero_is_success(
    channel: Chat, table: Any, code_key: str, text_key: str
) -> None:
    def classed(code: Any, text: str = "", status: int = 200) -> Delivery:
        return channel.classify(status, json.dumps({code_key: code, text_key: text})).delivery

    assert classed(0) is Delivery.DELIVERED
    for row in table:
        for code in row.codes:
            assert classed(int(code)) is row.delivery, code
        for words in row.words:
            assert classed(424242, f"oh: {words.upper()} !") is row.delivery, words
    for unknown in (424242, None, "", False, "ok"):
        assert classed(unknown) is Delivery.RETRY
    assert classed(0, status=500) is not Delivery.DELIVERED
    assert channel.classify(200, "ok").delivery is Delivery.RETRY
    assert channel.classify(200, "").delivery is Delivery.RETRY
    assert channel.classify(503, "<html>").delivery is Delivery.RETRY
    assert channel.classify(404, "<html>").delivery is Delivery.BROKEN
    assert channel.classify(429, "").delivery is Delivery.PAUSE


@pytest.mark.parametrize(
    ("status", "body", "delivery"),
    [
        (200, "ok", Delivery.DELIVERED),
        (200, "no", Delivery.RETRY),
        (404, "no_service", Delivery.BROKEN),
        (410, "channel_is_archived", Delivery.BROKEN),
        (429, "rate_limited", Delivery.PAUSE),
        (400, "invalid_blocks", Delivery.TOO_LARGE),
        (500, "rollup_error", Delivery.RETRY),
    ],
)
def test_slack_says_ok_or_why_not(status: int, body: str, delivery: Delivery) -> None:
    assert Slack(url=URL).classify(status, body).delivery is delivery


@pytest.mark.parametrize(
    ("status", "delivery"),
    [(200, Delivery.DELIVERED), (204, Delivery.DELIVERED), (301, Delivery.RETRY),
     (401, Delivery.BROKEN), (413, Delivery.TOO_LARGE), (429, Delivery.PAUSE),
     (500, Delivery.RETRY)],
)  # fmt: skip
def test_a_webhook_succeeds_with_any_2xx(status: int, delivery: Delivery) -> None:
    assert Webhook(url=URL).classify(status, "").delivery is delivery


@pytest.mark.parametrize(
    ("status", "body", "delivery"),
    [
        (202, "", Delivery.DELIVERED),
        (200, "1", Delivery.DELIVERED),
        (200, "Webhook message delivery failed with error: Too many requests", Delivery.PAUSE),
        (404, "", Delivery.BROKEN),
        (413, "", Delivery.TOO_LARGE),
        (502, "", Delivery.RETRY),
    ],
)
def test_a_teams_workflow_says_so_in_its_status(status: int, body: str, delivery: Delivery) -> None:
    assert Teams(url=URL).classify(status, body).delivery is delivery


# text


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("deployment/llama-8b_v2", "deployment/llama-8b_v2"),
        ("vllm:num_requests_waiting", "vllm:num_requests_waiting"),
        ("two\nlines\tand   spaces", "two lines and spaces"),
        ("zero\u200bwidth", "zerowidth"),
        ("95 % of 3 * 4", "95 % of 3 \uff0a 4"),
        ("# heading", "· heading"),
        ("a" * 400, "a" * 299 + "…"),
    ],
)
def test_ordinary_text_stays_as_it_is_and_markup_does_not(given: str, said: str) -> None:
    assert harmless(given) == said


def test_a_megabyte_of_anything_is_one_short_line() -> None:
    assert len(plain("\x00\n" + "y" * 1_000_000)) <= 300

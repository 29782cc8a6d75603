"""Cards, mails and templates of the reader's own: each within what its channel takes."""

from __future__ import annotations

import email
import email.policy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from builders import NOW
from standins import DingTalkRobot, FeishuBot, WeComRobot

from healer.adapters.channels import open_notifiers
from healer.adapters.clocks import SteppedClock
from healer.adapters.outbox import Outbox
from healer.adapters.post import RequestsPost
from healer.adapters.store import open_store
from healer.errors import BadInput
from healer.model.message import Delivery, Notice, Occasion
from healer.notifiers import sample_notice
from healer.notifiers.dingtalk import DingTalk
from healer.notifiers.email import Email
from healer.notifiers.feishu import Feishu
from healer.notifiers.teams import Teams
from healer.notifiers.wecom import MOST_IN_CARD, WeCom
from healer.settings import Channel, NotifySettings

BASE = "https://healer.example"
EVIL = "<script>@all **x** [a](javascript:1) \x00\u202e " + "长" * 100_000
MAIL = {"url": "smtps://healer%40example.com:pass%2Fword@mail.example.com", "to": ("a@b.example",)}


def asked(**changes: Any) -> Notice:
    """A plan that waits, with all the links a message can have."""
    links = {each: f"{BASE}/l/{each}" for each in ("answer", "take", "mute")}
    return replace(
        sample_notice(Occasion.PROPOSED, NOW), url=f"{BASE}/approvals/x", links=links, **changes
    )


def evil() -> Notice:
    notice = asked()
    plan = replace(notice.intents[0].plan, summary=EVIL)
    return replace(
        notice,
        incident=replace(notice.incident, title=EVIL),
        intents=(replace(notice.intents[0], plan=plan),),
    )


def test_a_plan_that_waits_is_a_card_with_buttons_on_dingtalk() -> None:
    card = json.loads(DingTalk(url=BASE, language="zh").render(asked()))
    assert card["msgtype"] == "actionCard"
    buttons = card["actionCard"]["btns"]
    assert [b["title"] for b in buttons] == ["批准或拒绝", "详情", "我来处理", "静默 1 小时"]
    assert buttons[0]["actionURL"] == f"{BASE}/l/answer"
    assert card["actionCard"]["title"] in card["actionCard"]["text"]


def test_without_links_that_answer_the_button_opens_the_page_that_asks_for_a_token() -> None:
    card = json.loads(DingTalk(url=BASE).render(asked()))
    plain = replace(asked(), links={})
    assert card["actionCard"]["btns"][0]["actionURL"] == f"{BASE}/l/answer"
    button = json.loads(DingTalk(url=BASE).render(plain))["actionCard"]["btns"][0]
    assert button == {"title": "Approve or reject", "actionURL": f"{BASE}/approvals/x"}


def test_whoever_is_to_be_mentioned_gets_a_text_for_a_card_mentions_nobody() -> None:
    made = json.loads(DingTalk(url=BASE, at_mobiles=("13800000000",)).render(asked()))
    assert made["msgtype"] == "markdown"
    assert f"{BASE}/l/answer" in made["markdown"]["text"]


def test_a_wecom_card_keeps_every_limit_of_its_parts() -> None:
    for notice in (asked(), evil()):
        robot = WeCom(url=BASE, format="template_card", language="zh")
        card = json.loads(robot.render(notice))["template_card"]
        assert card["card_action"] == {"type": 1, "url": f"{BASE}/l/answer"}
        assert len(card["main_title"]["title"]) <= MOST_IN_CARD["title"]
        assert len(card["main_title"]["desc"]) <= MOST_IN_CARD["desc"]
        assert len(card["sub_title_text"]) <= MOST_IN_CARD["sub"]
        assert len(card["horizontal_content_list"]) <= 6
        assert len(card["jump_list"]) <= 3
        for fact in card["horizontal_content_list"]:
            assert len(fact["value"]) <= MOST_IN_CARD["value"]
            assert fact["value"]


def test_a_card_needs_a_link_so_without_pages_it_is_a_text() -> None:
    robot = WeCom(url=BASE, format="template_card")
    without = replace(asked(), url="", links={})
    assert json.loads(robot.render(without))["msgtype"] == "markdown"
    opened = sample_notice(Occasion.OPENED, NOW)
    assert json.loads(robot.render(opened))["msgtype"] == "markdown"


def test_feishu_and_teams_show_the_links_as_buttons() -> None:
    elements = json.loads(Feishu(url=BASE).render(asked()))["card"]["elements"]
    assert [a["url"] for a in elements[1]["actions"]][:2] == [
        f"{BASE}/l/answer",
        f"{BASE}/approvals/x",
    ]
    card = json.loads(Teams(url=BASE).render(asked()))["attachments"][0]["content"]
    assert card["actions"][0] == {
        "type": "Action.OpenUrl",
        "title": "Approve or reject",
        "url": f"{BASE}/l/answer",
    }


def test_the_robots_take_cards_and_buttons(tmp_path: Path) -> None:
    """Each stand-in refuses what its provider would: kinds, limits, keyword, signature."""
    store, clock, post = (
        open_store(f"sqlite:///{tmp_path / 'h.db'}"),
        SteppedClock(NOW),
        RequestsPost(),
    )
    with (
        DingTalkRobot(clock.now) as ding,
        WeComRobot(clock.now) as wecom,
        FeishuBot(clock.now) as feishu,
    ):
        notifiers = {
            "ding": DingTalk(url=ding.url, secret="SECtest", keyword="healer", language="zh"),
            "wecom": WeCom(url=wecom.url, format="template_card", language="zh"),
            "feishu": Feishu(url=feishu.url, secret="SECtest"),
        }
        channels = {name: Channel(name, answer_links=True) for name in notifiers}
        outbox = Outbox(store, notifiers, post, clock, channels)
        for occasion in Occasion:
            notice = replace(sample_notice(occasion, NOW), url=f"{BASE}/incidents/example")
            store.put_incident(notice.incident)
            assert outbox.enqueue([notice]) == ()
        assert outbox.flush() == 3 * len(Occasion)
        assert [t["msgtype"] for t in ding.taken].count("actionCard") == 1
        assert [t["msgtype"] for t in wecom.taken].count("template_card") == 1
    post.close()
    store.close()


# mails


def test_a_mail_is_plain_text_with_its_links_and_no_password() -> None:
    channel = Email(**MAIL, language="zh")
    request = channel.request(channel.render(asked()), NOW)
    mail = email.message_from_bytes(request.body, policy=email.policy.default)
    assert mail["From"] == "healer@example.com"
    assert "等你批准" in mail["Subject"]
    assert mail["Auto-Submitted"] == "auto-generated"
    text = mail.get_content()
    assert f"批准或拒绝: {BASE}/l/answer" in text
    assert "pass/word" in request.secret_parts
    assert b"pass" not in request.body
    assert request.headers == {"From": "healer@example.com", "To": "a@b.example"}


def test_mails_of_one_incident_hang_together() -> None:
    channel = Email(**MAIL)
    threads = set()
    for occasion in (Occasion.OPENED, Occasion.RESOLVED):
        raw = channel.request(channel.render(sample_notice(occasion, NOW)), NOW).body
        threads.add(email.message_from_bytes(raw)["References"])
    assert threads == {"<example@healer.example.com>"}


def test_a_hostile_title_forges_no_header_of_a_mail() -> None:
    channel = Email(**MAIL)
    title = "boom\r\nBcc: everybody@example.org\r\n\r\n<html>"
    notice = asked()
    notice = replace(notice, incident=replace(notice.incident, title=title))
    mail = email.message_from_bytes(channel.request(channel.render(notice), NOW).body)
    assert mail["Bcc"] is None
    assert mail.get_content_type() == "text/plain"


@pytest.mark.parametrize(
    ("code", "delivery"),
    [(250, "delivered"), (421, "pause"), (451, "pause"), (535, "broken"), (550, "broken"),
     (552, "too_large"), (354, "retry")],
)  # fmt: skip
def test_the_codes_of_mail_servers_mean_what_they_say(code: int, delivery: str) -> None:
    assert Email(**MAIL).classify(code, "said").delivery is Delivery(delivery)


@pytest.mark.parametrize(
    ("options", "said"),
    [({"to": ()}, "at least one address"), ({"to": ("nobody",)}, "to.0: 'nobody'"),
     ({"url": "https://x"}, "smtp or smtps URL"),
     ({"url": "smtp://mail.example.com", "sender": ""}, "sender")],
)  # fmt: skip
def test_a_mailing_set_up_wrongly_is_said_clearly(options: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        Email(**MAIL | options)


# templates


def channels(folder: Path, **files: str) -> dict[str, Any]:
    for name, text in files.items():
        (folder / f"{name.replace('__', '.')}.j2").write_text(text)
    settings = NotifySettings({"ops": Channel("dingtalk", url=BASE)}, templates=folder)
    return open_notifiers(settings)


def shown(notifiers: dict[str, Any], notice: Notice) -> str:
    made = json.loads(notifiers["ops"].render(notice))
    text: str = made[made["msgtype"]]["text"]
    return text


def test_a_template_of_your_own_replaces_the_text_of_its_occasion(tmp_path: Path) -> None:
    text = "{{ bold(incident.title) }} since {{ at(incident.started_at) }}\n{{ link('go', url) }}"
    found = channels(tmp_path, opened__en=text)
    said = shown(found, replace(sample_notice(Occasion.OPENED, NOW), url=BASE))
    assert "**example-7d9f makes no tokens** since 03-04 11:57:00 +0000" in said
    assert f"[go]({BASE})" in said
    assert "Evidence" not in said
    assert "Ended by" in shown(found, sample_notice(Occasion.RESOLVED, NOW)), "others stay ours"


def test_what_a_template_prints_is_harmless(tmp_path: Path) -> None:
    found = channels(tmp_path, proposed__en="{{ incident.title }}\n{{ plans[0].summary | upper }}")
    said = shown(found, evil())
    assert "@all" not in said.lower()
    assert "[a](" not in said.lower()
    assert "\u202e" not in said
    assert len(said.encode()) < 20_000


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{% if %}", "line 1"),
        ("ok\n{{ incident.titel }}", "titel"),
        ("{{ nobody }}", "nobody"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{{ incident.__init__.__globals__ }}", "unsafe"),
        ("{% for a in range(999999999) %}x{% endfor %}", "Range too big"),
        ("{% include 'other' %}", "no loader"),
    ],
)
def test_a_template_with_a_mistake_is_said_at_the_start(
    tmp_path: Path, text: str, said: str
) -> None:
    with pytest.raises(BadInput) as raised:
        channels(tmp_path, opened__en=text)
    assert said in str(raised.value)
    assert "opened.en.j2" in str(raised.value)


def test_a_template_that_fails_on_a_real_incident_loses_no_message(tmp_path: Path) -> None:
    found = channels(tmp_path, opened__en="{{ cause.title }} {{ 1 // (symptoms | length) }}")
    notice = sample_notice(Occasion.OPENED, NOW)
    bare = replace(notice, incident=replace(notice.incident, findings=()))
    said = shown(found, bare)
    assert "The engine hangs" in said, "our own words stand in"
    assert "template opened: " in said
    assert "ZeroDivisionError" in said


def test_a_template_for_no_occasion_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="OCCASION"):
        channels(tmp_path, opend__en="x")
    with pytest.raises(BadInput, match=r"notify\.templates"):
        open_notifiers(NotifySettings({"ops": Channel("dingtalk", url=BASE)}, templates=Path("no")))

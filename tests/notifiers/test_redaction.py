"""Secrets and personal data stay out of everything that people and programs read."""

from __future__ import annotations

import pytest
from builders import NOW, finding, incident, pod

from healer.model.event import Event
from healer.redaction import redact, redacted


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        ("curl -H 'Authorization: Bearer abcdef0123456789'", "abcdef0123456789"),
        ("https://oapi.dingtalk.com/robot/send?access_token=0a1b2c3d4e5f&x=1", "0a1b2c3d4e5f"),
        ("https://qyapi.weixin.qq.com/cgi-bin/webhook/send?key=693a91f6-7xxx", "693a91f6"),
        ("https://open.feishu.cn/open-apis/bot/v2/hook/c0ffee-1234", "c0ffee-1234"),
        ("https://hooks.slack.com/services/T0/B0/abcdefgh", "abcdefgh"),
        ("postgresql://healer:hunter2x@db:5432/x", "hunter2x"),
        ('{"password": "hunter2x", "user": "li"}', "hunter2x"),
        ("HF_TOKEN=hf_abcdefghijklmnopqrstuv", "hf_abcdefghijklmnopqrstuv"),
        ("OPENAI_API_KEY: sk-proj-abcdefghijklmnop1234", "abcdefghijklmnop1234"),
        ("jwt eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0.abc-DEF_1", "eyJzdWIiOiIxMjM0"),
        ("AKIAIOSFODNN7EXAMPLE is there", "AKIAIOSFODNN7EXAMPLE"),
        ("owner li.lei+oncall@example.com.cn", "li.lei"),
        ("call 13800138000 now", "13800138000"),
        ("call +86 138-0013", "never a whole number"),
        ("tel:+8613912345678", "13912345678"),
        ("id 11010519491231002X", "11010519491231002X"),
    ],
)
def test_a_secret_is_blotted_out(text: str, secret: str) -> None:
    assert secret not in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "GPU-5d2a7c1e-8f00-4a4e-9d5b-3f3d2c1b0a99 reported Xid 79",
        "pod:serving/llama-8b-6f7c9d8b5-x2x4k restarted 3 times",
        "KV cache uses 17179869184 bytes of 85899345920",
        "at 1772625600 or 1772625600123 or 2026-03-04T12:00:00Z",
        "vllm:generation_tokens_total is 0 tokens/s for 95 s",
        "image registry.example:5000/vllm/vllm-openai:v0.11.0@sha256:abcdef",
        "arrival rate 15812345678.25 requests/s",
        "key=short",
        "node affinity: key=topology.kubernetes.io/zone",
        "time to first token: 12.345 s, expected 0.2000",
        "cost per token=0.000012 ",
        "token throughput 612 tokens/s",
        "trace 123456789012345678901234",
    ],
)
def test_ordinary_text_stays_as_it_is(text: str) -> None:
    assert redact(text) == text


def test_redacting_twice_changes_nothing_more() -> None:
    text = "Authorization: Bearer abcdef0123456789 token=abcdefgh li@example.com 13800138000"
    assert redact(redact(text)) == redact(text)


def test_an_incident_is_redacted_wherever_others_wrote_in_it() -> None:
    secret = "token=abcdefgh12345678"
    found = incident(
        title=secret,
        findings=(finding(summary=secret),),
        events=(Event("alert", pod(), NOW, secret, {"url": secret}),),
    )
    assert "abcdefgh12345678" not in repr(redacted(found))
    assert redacted(incident()) == incident()

"""Sentences that the engine makes in English, said in Chinese; and what no reader needs.

Signals, detectors and rules write one language. These are the patterns that most of their
sentences follow; what follows none stays as it is, which is better than half a translation.
"""

from __future__ import annotations

import re

_SWITCH = re.compile(r"(?: [\d.]+ bool)?, (?:limit|before|expected) [\d.–-]+ bool")
"""A switch has no number: `Container waits 1 bool, limit 0.5 bool`."""

_CHINESE: tuple[tuple[re.Pattern[str], str], ...] = tuple(
    (re.compile(pattern), put)
    for pattern, put in (
        (r"^no known cause fits well enough$", "没有足够吻合的已知原因"),
        (r"^a person's look at (.+)$", r"人工查看 \1"),
        (r"^(.+) and (.+) are too close to call$", r"\1 与 \2 难分高下"),
        (
            r"^take back one of the two changes on a single replica and compare$",
            "在单个副本上撤回其中一项变更并比较",
        ),
        (
            r"^(.+): no sample for (.+?), while (\d+) siblings still report$",
            r"\1：\2 无样本，另有 \3 个同类仍在上报",
        ),
        (
            r"^silent while the node's other GPUs report: (.+)$",
            r"无上报，而同节点其他 GPU 正常：\1",
        ),
        (r"^no fresh sample of (.+)$", r"没有 \1 的新样本"),
        (r"^(.+) is not ready$", r"\1 未就绪"),
        (
            r"^the hardware is out of service; it has to be repaired or replaced$",
            "硬件已停止服务，需要维修或更换",
        ),
        (
            r"^what became of an action is not known; look before anything else is done$",
            "某次操作的结果未知，请先核实再做其他处置",
        ),
        (r"^every remediation was tried$", "所有处置都已尝试"),
        (r", confidence (\d+ ?%)$", r"，置信度 \1"),
        (r"^symptoms ceased; Healer only observed$", "现象消失（Healer 仅观察）"),
        (r"^symptoms ceased$", "现象消失"),
        (r" no samples since (.+?)(?=;|$)", r" 自 \1 起无样本"),
        (r", limit (.+?), for (.+)$", r"，阈值 \1，已持续 \2"),
        (r", for (\d.*)$", r"，已持续 \1"),
        (r", expected (.+)$", r"，预期 \1"),
        (r", before (.+?)(?= \(|$)", r"，之前 \1"),
        (r" \((\d+) of (\d+) siblings\)", r"（\2 个同类中的 \1 个）"),
    )
)


def phrase(text: str, language: str) -> str:
    """`text` as a reader of `language` is told it."""
    said = _SWITCH.sub("", text)
    if language == "zh":
        for pattern, put in _CHINESE:
            said = pattern.sub(put, said)
    return said

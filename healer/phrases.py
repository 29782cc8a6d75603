"""Sentences that the engine makes in English, said in Chinese; and what no reader needs.

Detectors, rules, guards and remediations write one language. These are the patterns that most of
their sentences follow; what follows none stays as it is, which is better than half a translation.
Titles in them have been put into the reader's language before: see `healer.lexicon`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from healer.wording import name

MOST_CHARACTERS = 1000
"""Of a sentence; some of the patterns take time that grows with its square."""

Put = str | Callable[[re.Match[str]], str]

_SWITCH = re.compile(r"(?: [\d.]+ bool)?, (?:limit|before|expected) [\d.–-]+ bool")
"""A switch has no number: `Container waits 1 bool, limit 0.5 bool`."""
_HAN = re.compile(r"[\u4e00-\u9fff]")
_VERB = re.compile(r"^([a-z]+(?:_[a-z]+)*)(?=: | \S+:\S+$)")
_ENDED = re.compile(r"^(\w+) was effective$")


def _trends(found: re.Match[str]) -> str:
    """`…, TTFT p95 up, Requests running down at normal Prompt tokens`."""
    head, others, usual = found.groups()
    said = others.replace(", ", "，").replace(" up", " 上升").replace(" down", " 下降")
    return f"{head}{said}" + (f"，而{usual}正常" if usual else "")


def _within(before: str, after: str = "") -> Callable[[re.Match[str]], str]:
    """The first group is a sentence of its own."""
    return lambda found: before + phrase(found[1], "zh") + found.expand(after)


def _effect(found: re.Match[str]) -> str:
    return f"{name('effect', found[1], 'zh')}："


_CHINESE: tuple[tuple[re.Pattern[str], Put], ...] = tuple(
    (re.compile(pattern), put)
    for pattern, put in (
        # what the audit begins with
        (r"^(effective|ineffective|inconclusive): ", _effect),
        (r"^(?:pod_failed|node_not_ready|gpu_lost|kubernetes|rollout|alert): (.+)$", _within("")),
        # a diagnosis
        (r"^no known cause fits well enough$", "没有足够吻合的已知原因"),
        (r"^no rule applies$", "没有适用的规则"),
        (r"^a person's look at (.+)$", r"人工查看 \1"),
        (
            r"^(.+) on (\S+:\S+) \(([\d.]+)\) and (.+) on (\S+:\S+) \(([\d.]+)\)"
            r" are too close to call$",
            r"\1（\2，\3）与 \4（\5，\6）难分高下",
        ),
        (r"^(.+) on ((?:pod|node|gpu|workload|service|revision|group|model|rack|cluster):\S+)$",
         r"\1（\2）"),
        (r"^(.+) \(([+-][\d.]+) for (.+)\)$", _within("", r"（\2，\3）")),
        (r"^leaves (\d+) of (\d+) symptoms unexplained$", r"\2 个现象中有 \1 个未能解释"),
        (r"^nothing like what the leader has, (.+) \(behind by ([\d.]+)\)$",
         _within("缺少首要原因那样的证据：", r"（差 \2）")),
        (r"^less likely beforehand \(behind by ([\d.]+)\)$", r"先验概率较低（差 \1）"),
        (r"^([\d.]+) before any evidence$", r"无证据时为 \1"),
        (r"^(.+) and (.+) are too close to call$", r"\1 与 \2 难分高下"),
        (
            r"^take back one of the two changes on a single replica and compare$",
            "在单个副本上撤回其中一项变更并比较",
        ),
        # findings
        (
            r"^(.+?: )?(.+): no sample for (.+?), while (\d+) siblings? still reports?$",
            r"\1\2：\3 无样本，另有 \4 个同类仍在上报",
        ),
        (
            r"^(.+ [+-]\d+ % \([^()]+\)|.+ \(usually [^()]+\))((?:, [^,]+ (?:up|down))*)"
            r"(?: at normal (.+))?$",
            _trends,
        ),
        (r" \(usually ([^()]+)\)", r"（通常 \1）"),
        (r", while (\d+) siblings show (.+)$", r"，而 \1 个同类为 \2"),
        (r" moved from (.+?) to (.+?) (\d+) min ago and stayed$",
         r" \3 分钟前由 \1 变为 \2 并保持"),
        (r": clear shift \((PSI .+?)\), median about (\S+), was (\S+)$",
         r"：分布明显偏移（\1），中位数约 \2，之前 \3"),
        (r": slight shift \((PSI .+?)\), median about (\S+), was (\S+)$",
         r"：分布轻微偏移（\1），中位数约 \2，之前 \3"),
        (r": (\S+%) in (\S+) and (\S+%) in (\S+), (\d+) times the budget of (\S+)$",
         r"：\2内 \1，\4内 \3，为预算 \6 的 \5 倍"),
        (r", reaches (.+?) in (.+?) \((.+?) to (.+?)\)$", r"，预计 \2后达到 \1（\3 至 \4）"),
        (r"^No tokens for (.+?) with requests held", r"有请求在处理，但已 \1 没有输出 token"),
        (r"; GPU utilisation (\d+ %)", r"；GPU 利用率 \1"),
        (r", power ([\d.,]+ W)", r"，功耗 \1"),
        (r" \((\d+%) of busy\)", r"（忙时的 \1）"),
        (r", tensor cores active (\d+%)", r"，张量核活跃度 \1"),
        (r"; GPU telemetry absent", "；无 GPU 遥测"),
        (r"; (\d+) siblings? still serving", r"；另有 \1 个同类仍在服务"),
        (r" \(before: (.+?)\)$", r"（之前 \1）"),
        (r"^(.+) on (\d+) of (\d+) (\w+)s at once$", r"\1：\3 个 \4 中 \2 个同时出现"),
        (r"^(\S+) ended with (\S+), exit code (\d+)$", r"\1 以 \2 结束，退出码 \3"),
        # observations
        (
            r"^silent while the node's other GPUs report: (.+)$",
            r"无上报，而同节点其他 GPU 正常：\1",
        ),
        (r"(^|[:：] ?)(\d+%) of (\d+) (?:pods|others|gpus|nodes|siblings)$", r"\1\3 个中有 \2"),
        (r"^no fresh sample of (.+)$", r"没有 \1 的新样本"),
        (r"(?<!\S)(\S+:\S+) is not ready$", r"\1 未就绪"),
        (r"(?<!\S)(\S+:\S+) is ready$", r"\1 已就绪"),
        (r" together (.+?), before (.+)$", r" 合计 \1，之前 \2"),
        (r"^(\d+) of (\d+) (\w+)s here are sick, (\d+) of (\d+) everywhere",
         r"此处 \2 个 \3 中 \1 个异常，全局 \5 个中 \4 个"),
        (r"^no (\w+) event$", r"没有 \1 事件"),
        (r"^no change of (.+)$", r"\1 没有变更"),
        (r" at (\d\d:\d\d:\d\d)(?=: |$| \()", r"（\1）"),
        (r"（(\d\d:\d\d:\d\d)） \((\d+) times\)", r"（\1，共 \2 次）"),
        (r"(\d+%) of the new revision's pods, (\d+%) of the older ones'",
         r"新版本 Pod 的 \1，旧版本的 \2"),
        (r" (\S+ ?\S*) on the new revision, (\S+ ?\S*) on the last", r" 新版本 \1，上一版本 \2"),
        (r"^none of (\d+) unchanged pods beside it suffers$", r"未变更的 \1 个相邻 Pod 均正常"),
        (r"^(\d+) of (\d+) unchanged pods beside it suffer as well$",
         r"未变更的 \2 个相邻 Pod 中 \1 个同样异常"),
        (r"^(\S+) was created (\d+) min before the onset", r"\1 创建于异常开始前 \2 分钟"),
        (r"^(\S+) began a rollout (\d+) min before the onset", r"\1 在异常开始前 \2 分钟开始发布"),
        (r"; (\d+) of (\d+) affected pods were changed$", r"；受影响的 \2 个 Pod 中 \1 个有变更"),
        (r"^(\d+) of (\d+) replicas updated$", r"\2 个副本中 \1 个已更新"),
        (r" moves (.+?) a minute$", r" 每分钟变化 \1"),
        # what is done, and what became of it
        (r"^Evict (\S+) and the (\d+) other pods of its group: (.+)$",
         r"驱逐 \1 及同组另外 \2 个 Pod：\3"),
        (r"^Evict (\S+): (.+)$", r"驱逐 \1：\2"),
        (r"^Evict pod (\S+)$", r"驱逐 Pod \1"),
        (r"^Cordon (\S+): (.+)$", r"停止向 \1 调度：\2"),
        (r"^Cordon (\S+) and move (\d+) GPU pods: (.+)$",
         r"停止向 \1 调度并迁走 \2 个 GPU Pod：\3"),
        (r"^Delete (\S+), asking no disruption budget: (.+)$", r"删除 \1（不受中断预算限制）：\2"),
        (r"^Take (\S+) out of service and keep it running: (.+)$",
         r"将 \1 摘除流量并保持运行：\2"),
        (r"^Restart all pods of (\S+): (.+)$", r"滚动重启 \1 的全部 Pod：\2"),
        (r"^Roll (\S+) back from revision (\S+) to (\S+): (.+)$", r"将 \1 从版本 \2 回滚到 \3：\4"),
        (r"^Scale (\S+) from (\d+) to (\d+) replicas: (.+)$", r"将 \1 从 \2 个副本扩到 \3 个：\4"),
        (r"^A person is needed: (.+)$", _within("需要人工处理：")),
        (r": termination has begun$", "：已开始终止"),
        (r": cordoned$", "：已停止调度"),
        (r": (\d+) → (\d+) replicas$", r"：\1 → \2 个副本"),
        (r": back to (\S+)$", r"：已回到 \1"),
        (r": a person is asked; the cluster stays as it is$", "：已转人工，集群保持不变"),
        (
            r"^the hardware is out of service; it has to be repaired or replaced$",
            "硬件已停止服务，需要维修或更换",
        ),
        (
            r"^what became of an action is not known; look before anything else is done$",
            "某次操作的结果未知，请先核实再做其他处置",
        ),
        (r"^every remediation was tried$", "所有处置都已尝试"),
        (r"([^;；:：]+) is back in its band on (\d+) targets", r"\1 在 \2 个对象上恢复到预期范围"),
        (r"^(.+) is off$", r"\1 已消失"),
        (r"^no new pod of (\S+) is ready$", r"\1 没有就绪的新 Pod"),
        (r"^(\d+) of (\d+) (?:pods|replicas) of (\S+) are ready$", r"\3 的 \2 个副本中 \1 个就绪"),
        (r"^(\S+) has not gone yet$", r"\1 尚未消失"),
        (r"^(\S+) is still cordoned$", r"\1 仍停止调度"),
        (r"^(\S+) is still (?:rolling back|restarting)$", r"\1 仍在更新"),
        (r"^symptoms ceased; Healer only observed$", "现象消失（Healer 仅观察）"),
        (r"^symptoms ceased$", "现象消失"),
        (r"^rejected by (.+)$", r"被 \1 拒绝"),
        # guards
        (r"^Prometheus did not answer$", "Prometheus 无应答"),
        (r"^the view of the cluster is incomplete$", "集群视图不完整"),
        (r"^(\w+) failed (\d+) times in a row$", r"\1 连续失败 \2 次"),
        (r"^frozen: (.+)$", r"处于冻结窗口：\1"),
        (r"^switched off: (.+)$", r"已急停：\1"),
        (r"^(\d+) of (\d+) (\w+)s are sick at once$", r"\2 个 \3 中 \1 个同时异常"),
        (r"^a rollout of (\S+) is in progress$", r"\1 正在发布"),
        (r"^(\d+) of (\d+) nodes would be out, (\d+) may$",
         r"\2 个节点中将有 \1 个停用，上限 \3 个"),
        # parts of many
        (r", confidence (\d+ ?%)$", r"，置信度 \1"),
        (r" no samples since (.+?)(?=;|$)", r" 自 \1 起无样本"),
        (r", limit (.+?), for (.+)$", r"，阈值 \1，已持续 \2"),
        (r", for (\d.*)$", r"，已持续 \1"),
        (r", expected (.+)$", r"，预期 \1"),
        (r", before (.+?)(?= \(|;|$)", r"，之前 \1"),
        (r" \((\d+) of (\d+) siblings\)", r"（\2 个同类中的 \1 个）"),
        (r"(?<=[\u4e00-\u9fff）]): |: (?=[\u4e00-\u9fff])", "："),
    )
)  # fmt: skip


def phrase(text: str, language: str) -> str:
    """`text` as a reader of `language` is told it; what is longer than any sentence of the engine
    is somebody else's, and stays as it is."""
    if len(text) > MOST_CHARACTERS:
        return text
    said = _SWITCH.sub("", text)
    said = _ENDED.sub(lambda m: _ended(m, language), said)
    said = _VERB.sub(lambda m: name("verb", m[1], language), said)
    if language == "zh":
        for pattern, put in _CHINESE:
            said = pattern.sub(put, said)
        if _HAN.search(said):
            said = said.replace("; ", "；")
    return said


def _ended(found: re.Match[str], language: str) -> str:
    remedy = name("remediation", found[1], language)
    return f"{remedy}: {name('effect', 'effective', language)}"

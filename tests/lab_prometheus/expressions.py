"""Expressions that the lab and Prometheus must answer alike, by subject."""

from __future__ import annotations


def _words(text: str) -> list[str]:
    return text.split()


SELECTORS = """
level
level{kind="walk"}
level{kind!="walk"}
level{kind=~"wa.*|fl.t"}
level{kind!~"wa.*|fl.t"}
level{kind=~"wal"}
level{nothing=""}
level{nothing!=""}
level{kind=~".*",nothing=~".*"}
level{kind=~".+"}
level{kind=~"(?i)WALK"}
level{kind=~"[[:alpha:]]{4}"}
{__name__=~"lev.*|odd"}
{__name__="level",kind="flat"}
{__name__!~"latency.*|requests.*|temp.*|fast",kind!=""}
{kind="nan"}
vllm:queue
empty_label
empty_label{a=""}
gappy
gappy offset 5m
gappy offset -5m
level offset 1h
odd
one_of
level @ 1772602000
level @ 1772602000.5 offset 1m
level offset 1m @ 1772602000
level @ start()
level @ end()
rate(requests_total[5m] @ end())
sum_over_time(level[5m] @ 1772602000 offset 2m)
missing
level{kind="missing"}
fast
info
huge + tiny
""".strip().splitlines()

OVER_TIME = (
    [
        f"{name}({series}[{window}]{offset})"
        for name in _words(
            "rate increase delta irate idelta deriv resets changes avg_over_time min_over_time "
            "max_over_time sum_over_time count_over_time last_over_time present_over_time "
            "stddev_over_time stdvar_over_time absent_over_time"
        )
        for series, window, offset in (
            ("requests_total", "2m", ""),
            ("temperature", "5m", ""),
            ("level", "10m", " offset 3m"),
            ("gappy", "90s", ""),
            ("gappy", "17m", ""),
            ("fast", "15s", ""),
            ("odd", "4m", ""),
            ("missing", "5m", ""),
            ("level", "20s", ""),
            ("level", "14s", ""),
        )
    ]
    + """
quantile_over_time(0.9, level[10m])
quantile_over_time(0.5, odd[10m])
quantile_over_time(0, temperature[5m])
quantile_over_time(1, temperature[5m])
quantile_over_time(-1, temperature[5m])
quantile_over_time(2, temperature[5m])
quantile_over_time(NaN, temperature[5m])
quantile_over_time(scalar(level{kind="flat"}) / 10, temperature[5m])
predict_linear(level[10m], 3600)
predict_linear(level[10m] offset 5m, 600)
predict_linear(temperature[5m], -60)
predict_linear(odd[5m], 60)
predict_linear(huge[5m], 60)
deriv(tiny[5m])
absent_over_time(level{kind="walk"}[5m])
absent_over_time(level{kind="none",x="y"}[5m])
absent_over_time(gappy{kind="gap"}[2m])
absent_over_time((missing{a="b"}[5m]))
avg_over_time(huge[10m])
avg_over_time(odd[1m])
avg_over_time(sgn(odd)[13m:1m])
resets(avg_over_time((level @ 1772602000)[1m:7s])[1h:47s])
ceil(stddev_over_time((level @ 1772602000)[7m:]))
sum_over_time(huge[10m])
last_over_time({__name__=~"level|odd"}[5m])
rate({__name__=~"level|odd",kind=~"walk|nan"}[5m])
rate({__name__=~"level|odd"}[5m])
rate(requests_total[5m:])
rate(requests_total[5m:30s])
rate(requests_total[5m:7s] offset 1m)
max_over_time(rate(requests_total[2m])[10m:1m])
avg_over_time(sum by (pod) (rate(requests_total[2m]))[10m:45s])
quantile_over_time(0.5, (level > 50)[20m:1m])
sum_over_time(level[10m:1m] @ 1772602000)
sum_over_time(level[10m:1m] @ end())
sum_over_time((level @ start())[10m:1m])
count_over_time(gappy[10m:30s])
count_over_time(time()[10m:30s])
increase(gappy[15m:1m])
deriv(rate(requests_total[2m])[15m:1m])
min_over_time(max_over_time(level[2m:10s])[10m:1m])
absent_over_time(missing{a="b"}[5m:1m])
last_over_time(vector(1)[2m:1m])
changes(timestamp(info)[5m:15s])
present_over_time(level[10m:9m])
count_over_time(level[30s:1m])
""".strip().splitlines()
)

FUNCTIONS = (
    [
        f"{name}({series})"
        for name in _words(
            "abs ceil floor exp ln log2 log10 sqrt sgn round sin cos tan asin acos atan sinh cosh "
            "tanh asinh acosh atanh deg rad sort sort_desc scalar timestamp absent"
        )
        for series in ("level", "odd", "level / 100", "-level", "missing", 'gappy{kind="blink"}')
    ]
    + [
        f"{name}({series})"
        for name in _words(
            "minute hour day_of_week day_of_month day_of_year days_in_month month year"
        )
        for series in ("level * 1e7", "-level * 1e5", "missing", "timestamp(level)")
    ]
    + """
round(level, 5)
round(level, 0.1)
round(-level, 0.3)
round(level, 0)
clamp(level, 10, 40)
clamp(level, 40, 10)
clamp(odd, 0, 50)
clamp(level, NaN, 50)
clamp(level, 0, NaN)
clamp_min(odd, 45)
clamp_max(odd, 45)
clamp_min(odd, NaN)
clamp_max(level, scalar(level{kind="flat"}))
time()
time() % 60
pi()
vector(3)
vector(time())
vector(NaN)
hour()
minute(vector(time()))
month(vector(1709251199))
day_of_month(vector(1709164800))
day_of_year(vector(1735603200))
days_in_month(vector(1709164800))
days_in_month(vector(1677628799))
year(vector(1709251199))
year(vector(-1))
day_of_week(vector(-1))
hour(vector(-1.5))
minute(vector(-61))
timestamp(level offset 1m)
timestamp((info))
timestamp(level + 0)
timestamp(timestamp(level))
timestamp(level @ 1772602000)
scalar(level{kind="walk"})
scalar(level)
scalar(gappy{kind="gap"}) + 1
absent(level{kind="none"})
absent(level{kind="none",kind="other",x="y"})
absent(level{kind="none",x=~"y"})
absent(missing{a="b"} > 3)
absent(sum(missing{a="b"}))
absent((missing{a="b"}))
absent(gappy{kind="gap"})
absent(gappy{kind="stale"})
label_replace(level, "to", "$1-x", "kind", "(w.).*")
label_replace(level, "to", "${1}x", "kind", "(w.).*")
label_replace(level, "to", "$1x", "kind", "(w.).*")
label_replace(level, "to", "$name$$", "kind", "(?P<name>.).*")
label_replace(level, "to", "v", "nothing", "")
label_replace(level, "to", "v", "nothing", ".+")
label_replace(level, "kind", "", "kind", "w.*")
label_replace(level, "__name__", "other", "kind", ".*")
label_replace(level, "kind", "same", "kind", ".*")
label_replace(level{kind=~"walk|single"}, "kind", "", "kind", ".*")
label_replace(one_of, "side", "", "side", ".*")
label_replace(level, "to", "$9", "kind", "(.*)")
label_join(temperature, "who", "/", "namespace", "pod")
label_join(temperature, "who", "/", "missing", "pod")
label_join(temperature, "pod", "", "missing")
label_join(temperature, "all", "-")
-level
-(odd)
+level
-one_of
- -level
-{__name__=~"level|odd",kind=~"walk|nan"}
abs({__name__=~"level|odd",kind=~"walk|never"})
abs(one_of)
""".strip().splitlines()
)

AGGREGATIONS = (
    [
        f"{op}{by} ({series})"
        for op in _words("sum avg min max count group stddev stdvar")
        for by in (
            "",
            " by (pod)",
            " by (namespace, code)",
            " without (pod, n)",
            " by (missing)",
            " by (__name__)",
            " without ()",
        )
        for series in ("requests_total", "odd")
    ]
    + [
        f"{op} ({series})"
        for op in _words("sum avg min max count group stddev stdvar")
        for series in ("gappy", "level", "missing", 'odd{kind="never"}', "huge * 1e8")
    ]
    + """
quantile(0.9, temperature)
quantile by (namespace) (0.5, temperature)
quantile without (pod, n) (0.25, temperature)
quantile(0.5, odd)
quantile(0.1, {__name__=~"odd|level"})
quantile(-0.1, temperature)
quantile(1.1, temperature)
quantile(NaN, temperature)
quantile(0.3, gappy)
topk(2, temperature)
bottomk(2, temperature)
topk by (namespace) (1, temperature)
bottomk without (pod, n) (1, temperature)
topk(2, odd{kind!~"never|always"})
bottomk(2, odd{kind!~"never|always"})
topk by (kind) (1, gappy)
topk(0, level)
topk(-1, level)
topk(100, level)
topk(1.9, temperature)
topk(scalar(level{kind="flat"}) - 5, temperature)
count_values("v", level{kind=~"steps|flat"})
count_values by (namespace) ("n", info)
count_values without (pod, n, node, model) ("v", info)
count_values("v", odd{kind=~"never|always|inf"})
count_values("v", tiny)
count_values("v", huge)
sum(sum by (pod) (requests_total))
ceil(stddev((temperature * 0 + 0.1)))
avg(temperature * 0 + 0.1) == bool 0.1
avg(sgn(odd))
sum(rate(requests_total[2m])) by (namespace)
max(max_over_time(temperature[5m])) without (pod)
sum by (pod) (requests_total{code="500"} > 300)
""".strip().splitlines()
)

BINARY = """
1 + 2 * 3 ^ 2 - 4 / 5 % 3
-7 % 3
7 % -3
2 ^ 3 ^ 2
1 / 0
-1 / 0
0 / 0
1 == bool 1
1 > bool 2
NaN == bool NaN
1 atan2 2
level + 1
1 - level
level / 0
0 / level
level % 7
-7 % level
level ^ 2
2 ^ level
level ^ 0.5
level atan2 3
level > 50
50 < level
50 > bool level
level != 7
level == 7
7 == level
level >= bool 50
odd > 0
odd == odd
odd != odd
odd != bool odd
level > level
level >= level
level == bool level
level + level
level + odd
level + on (kind) odd
level + ignoring (kind) odd
one_of + one_of
one_of * on (same) one_of
one_of + 1
requests_total{code="500"} / requests_total
requests_total{code="500"} / ignoring (code) requests_total{code="200"}
requests_total{code="500"} / on (pod) requests_total{code="200"}
requests_total / on (pod) requests_total{code="200"}
requests_total / ignoring (code) group_left requests_total{code="200"}
requests_total / on (pod, namespace, n) group_left () requests_total{code="200"}
requests_total{code="200"} / ignoring (code) group_right requests_total
temperature * on (pod) group_left (node, model) info
info * on (pod) group_right (node) temperature
temperature * on (pod, namespace) group_left (node) info
temperature > on (pod) group_left (node) info
temperature > bool on (pod) group_left (node) info
temperature * on (namespace) group_left info
temperature * on (namespace) info
requests_total > ignoring (code) group_left requests_total{code="200"}
requests_total > bool ignoring (code) group_left requests_total{code="200"}
requests_total{code="500"} > on (pod) requests_total{code="200"}
requests_total{code="500"} > bool on (pod) requests_total{code="200"}
requests_total{code="500"} < ignoring (code) requests_total{code="200"}
level and odd
level and on () odd
level and on (kind) level{kind="walk"}
level and on () missing
level and on () vector(1)
level unless on (kind) level{kind="walk"}
level unless missing
level unless on () gappy{kind="gap"}
level or odd
level or on (kind) odd
level or on () odd
missing or level
level or missing
gappy{kind="gap"} or on () level{kind="walk"}
gappy{kind="gap"} or on () level
one_of or level
one_of{side="a"} or one_of{side="b"}
sum(one_of) or vector(0)
(level > 50) or (level < 10) * 0
level and ignoring (kind) odd
requests_total and on (pod) temperature{namespace="serving"}
requests_total or temperature
level{kind="walk"} > 50 and level{kind="walk"} < 55
level + on () group_left vector(1)
vector(1) + on () group_right level
level * scalar(level{kind="flat"})
(level + odd) / 2
sum(level) / count(level)
sum by (pod) (rate(requests_total{code="500"}[2m])) / sum by (pod) (rate(requests_total[2m])) > 0.4
level > bool 50 == 1
missing + level
missing == bool 1
gappy + gappy
gappy{kind="gap"} - on () level{kind="walk"}
gappy > on (kind) gappy offset 5m
label_replace(one_of, "side", "z", "side", ".*") + on (same) level{kind="none"}
temperature + on (pod, namespace) group_left (kind) label_replace(info, "kind", "new", "", "")
""".strip().splitlines()

HISTOGRAMS = """
histogram_quantile(0.95, latency_bucket)
histogram_quantile(0.5, rate(latency_bucket[5m]))
histogram_quantile(0.99, sum by (le) (rate(latency_bucket[2m])))
histogram_quantile(0.9, sum by (le, pod) (rate(latency_bucket[2m])))
histogram_quantile(0, rate(latency_bucket[5m]))
histogram_quantile(1, rate(latency_bucket[5m]))
histogram_quantile(-1, rate(latency_bucket[5m]))
histogram_quantile(2, rate(latency_bucket[5m]))
histogram_quantile(NaN, rate(latency_bucket[5m]))
histogram_quantile(scalar(level{kind="flat"}) / 10, rate(latency_bucket[5m]))
histogram_quantile(0.01, signed_bucket)
histogram_quantile(0.3, signed_bucket)
histogram_quantile(0.5, signed_bucket)
histogram_quantile(0.9, signed_bucket)
histogram_quantile(0.4, dented_bucket)
histogram_quantile(0.55, dented_bucket)
histogram_quantile(0.9, dented_bucket)
histogram_quantile(0.5, endless_bucket)
histogram_quantile(0.5, lonely_bucket)
histogram_quantile(0.5, idle_bucket)
histogram_quantile(0.5, rate(idle_bucket[5m]))
histogram_quantile(0.5, broken_bucket)
histogram_quantile(0.5, level)
histogram_quantile(0.5, missing)
histogram_quantile(0.5, latency_bucket{le!="+Inf"})
histogram_quantile(0.5, latency_bucket * NaN)
histogram_quantile(0.5, latency_bucket > 30)
histogram_quantile(0.5, {__name__=~"signed_bucket|dented_bucket"})
max(histogram_quantile(0.9, rate(latency_bucket[2m])))
""".strip().splitlines()

EVERYTHING = [*SELECTORS, *OVER_TIME, *FUNCTIONS, *AGGREGATIONS, *BINARY, *HISTOGRAMS]

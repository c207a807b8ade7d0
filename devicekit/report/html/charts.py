"""Charts as Vega-Lite specifications, by Altair; each names the dataset of the page that it draws.

Colours and fonts are the page's (page.js), so that a chart follows light and dark.
"""

from collections.abc import Sequence
from typing import Any

import altair as alt

WIDE = "container"
# No chart lists more names than a page is high.
MOST_NAMES = 60
STEP = 22


def distribution(models: Sequence[str]) -> dict[str, Any]:
    """Returns boxes of latency per device (5, 25, 50, 75, 95 %) for the model that is selected."""
    y = alt.Y("device:N", title=None, sort=None)
    base = alt.Chart(alt.NamedData("rows")).encode(y=y)
    tips = [
        alt.Tooltip("device:N"),
        alt.Tooltip("recipe:N"),
        alt.Tooltip("q50:Q", title="median ms", format=".3~s"),
        alt.Tooltip("q95:Q", title="95 % below, ms", format=".3~s"),
        alt.Tooltip("stability:N"),
    ]
    x = alt.X("q5:Q", title="latency, ms (line: 5–95 %, box: 25–75 %)", scale=alt.Scale(zero=True))
    whole = base.mark_rule(strokeWidth=1.5).encode(x=x, x2="q95:Q", tooltip=tips)
    half = base.mark_bar(size=12, opacity=0.75).encode(x="q25:Q", x2="q75:Q", tooltip=tips, color=_evidence())
    middle = base.mark_tick(thickness=2.5, size=16).encode(x="q50:Q", tooltip=tips)
    chart = alt.layer(whole, half, middle).transform_filter("isValid(datum.q50)")
    return _spec(_selecting(chart, "model", models), step=STEP)


def pareto(devices: Sequence[str]) -> dict[str, Any]:
    """Returns size against latency on the device that is selected; colour is fidelity."""
    colour = alt.Color(
        "cosine:Q",
        title="cosine to float",
        scale=alt.Scale(scheme="viridis"),
        legend=alt.Legend(orient="bottom", gradientLength=160, format=".4~f"),
    )
    chart = (
        alt.Chart(alt.NamedData("rows"))
        .mark_point(filled=True, size=110, opacity=0.9)
        .encode(
            x=alt.X("size_kib:Q", title="file, KiB", scale=alt.Scale(type="log", nice=True)),
            y=alt.Y("median_ms:Q", title="median, ms", scale=alt.Scale(type="log", nice=True)),
            color=colour,
            shape=alt.Shape("recipe:N", title="recipe", legend=alt.Legend(orient="bottom")),
            tooltip=[
                "model:N",
                "recipe:N",
                "size_kib:Q",
                "median_ms:Q",
                "cosine:Q",
                "must_have_mib:Q",
                "status:N",
            ],
        )
        .transform_filter("isValid(datum.median_ms) && datum.size_kib > 0")
    )
    return _spec(_selecting(chart, "device", devices), height=320)


def timeline(models: Sequence[str]) -> dict[str, Any]:
    """Returns latency over time, a line per device, for the model that is selected; a diamond is a change."""
    base = _over_time("median_ms", "median, ms")
    marked = base.mark_point(size=140, shape="diamond", filled=True).transform_filter("datum.changed != ''")
    return _spec(_selecting(_lined(base) + marked, "model", models), height=300)


def memory(models: Sequence[str]) -> dict[str, Any]:
    """Returns must-have memory over time, a line per device, for the model that is selected."""
    return _spec(
        _selecting(_lined(_over_time("must_have_mib", "must-have, MiB")), "model", models), height=220
    )


def _over_time(field: str, title: str) -> Any:
    legend = alt.Legend(orient="bottom", columns=3, symbolLimit=12)
    return (
        alt.Chart(alt.NamedData("points"))
        .encode(
            x=alt.X("when:T", title=None),
            y=alt.Y(f"{field}:Q", title=title, scale=alt.Scale(zero=False, nice=True)),
            color=alt.Color("device:N", title=None, legend=legend),
            tooltip=["device:N", "run:N", "when:T", "median_ms:Q", "must_have_mib:Q", "changed:N"],
        )
        .transform_filter(f"isValid(datum.{field})")
    )


def _lined(base: Any) -> Any:
    return base.mark_line(strokeWidth=1.5) + base.mark_point(size=30, filled=True)


def _selecting(chart: Any, field: str, names: Sequence[str]) -> Any:
    """Returns the chart of one name, with a list to choose it from where there are several."""
    if len(names) < 2:
        return chart
    bound = alt.binding_select(options=list(names), name=f"{field} ")
    selected = alt.param(name=f"selected_{field}", value=names[0], bind=bound)
    return chart.add_params(selected).transform_filter(f"datum.{field} == selected_{field}")


def _evidence() -> Any:
    return alt.Color(
        "evidence:N",
        title=None,
        scale=alt.Scale(
            domain=["measured", "simulated", "emulated"], range=["#2f6fde", "#c26a00", "#7a5ccc"]
        ),
        legend=alt.Legend(orient="bottom"),
    )


def _spec(chart: Any, *, height: int | None = None, step: int | None = None) -> dict[str, Any]:
    sized = chart.properties(width=WIDE, height=alt.Step(step) if step else height)
    spec: dict[str, Any] = sized.to_dict(validate=True)
    spec.pop("config", None)  # the page's
    spec["autosize"] = {"type": "fit-x", "contains": "padding"}
    return spec

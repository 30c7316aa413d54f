"""The style sheet of the live page: that of the report, and what only a live page has."""

from __future__ import annotations

from aviary.report.style import STYLE as REPORT

STYLE = (
    REPORT
    + """
header{display:flex;flex-wrap:wrap;justify-content:space-between;gap:4px 20px;padding-top:14px}
#top{font-weight:600}
#told{max-width:1040px;margin:0 auto;padding:0 20px;min-height:1.5em;color:var(--soft)}
#told.bad{color:var(--bad)}
main:focus{outline:none}
button,input,select,textarea{font:inherit;color:inherit;background:var(--background);
border:1px solid var(--soft);border-radius:6px;padding:7px 12px;min-height:44px}
button{cursor:pointer;background:var(--card)}
button.bad{color:var(--bad);border-color:var(--bad)}
button[disabled]{opacity:.5;cursor:default}
.words{display:flex;flex-wrap:wrap;gap:8px;margin:14px 0}
label{display:block;margin:10px 0 2px}
input,textarea,select{width:100%;max-width:34em}
dialog{color:var(--ink);background:var(--background);border:1px solid var(--soft);
border-radius:10px;max-width:36em;width:calc(100% - 24px);padding:14px 18px}
dialog::backdrop{background:#0008}
meter{width:6em;height:1em;vertical-align:middle}
td:last-child{min-width:8em}
bdi{unicode-bidi:isolate}
ol.story{padding-left:0;list-style:none}
ol.story li{padding:3px 0;border-bottom:1px solid var(--line);overflow-wrap:anywhere}
svg.series{display:block;width:100%;height:110px;margin:4px 0;
background:var(--card);border-radius:6px}
.series polyline{fill:none;stroke-width:1.6;vector-effect:non-scaling-stroke}
.series .canary{stroke:var(--accent)}
.series .stable{stroke:var(--soft);stroke-dasharray:4 3}
.series .odds{stroke:var(--bad)}
.series .bound{stroke:var(--good)}
.graph-box{overflow-x:auto}
.graph-box svg.graph{max-width:none;width:auto}
@media (prefers-reduced-motion:reduce){html{scroll-behavior:auto}}
@media (max-width:640px){#told{padding:0 12px}}
"""
)

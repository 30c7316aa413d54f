"""The style sheet of the page: light and dark by the reader's system, light on paper."""

STYLE = """
:root{color-scheme:light dark;--background:#fff;--card:#f6f7f9;--ink:#1c2128;--soft:#59626e;
--line:#d8dce2;--grid:#e4e7ec;--accent:#1d62c9;--good:#1b7a41;--good-bg:#e3f4e9;--bad:#b3261e;
--bad-bg:#fbe7e6;--open:#1d62c9;--open-bg:#e6effb;--none:#59626e;--none-bg:#eceef1}
@media (prefers-color-scheme:dark){:root{--background:#14171c;--card:#1b1f26;--ink:#e6e8ec;
--soft:#9aa3b0;--line:#333a45;--grid:#2b313b;--accent:#7fb0ff;--good:#69d08f;--good-bg:#173524;
--bad:#ff8f86;--bad-bg:#421d1b;--open:#8db8ff;--open-bg:#1b2c47;--none:#9aa3b0;--none-bg:#272c35}}
@media print{:root{color-scheme:light;--background:#fff;--card:#f6f7f9;--ink:#000;--soft:#444;
--line:#bbb;--grid:#ddd;--accent:#123f86;--good:#1b7a41;--good-bg:#e3f4e9;--bad:#b3261e;
--bad-bg:#fbe7e6;--open:#1d62c9;--open-bg:#e6effb;--none:#444;--none-bg:#eceef1}}
*{box-sizing:border-box}
html{scroll-behavior:smooth}
body{margin:0;background:var(--background);color:var(--ink);font:15px/1.5 system-ui,sans-serif;
-webkit-print-color-adjust:exact;print-color-adjust:exact}
main,header,footer{max-width:1040px;margin:0 auto;padding:0 20px}
header{padding-top:28px}
footer{color:var(--soft);padding:24px 20px 48px;font-size:13px}
h1{font-size:28px;line-height:1.2;margin:0 0 10px;overflow-wrap:anywhere}
h2{font-size:20px;margin:44px 0 10px;padding-top:12px;border-top:1px solid var(--line)}
h3{font-size:16px;margin:26px 0 6px;overflow-wrap:anywhere}
p{margin:6px 0;overflow-wrap:anywhere}
a{color:var(--accent)}
:focus-visible{outline:2px solid var(--accent);outline-offset:2px}
.lead{font-size:17px}
.soft,caption,figcaption{color:var(--soft);font-size:13px}
.skip{position:absolute;left:-999px}
.skip:focus{left:8px;top:8px;background:var(--background);padding:6px}
nav ul{display:flex;flex-wrap:wrap;gap:2px 18px;list-style:none;padding:0;margin:14px 0 0}
.badge{display:inline-block;padding:1px 8px;border-radius:10px;font-size:13px;font-weight:600;
white-space:nowrap}
.badge.good{color:var(--good);background:var(--good-bg)}
.badge.bad{color:var(--bad);background:var(--bad-bg)}
.badge.open{color:var(--open);background:var(--open-bg)}
.badge.none{color:var(--none);background:var(--none-bg)}
dl.facts{display:grid;grid-template-columns:max-content 1fr;gap:2px 18px;margin:12px 0}
dl.facts dt{color:var(--soft)}
dl.facts dd{margin:0;overflow-wrap:anywhere}
.note{border-left:4px solid var(--open);background:var(--card);padding:8px 14px;margin:12px 0}
.note.bad{border-color:var(--bad)}
.scroll{overflow-x:auto;margin:10px 0}
table{border-collapse:collapse;width:100%;font-size:14px}
caption{text-align:left;padding-bottom:4px}
th,td{text-align:left;vertical-align:top;padding:5px 12px 5px 0;border-bottom:1px solid var(--line);
overflow-wrap:break-word}
td:last-child{overflow-wrap:anywhere;min-width:20em}
thead th{color:var(--soft);font-weight:600;font-size:13px;white-space:nowrap}
tbody th{font-weight:600;overflow-wrap:break-word}
th div,.why{font-weight:400}
.why{color:var(--soft);font-size:.92em;margin:2px 0 0}
.tight,td time,th time,th .why{white-space:nowrap;overflow-wrap:normal;
font-variant-numeric:tabular-nums}
figure{margin:12px 0}
figcaption{margin-bottom:4px}
.chart{width:100%;overflow:hidden}
.chart.missing{height:auto!important}
svg.graph{display:block;width:100%;height:auto;margin:8px auto}
.graph .edge{fill:none;stroke:var(--soft);stroke-width:1.4}
.graph .tip{fill:var(--soft)}
.graph text{fill:var(--ink);font-size:12px}
.graph .name{font-weight:600;font-size:13px}
.graph .small{font-size:11px;fill:var(--soft)}
.graph rect{fill:var(--card);stroke:var(--line);stroke-width:1.4}
.graph a{text-decoration:none}
.graph .good rect{fill:var(--good-bg);stroke:var(--good)}
.graph .good .state{fill:var(--good)}
.graph .bad rect{fill:var(--bad-bg);stroke:var(--bad)}
.graph .bad .state{fill:var(--bad)}
.graph .open rect{fill:var(--open-bg);stroke:var(--open)}
.graph .open .state{fill:var(--open)}
.graph .none rect{stroke-dasharray:4 3}
.graph .began rect{stroke-width:3}
pre{background:var(--card);padding:10px 12px;overflow:auto;font-size:12px;max-height:480px;
white-space:pre-wrap;overflow-wrap:anywhere}
code{font-size:13px;overflow-wrap:anywhere}
summary{cursor:pointer;color:var(--accent)}
details.long summary{color:inherit}
details.long:not([open]) summary::after{content:"…";color:var(--accent)}
.js-plotly-plot text{fill:var(--ink)!important}
.js-plotly-plot .hoverlayer text{fill:#f4f5f7!important}
.js-plotly-plot .gridlayer path,.js-plotly-plot .zerolinelayer path{stroke:var(--grid)!important}
.js-plotly-plot .modebar-btn path{fill:var(--soft)!important}
.js-plotly-plot .modebar-group{background:transparent!important}
@media screen and (max-width:640px){main,header,footer{padding-left:12px;padding-right:12px}
.stacks,.stacks caption,.stacks tbody{display:block}
.stacks thead{position:absolute;left:-9999px}
.stacks tr{display:block;padding:8px 0;border-bottom:1px solid var(--line)}
.stacks th,.stacks td{display:inline-block;border:0;padding:0 10px 0 0}
.stacks td:last-child{display:block;min-width:0;padding:4px 0 0}}
@page{size:A4;margin:14mm 12mm}
@media print{
body{font-size:10.5pt}
main,header,footer{max-width:none;padding-left:0;padding-right:0}
nav,.skip,.modebar,details.data{display:none!important}
h2,h3,caption,figcaption{break-after:avoid}
h2{margin-top:22px}
figure,tr,.note,dl.facts,svg.graph,.chart{break-inside:avoid}
thead{display:table-header-group}
table{font-size:9pt}
a{color:inherit;text-decoration:none}
.scroll{overflow:visible}
pre{max-height:none}
.chart{height:auto!important}
.chart .plot-container,.chart .svg-container{width:100%!important;height:auto!important}
.chart .svg-container{aspect-ratio:var(--shape)}
.chart .main-svg{width:100%!important;height:100%!important}
}
"""

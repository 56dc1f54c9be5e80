"""The page's looks: system fonts, a light and a dark palette, nothing fetched."""

STYLE = """
:root {
  color-scheme: light dark;
  --page: #f6f7f9; --card: #ffffff; --ink: #1d2330; --quiet: #646d7c; --rule: #e2e6eb; --grid: #e8ebef;
  --good: #16794a; --bad: #bf3028; --unsure: #9a6300; --none: #646d7c; --accent: #3f6ed0;
  --heat-tint: 66, 118, 222;
}
@media (prefers-color-scheme: dark) {
  :root {
    --page: #12151b; --card: #1a1e26; --ink: #e4e8ef; --quiet: #98a1b0; --rule: #2c323d; --grid: #2a303a;
    --good: #4cc38a; --bad: #f27a70; --unsure: #e3ad4c; --none: #98a1b0; --accent: #82a7f5;
    --heat-tint: 92, 142, 240;
  }
}

/* The page */
* { box-sizing: border-box; }
html { scroll-behavior: smooth; scroll-padding-top: 12px; }
body {
  margin: 0; background: var(--page); color: var(--ink);
  font: 15.5px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", sans-serif;
}
header, main { max-width: 1180px; margin: 0 auto; padding: 0 20px; }
main { padding-bottom: 40px; }
section {
  margin: 0 0 18px; padding: 22px 24px;
  background: var(--card); border: 1px solid var(--rule); border-radius: 12px;
}
h1 { margin: 34px 0 8px; font-size: 15px; font-weight: 600; letter-spacing: .02em; color: var(--quiet); }
h2 { margin: 0 0 6px; font-size: 21px; font-weight: 650; letter-spacing: -.01em; }
h3 { margin: 26px 0 8px; font-size: 15.5px; font-weight: 650; }
p { margin: 6px 0 12px; max-width: 84ch; }
ul { margin: 8px 0 14px; padding-left: 20px; max-width: 92ch; }
nav { display: flex; flex-wrap: wrap; gap: 4px 18px; margin-bottom: 18px; font-size: 13.5px; }
nav a { color: var(--accent); text-decoration: none; }
nav a:hover { text-decoration: underline; }
.note, .quiet, .unit, .words { color: var(--quiet); font-size: 13.5px; }
.note { max-width: 100ch; }
.unit, .quiet, .words { font-weight: 400; }
.missing {
  margin: 10px 0; padding: 10px 14px; max-width: none; color: var(--quiet); font-size: 14px;
  border: 1px dashed var(--rule); border-radius: 8px;
}

/* Verdicts */
.good { color: var(--good); }
.bad { color: var(--bad); }
.unsure { color: var(--unsure); }
.none { color: var(--none); }
#verdict { color: var(--ink); border-top: 4px solid var(--none); }
#verdict.good { border-top-color: var(--good); }
#verdict.bad { border-top-color: var(--bad); }
#verdict.unsure { border-top-color: var(--unsure); }
.hero { display: flex; gap: 18px; align-items: flex-start; margin-bottom: 14px; }
.hero svg { flex: none; margin-top: 2px; }
.hero h2 { font-size: 29px; line-height: 1.2; }
.mark { vertical-align: -3px; }
.mark circle { fill: currentColor; }
.mark path { fill: none; stroke: var(--card); stroke-width: 2.3; }
.mark path { stroke-linecap: round; stroke-linejoin: round; }

/* Tables */
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 14px; font-variant-numeric: tabular-nums; }
th, td { padding: 8px 14px 8px 0; text-align: left; vertical-align: baseline; }
th, td { border-bottom: 1px solid var(--rule); }
thead th { color: var(--quiet); font-weight: 500; font-size: 13px; vertical-align: bottom; }
tbody th { font-weight: 600; white-space: nowrap; }
tbody tr:last-child > * { border-bottom: 0; }
.figures td { white-space: nowrap; }
.figures td .words { display: block; min-width: 210px; white-space: normal; line-height: 1.35; }
.verdicts { width: auto; min-width: min(720px, 100%); font-size: 15.5px; }
.plain { width: auto; }
.plain thead { display: none; }
.plain th { font-weight: 500; color: var(--quiet); padding-right: 28px; }
.plain td { overflow-wrap: anywhere; white-space: pre-wrap; }
.heat { width: auto; margin: 8px 0 16px; }
.heat th, .heat td { padding: 2px 3px; border: 0; text-align: center; vertical-align: middle; }
.heat thead th { padding: 4px 6px; vertical-align: bottom; max-width: 120px; }
.heat tbody th { padding-right: 16px; text-align: left; font-weight: 500; }
.heat .cell {
  min-width: 84px; padding: 7px 4px; border-radius: 5px; border: 2px solid transparent;
  background: rgba(var(--heat-tint), calc(.05 + .5 * var(--heat)));
}
.heat .taken { border-color: var(--accent); font-weight: 650; }
sup { margin-left: 3px; font-size: 10.5px; line-height: 0; }

/* Figures */
.panels {
  display: grid; gap: 14px 26px;
  grid-template-columns: repeat(auto-fit, minmax(min(100%, var(--panel)), 1fr));
}
.panel { margin: 6px 0 0; min-width: 0; }
figcaption { font-size: 13.5px; font-weight: 600; line-height: 1.35; overflow-wrap: anywhere; }
.swatch { display: inline-block; width: 11px; height: 11px; margin-right: 7px; border-radius: 3px; }
.legend {
  display: flex; flex-wrap: wrap; gap: 4px 18px; margin: 8px 0 12px; padding: 0; max-width: none;
  list-style: none; font-size: 13.5px;
}
.strip { display: inline-flex; gap: 2px; vertical-align: -3px; }
.tick { width: 9px; height: 16px; border-radius: 2px; }
.tag { margin-left: 8px; font-size: 12px; font-weight: 600; color: var(--accent); }
.graph { display: block; margin: 0 auto; }
.graph text { fill: var(--ink); font-size: 13.5px; font-weight: 600; }
.graph text.choice, .graph text.cost { fill: var(--quiet); font-size: 11.5px; font-weight: 400; }
.graph text.layer { fill: var(--quiet); font-size: 12.5px; }
.graph .card { fill: var(--card); stroke: var(--rule); stroke-width: 1.3; }
.graph .flow { fill: none; stroke: var(--quiet); stroke-width: 1.4; opacity: .75; }
.graph marker path { fill: var(--quiet); }
.graph .skip { opacity: .5; }
.graph .skip .card { stroke: var(--quiet); stroke-dasharray: 4 4; }

/* plotly writes its colours into the drawing; these follow the reader's light or dark */
.plot .xtick text, .plot .ytick text, .plot .xtitle, .plot .ytitle, .plot .annotation-text {
  fill: var(--quiet) !important;
}
.plot .legendtext { fill: var(--ink) !important; }
.plot .gridlayer path { stroke: var(--grid) !important; }

details { border-top: 1px solid var(--rule); padding: 8px 0; }
details:first-of-type { border-top: 0; }
summary { cursor: pointer; font-weight: 600; }
@media print { nav { display: none; } section { break-inside: avoid; } }
"""

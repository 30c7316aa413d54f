"""The page's own script: unpacks plotly.js and draws the figures as they come into view."""

SCRIPT = """
(async () => {
  'use strict';
  const root = document.documentElement;
  const charts = [...document.querySelectorAll('.chart')];
  const give_up = (why) => {
    for (const chart of charts) {
      chart.classList.add('missing');
      chart.textContent = `The charts could not be drawn (${why}); the tables say the same.`;
    }
    root.dataset.charts = 'missing';
  };
  const text_of = (id) => document.getElementById(id).textContent;
  try {
    const bytes = Uint8Array.from(atob(text_of('plotly')), (c) => c.charCodeAt(0));
    const plain = new Blob([bytes]).stream().pipeThrough(new DecompressionStream('gzip'));
    const script = document.createElement('script');
    script.textContent = await new Response(plain).text();
    document.head.append(script);
    if (!window.Plotly) throw new Error('plotly.js did not start');
  } catch (error) {
    give_up(error.message);
    return;
  }
  const figures = JSON.parse(text_of('figures'));
  const config = {
    displaylogo: false,
    responsive: true,
    modeBarButtonsToRemove: ['select2d', 'lasso2d', 'autoScale2d'],
  };
  const timed = (figure) => {
    const start = Date.parse(figure.start);
    const at = (seconds) => (seconds === null ? null : start + seconds * 1000);
    const xs = figure.xs.map((x) => x.map(at));
    const data = figure.data.map((trace) => ({...trace, x: xs[trace.x]}));
    const layout = structuredClone(figure.layout);
    layout.xaxis.range = layout.xaxis.range.map(at);
    for (const shape of layout.shapes || []) {
      Object.assign(shape, {x0: at(shape.x0), x1: at(shape.x1)});
    }
    for (const note of layout.annotations || []) if (note.xref !== 'paper') note.x = at(note.x);
    return [data, layout];
  };
  // Paper is narrower than the screen: with a view box the drawing scales by style alone.
  const scale = (chart) => {
    for (const svg of chart.querySelectorAll('.main-svg')) {
      const [width, height] = [svg.getAttribute('width'), svg.getAttribute('height')];
      svg.setAttribute('viewBox', `0 0 ${width} ${height}`);
      chart.style.setProperty('--shape', `${width} / ${height}`);
    }
  };
  const waiting = new Set(charts);
  const draw = (chart) => {
    if (!waiting.delete(chart)) return;
    const [data, layout] = timed(figures[chart.dataset.figure]);
    Plotly.newPlot(chart, data, layout, config);
    chart.on('plotly_afterplot', () => scale(chart));
    scale(chart);
    if (!waiting.size) root.dataset.charts = 'drawn';
  };
  const seen = new IntersectionObserver((entries) => {
    for (const one of entries) if (one.isIntersecting) draw(one.target);
  }, {rootMargin: '600px'});
  charts.forEach((chart) => seen.observe(chart));
  window.addEventListener('beforeprint', () => [...waiting].forEach(draw));
  // The rest one by one, so that paper finds everything, and reading seldom waits.
  const rest = () => {
    const [next] = waiting;
    if (next) { draw(next); setTimeout(rest, 50); }
  };
  setTimeout(rest, 200);
  if (!charts.length) root.dataset.charts = 'drawn';
})();
"""

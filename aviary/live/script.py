"""The live page's own script. Every word of others is put in as text, and never as HTML."""

SCRIPT = r"""
'use strict';
const main = document.getElementById('main');
const told = document.getElementById('told');
const who = document.getElementById('who');
const SVG = 'http://www.w3.org/2000/svg';
const LIST_MS = 3000, SAMPLES = 600, STORY = 500, PAGE = 500;
let me = null;
let leave = () => {};

// Characters that turn or hide the text around them are spelt out.
const ODD = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;
const plain = (value) => String(value ?? '').replace(
  ODD, (one) => '\\u' + one.charCodeAt(0).toString(16).padStart(4, '0'));
const fill = (element, attributes, children) => {
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) element.addEventListener(name.slice(2), value);
    else if (value === true) element.setAttribute(name, '');
    else if (value !== false && value !== null) element.setAttribute(name, value);
  }
  for (const child of children.flat()) {
    if (child !== null) element.append(child instanceof Node ? child : plain(child));
  }
  return element;
};
const tag = (name, attributes = {}, ...children) =>
  fill(document.createElement(name), attributes, children);
const svg = (name, attributes = {}, ...children) =>
  fill(document.createElementNS(SVG, name), attributes, children);
const badge = (kind, phase) => {
  const [sign, words, tone] = PHASES[kind][phase] || ['·', plain(phase), 'none'];
  return tag('span', {class: `badge ${tone}`},
    tag('span', {'aria-hidden': 'true'}, sign), ` ${words}`);
};
const time = (at) => {
  const date = new Date(at);
  if (Number.isNaN(date.getTime())) return plain(at);
  return tag('time', {datetime: date.toISOString(), title: date.toISOString()},
    date.toLocaleString(undefined, {dateStyle: 'short', timeStyle: 'medium'}));
};
const number = (value) => value === null || value === undefined ? '-' :
  Number(value).toLocaleString(undefined, {maximumSignificantDigits: 3});
const gets = (one) => one.copied ? `copies of ${number(one.copied)} %` :
  `${number(one.weight)} %${one.whom ? ` of ${one.whom}` : ''}`;
const say = (text, bad = false) => {
  if (told.textContent === plain(text)) return;
  told.textContent = plain(text);
  told.className = bad ? 'bad' : '';
};
const show = (title, ...children) => {
  document.title = `${plain(title)} · Aviary`;
  main.replaceChildren(...children);
};

// Asking. The token stays in this tab, and goes nowhere but to where this page came from.
const token = () => sessionStorage.getItem('token') || '';
const ask = (path, more = {}) => fetch(path, {
  ...more, cache: 'no-store', credentials: 'omit', redirect: 'error',
  headers: {...more.headers, Authorization: `Bearer ${token()}`},
});
const problem = async (answer) => {
  try { return (await answer.json()).detail || answer.statusText; }
  catch { return answer.statusText; }
};
const pause = (ms) => new Promise((done) => setTimeout(done, ms));
class Gone extends Error {}
const checked = async (answer) => {
  if (answer.status === 401) { signIn(await problem(answer)); throw new Gone(); }
  return answer;
};

const signIn = (why = '') => {
  leave();
  sessionStorage.removeItem('token');
  me = null;
  who.replaceChildren();
  const input = tag('input', {id: 'token', type: 'password', autocomplete: 'off', required: true,
    spellcheck: 'false', maxlength: 16384});
  const form = tag('form', {},
    tag('label', {for: 'token'}, 'Token, with the role read'), input, ' ',
    tag('button', {}, 'Show the releases'));
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    sessionStorage.setItem('token', input.value.trim());
    start();
  });
  show('Sign in', tag('h1', {}, 'Releases'), form);
  say(why, Boolean(why));
  input.focus();
};
const signedIn = async () => {
  const answer = await checked(await ask('whoami'));
  if (!answer.ok) throw new Error(await problem(answer));
  me = await answer.json();
  who.replaceChildren(tag('bdi', {}, me.name), ' ',
    tag('button', {onclick: () => signIn()}, 'Forget the token'));
};

// The list.
const GROUPS = [['Running', (one) => one.finished_at === null && one.state !== 'queued'],
  ['Queued', (one) => one.state === 'queued' && one.finished_at === null],
  ['Ended', (one) => one.finished_at !== null]];
const row = (one) => tag('tr', {},
  tag('th', {scope: 'row'}, tag('a', {href: `#/${encodeURIComponent(one.release)}`},
    tag('bdi', {}, one.release))),
  tag('td', {}, badge('release', one.state)),
  tag('td', {}, time(one.started_at)),
  tag('td', {}, tag('bdi', {}, one.services.slice(0, 5).join(', ') +
    (one.services.length > 5 ? ` and ${one.services.length - 5} more` : ''))),
  tag('td', {}, tag('bdi', {},
    [one.verdict, one.cause, one.because_of].filter(Boolean).join(', '))));
// Rows stay as they are unless what they tell has changed.
const kept = (body, known, items, key, make) => {
  const now = new Set();
  let at = body.firstElementChild;
  for (const item of items) {
    const name = key(item), text = JSON.stringify(item);
    now.add(name);
    let have = known.get(name);
    if (!have || have.text !== text) {
      const fresh = make(item);
      if (have) { if (at === have.node) at = fresh; have.node.replaceWith(fresh); }
      have = {text, node: fresh};
      known.set(name, have);
    }
    if (have.node === at) at = at.nextElementSibling;
    else body.insertBefore(have.node, at);
  }
  for (const [name, have] of known) if (!now.has(name)) { have.node.remove(); known.delete(name); }
};
const table = (caption, heads) => {
  const body = tag('tbody');
  const whole = tag('div', {class: 'scroll', tabindex: '0', role: 'region', 'aria-label': caption},
    tag('table', {class: 'stacks'}, tag('caption', {}, caption),
      tag('thead', {}, tag('tr', {}, heads.map((one) => tag('th', {scope: 'col'}, one)))), body));
  return [whole, body];
};
const showList = async (stop) => {
  const parts = GROUPS.map(([name, takes]) => {
    const [whole, body] = table(`${name} releases`,
      ['release', 'state', 'started', 'services', 'verdict, cause']);
    const count = tag('span');
    return {takes, body, count, known: new Map(),
      section: tag('section', {}, tag('h2', {}, `${name} `, count), whole)};
  });
  show('Releases', tag('h1', {}, 'Releases'), ...parts.map((one) => one.section));
  const etags = [], pages = [];
  while (!stop.signal.aborted) {
    try {
      let after = '', at = 0;
      do {
        const query = `releases?limit=${PAGE}` + (after && `&after=${encodeURIComponent(after)}`);
        const answer = await checked(await ask(query, {signal: stop.signal,
          headers: etags[at] ? {'If-None-Match': etags[at]} : {}}));
        if (answer.status !== 304) {
          if (!answer.ok) throw new Error(await problem(answer));
          etags[at] = answer.headers.get('ETag');
          pages[at] = await answer.json();
        }
        after = pages[at].after;
        at += 1;
      } while (after && at < 4);
      pages.length = etags.length = at;
      const named = new Map();  // of a release that was reset, the later run
      for (const one of pages.flatMap((page) => page.releases)) {
        if (!named.has(one.release)) named.set(one.release, one);
      }
      const all = [...named.values()];
      for (const one of parts) {
        const mine = all.filter(one.takes);
        one.count.textContent = `(${mine.length})`;
        kept(one.body, one.known, mine, (release) => release.release, row);
      }
      say('');
    } catch (error) {
      if (stop.signal.aborted || error instanceof Gone) return;
      say(`What is shown may be old: ${error.message}`, true);
    }
    await pause(LIST_MS);
  }
};

// One release.
const depths = (services) => {
  const by = new Map(services.map((one) => [one.service, one]));
  const found = new Map();
  const of = (name, above) => {
    if (found.has(name)) return found.get(name);
    if (above.has(name)) return 0;
    above.add(name);
    const below = by.get(name).depends_on.filter((need) => by.has(need));
    const depth = below.length ? 1 + Math.max(...below.map((need) => of(need, above))) : 0;
    above.delete(name);
    found.set(name, depth);
    return depth;
  };
  for (const one of services) of(one.service, new Set());
  return found;
};
const W = 170, H = 50, GX = 18, GY = 40;
const drawGraph = (services) => {
  const depth = depths(services), lines = [], place = new Map();
  for (const one of services) (lines[depth.get(one.service)] ||= []).push(one.service);
  lines.forEach((line, y) => line.forEach((name, x) =>
    place.set(name, [4 + x * (W + GX), 4 + y * (H + GY)])));
  const width = 8 + Math.max(...lines.map((line) => line.length)) * (W + GX);
  const height = 8 + lines.length * (H + GY) - GY;
  const boxes = new Map();
  const edges = services.flatMap((one) => one.depends_on.filter((need) => place.has(need) &&
    depth.get(need) === depth.get(one.service) - 1).map((need) => {
    const [ax, ay] = place.get(need), [bx, by] = place.get(one.service);
    return svg('path', {class: 'edge', d: `M${ax + W / 2} ${ay + H}C${ax + W / 2} ${ay + H + 20} ` +
      `${bx + W / 2} ${by - 20} ${bx + W / 2} ${by}`});
  }));
  const nodes = services.map((one) => {
    const [x, y] = place.get(one.service);
    const state = svg('text', {x: x + 10, y: y + 38, class: 'small state'});
    const title = svg('title');
    const name = one.service.length > 21 ? `${one.service.slice(0, 20)}…` : one.service;
    const node = svg('a', {href: `#service-${one.service}`}, title,
      svg('rect', {x, y, width: W, height: H, rx: 7}),
      svg('text', {x: x + 10, y: y + 19, class: 'name'}, name), state);
    node.addEventListener('click', (event) => {
      event.preventDefault();
      document.getElementById(`service-${one.service}`)?.querySelector('th').focus();
    });
    boxes.set(one.service, {node, state, title});
    return node;
  });
  const drawing = svg('svg', {class: 'graph', viewBox: `0 0 ${width} ${height}`, width, height,
    role: 'group', 'aria-label': 'Services, and what each depends on'}, edges, nodes);
  return {drawing, update: (all) => {
    for (const one of all) {
      const box = boxes.get(one.service);
      if (!box) continue;
      const [sign, words, tone] = PHASES.canary[one.phase] || ['·', one.phase, 'none'];
      const text = plain(`${sign} ${words}, ${gets(one)}`);
      if (box.state.textContent === text) continue;
      box.state.textContent = text;
      box.title.textContent = plain(`${one.service}: ${words}, ${gets(one)}`);
      box.node.setAttribute('class', `node ${tone}`);
    }
  }};
};
const drawing = (label, lines) => {
  const values = lines.flatMap(([, list]) => list).filter(Number.isFinite);
  const most = Math.max(...values, 1e-9);
  return svg('svg', {class: 'series', viewBox: '0 0 600 100', preserveAspectRatio: 'none',
    role: 'img', 'aria-label': label}, lines.map(([kind, list]) => svg('polyline', {class: kind,
    points: list.map((value, at) => Number.isFinite(value) ?
      `${Math.round(at * 600 / Math.max(list.length - 1, 1))},${Math.round(98 - 96 * value / most)}`
      : '').join(' ')})));
};
const drawSeries = (box, live, series) => {
  const parts = [];
  for (const [service, judge] of Object.entries(live)) {
    parts.push(tag('h3', {}, tag('bdi', {}, service)),
      tag('p', {}, tag('bdi', {}, judge.sentence)),
      tag('p', {}, `Odds against chance ${number(judge.e_value)} of ${number(judge.threshold)} `,
        tag('meter', {min: 0, max: 1, value: judge.to_fail, 'aria-label': 'How close to failing'}),
        ` to FAIL`));
    for (const metric of judge.metrics) {
      const list = series.get(`${service}\n${metric.name}`) || [];
      const of = (name) => list.map((one) => one[name]);
      parts.push(tag('figure', {}, tag('figcaption', {}, tag('bdi', {}, metric.name),
        `: canary ${number(metric.canary_now)} (line), stable ${number(metric.stable_now)} ` +
        `(dashes), at most ${number(metric.upper_bound)} worse (green; good enough: ` +
        `${number(metric.tolerance)}); below, odds ${number(metric.e_value)}`),
      drawing(`${metric.name}: canary, stable and bound since this page was opened`,
        [['stable', of('stable_now')], ['canary', of('canary_now')], ['bound', of('upper_bound')]]),
      drawing(`${metric.name}: odds against chance`, [['odds', of('e_value').map(
        (value) => Math.log10(1 + Math.max(value, 0)))]])));
    }
  }
  const none = tag('p', {class: 'soft'}, 'Nothing is judged now.');
  box.replaceChildren(...(parts.length ? parts : [none]));
};
const sample = (series, live) => {
  for (const [service, judge] of Object.entries(live)) for (const metric of judge.metrics) {
    const key = `${service}\n${metric.name}`;
    if (!series.has(key)) series.set(key, []);
    const list = series.get(key);
    if (list.at === judge.at) continue;
    list.at = judge.at;
    list.push(metric);
    if (list.length > SAMPLES) list.shift();
  }
};
const event = (one) => {
  const data = one.data || {}, words = String(one.type || '').split('.').slice(-3, -1).join(' ');
  const verdict = data.verdict && data.verdict.sentence, cause = data.cause && data.cause.text;
  const weight = typeof data.weight === 'number' && data.weight ? gets(data) : '';
  const more = [weight, verdict, cause, data.text, data.waits_for && `waits for ${data.waits_for}`];
  return tag('li', {}, time(one.time), ' ', tag('b', {}, tag('bdi', {}, one.subject)), ` ${words}`,
    ...[...new Set(more.filter(Boolean))].map((text) => tag('bdi', {}, `; ${text}`)));
};
const watched = (one) => one.watched_until
  ? `watched until ${one.watched_until.slice(0, 16).replace('T', ' ')} UTC` : '';
const told_of = (one) => [one.waits_for && !one.cause ? `waits for ${one.waits_for}` : '',
  one.verdict ? one.verdict.sentence : '', one.cause ? one.cause.text : '', watched(one)]
  .filter(Boolean).join('; ');
const serviceRow = (one) => tag('tr', {id: `service-${one.service}`},
  tag('th', {scope: 'row', tabindex: '-1'}, tag('bdi', {}, one.service)),
  tag('td', {}, tag('bdi', {}, `${one.stable || '?'} → ${one.version}`)),
  tag('td', {}, badge('canary', one.phase)),
  tag('td', {}, tag('meter', {min: 0, max: 100, value: one.weight, 'aria-label': 'weight'}),
    ` ${gets(one)}`),
  tag('td', {}, one.step === null ? '-' : `${one.step + 1}/${one.steps}`),
  tag('td', {}, tag('bdi', {}, told_of(one))));
const key = () => [...crypto.getRandomValues(new Uint8Array(16))]
  .map((one) => one.toString(16).padStart(2, '0')).join('');
const dialog = (release, word, services) => {
  const once = key();  // the same, however often it is sent
  const reason = tag('textarea', {id: 'reason', required: true, maxlength: 2000, rows: 2});
  const service = tag('select', {id: 'service'},
    tag('option', {value: ''}, 'all that it applies to'),
    services.map((one) => tag('option', {value: one.service}, one.service)));
  const send = tag('button', {class: word === 'rollback' ? 'bad' : ''}, word);
  const box = tag('dialog', {'aria-labelledby': 'asked'});
  const why = tag('p', {role: 'alert'});
  const form = tag('form', {}, tag('h2', {id: 'asked'}, `${word} `, tag('bdi', {}, release)),
    tag('label', {for: 'service'}, 'Service'), service,
    tag('label', {for: 'reason'}, 'Reason; it is recorded'), reason, why,
    tag('div', {class: 'words'}, send,
      tag('button', {type: 'button', onclick: () => box.close()}, 'Do nothing')));
  form.addEventListener('submit', async (sent) => {
    sent.preventDefault();
    send.disabled = true;
    try {
      const answer = await checked(await ask(`releases/${encodeURIComponent(release)}/${word}`, {
        method: 'POST', headers: {'Content-Type': 'application/json', 'Idempotency-Key': once},
        body: JSON.stringify({reason: reason.value, service: service.value || null}),
      }));
      if (!answer.ok) throw new Error(await problem(answer));
      box.close();
      say((await answer.json()).answer);
    } catch (error) {
      why.textContent = plain(error.message);
      send.disabled = false;
    }
  });
  box.append(form);
  box.addEventListener('close', () => box.remove());
  document.body.append(box);
  box.showModal();
};
const stream = async (path, stop, heard) => {
  let last = '', rest = 1000;
  while (!stop.signal.aborted) {
    try {
      const answer = await checked(await ask(path, {signal: stop.signal,
        headers: last ? {'Last-Event-ID': last} : {}}));
      if (!answer.ok) throw new Error(await problem(answer));
      const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
      let text = '', kind = '', data = [], id = '';
      for (;;) {
        const {done, value} = await reader.read();
        if (done) break;
        rest = 1000;
        text += value;
        const lines = text.split('\n');
        text = lines.pop();
        for (const line of lines) {
          if (line === '') {
            if (data.length) heard(kind, JSON.parse(data.join('\n')));
            if (id) last = id;
            if (kind === 'end') return;
            kind = ''; data = []; id = '';
          } else if (line.startsWith('data: ')) data.push(line.slice(6));
          else if (line.startsWith('event: ')) kind = line.slice(7);
          else if (line.startsWith('id: ')) id = line.slice(4);
        }
      }
    } catch (error) {
      if (stop.signal.aborted || error instanceof Gone) return;
      say(`What is shown may be old: ${error.message}`, true);
    }
    await pause(rest);
    rest = Math.min(rest * 2, 15000);
  }
};
const showRelease = async (release, stop) => {
  const state = tag('p', {class: 'lead'}), words = tag('div', {class: 'words'});
  const next = tag('p'), graphBox = tag('div', {class: 'graph-box', tabindex: '0', role: 'region',
    'aria-label': 'Graph of services'});
  const series = new Map(), seriesBox = tag('div'), known = new Map(), seen = new Set();
  const [services, body] = table('Services of the release',
    ['service', 'version', 'state', 'weight', 'step', 'waits for, verdict, why']);
  const story = tag('ol', {class: 'story'});
  show(release, tag('h1', {tabindex: '-1'}, tag('bdi', {}, release)), state, words, next,
    tag('h2', {}, 'Services'), graphBox, services,
    tag('h2', {}, 'What the judges see'), seriesBox, tag('h2', {}, 'What happened'), story);
  main.querySelector('h1').focus();
  let graph = null, shape = '', offered = '';
  const look = (now) => {
    const all = now.services.map((one) => ({...one, ...now.canaries[one.service]}));
    const why = now.cause ? now.cause.text : now.waits_for && `waits for ${now.waits_for}`;
    state.replaceChildren(badge('release', now.phase), now.paused ? ' paused ' : ' ',
      tag('bdi', {}, why || ''));
    const may = Object.keys(now.may).filter((word) => me.words.includes(word));
    if (offered !== may.join()) {
      offered = may.join();
      words.replaceChildren(...may.map((word) => tag('button', {
        class: word === 'rollback' ? 'bad' : '', title: now.may[word] || word,
        onclick: () => dialog(release, word, all)}, word)));
    }
    const waits = all.filter((one) => one.waits_for);
    next.replaceChildren(...(waits.length ? ['Next: ', tag('bdi', {}, waits.slice(0, 5).map(
      (one) => `${one.service} waits for ${one.waits_for}`).join('; '))] : []));
    const kind = all.map((one) => `${one.service}:${one.depends_on}`).join();
    if (kind !== shape) {
      shape = kind;
      graph = drawGraph(all);
      graphBox.replaceChildren(graph.drawing);
    }
    graph.update(all);
    kept(body, known, all, (one) => one.service, serviceRow);
    sample(series, now.live);
    drawSeries(seriesBox, now.live, series);
    say(`${release} is ${(PHASES.release[now.phase] || [, now.phase])[1]}`);
  };
  await stream(`releases/${encodeURIComponent(release)}/events?status=true`, stop, (kind, data) => {
    if (kind === 'status') look(data);
    else if (kind === '' && !seen.has(data.id)) {
      seen.add(data.id);
      story.prepend(event(data));
      if (story.children.length > STORY) story.lastElementChild.remove();
    }
  });
};

const start = async () => {
  leave();
  const stop = new AbortController();
  leave = () => stop.abort();
  if (!token()) { signIn(); return; }
  try {
    if (me === null) await signedIn();
    let release = '';
    try { release = decodeURIComponent(location.hash.replace(/^#\/?/, '')); } catch {}
    if (release && release !== 'main') await showRelease(release, stop);
    else await showList(stop);
  } catch (error) {
    if (!(error instanceof Gone) && !stop.signal.aborted) say(error.message, true);
  }
};
window.addEventListener('hashchange', () => {
  if (location.hash === '#main') { main.focus(); return; }
  start();
});
start();
"""

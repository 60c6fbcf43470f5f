// The live page. Whatever comes from the network is text: it goes into the document by textContent
// alone, never as markup.

const $ = (id) => document.getElementById(id);

// printable escapes what is invisible or would make a text look like another one, as the commands do.
const short = { "\x07": "\\a", "\b": "\\b", "\f": "\\f", "\n": "\\n", "\r": "\\r", "\t": "\\t", "\v": "\\v" };
function printable(text) {
  return String(text).replace(/[\p{C}\p{Zl}\p{Zp}]/gu, (c) => {
    const n = c.codePointAt(0), hex = (digits) => n.toString(16).padStart(digits, "0");
    return short[c] || (n < 0x80 ? "\\x" + hex(2) : n < 0x10000 ? "\\u" + hex(4) : "\\U" + hex(8));
  });
}

// make makes an element: attributes, then children, which are elements or text.
function make(tag, attributes = {}, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name === "onclick") e.addEventListener("click", value);
    else if (value === true) e.setAttribute(name, "");
    else if (value !== false && value != null) e.setAttribute(name, value);
  }
  e.append(...children.map((c) => (c instanceof Node ? c : printable(c))));
  return e;
}

function svg(tag, attributes) {
  const e = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) e.setAttribute(name, value);
  return e;
}

// setText changes a text only where it differs: what is read aloud or selected stays.
function setText(e, text) {
  text = printable(text);
  if (e.textContent !== text) e.textContent = text;
}

// fill replaces the children, keeping the focus on the control of the same name.
function fill(parent, children) {
  const name = parent.contains(document.activeElement) ? document.activeElement.dataset.name : undefined;
  parent.replaceChildren(...children);
  if (name) [...parent.querySelectorAll("[data-name]")].find((e) => e.dataset.name === name)?.focus();
}

// show says whether something differs from the last time that it was shown, as JSON.
const shown = new Map();
function differs(what, value) {
  const json = JSON.stringify(value);
  if (shown.get(what) === json) return false;
  shown.set(what, json);
  return true;
}

const count = (n) => Math.round(n).toLocaleString("en");
const keys = (n) => count(n) + (Math.round(n) === 1 ? " key" : " keys");

function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let u = 0;
  while (bytes >= 1024 && u < units.length - 1) { bytes /= 1024; u++; }
  return (u ? bytes.toFixed(1) : Math.round(bytes)) + " " + units[u];
}

function span(seconds) {
  seconds = Math.max(0, seconds);
  if (seconds < 60) return Math.floor(seconds) + " s";
  if (seconds < 7200) return Math.round(seconds / 60) + " min";
  if (seconds < 172800) return Math.round(seconds / 3600) + " h";
  return Math.round(seconds / 86400) + " days";
}

const millis = (ms) => (ms < 10 ? ms.toFixed(1) : ms < 1000 ? Math.round(ms) : (ms / 1000).toFixed(1) + " s") + (ms < 1000 ? " ms" : "");
const clock = (t) => new Date(t).toLocaleTimeString("en-GB");

// --- talking to the proxy ---

const tokenName = "akubra-token";
const token = () => sessionStorage.getItem(tokenName) || "";

function ask(method, path, body) {
  const headers = {};
  if (token()) headers.Authorization = "Bearer " + token();
  if (body) headers["Content-Type"] = "application/json";
  return fetch(path, { method, headers, body: body && JSON.stringify(body), cache: "no-store" });
}

function say(text) {
  $("said").hidden = false;
  $("said").textContent = printable(text);
}

// act asks for a change, and says what became of it.
async function act(button, method, path, body, what) {
  button.disabled = true;
  try {
    const r = await ask(method, path, body);
    const answer = await r.json().catch(() => ({}));
    if (r.status === 401) needToken();
    if (r.ok) say(what + ": " + (answer.result || "done") + (answer.warning ? ". " + answer.warning : ""));
    else say(what + ": " + (answer.error || (answer.mistakes || []).join("; ") || "refused, " + r.status));
    return r.ok && answer;
  } catch {
    say(what + ": the proxy cannot be reached");
  } finally {
    button.disabled = false;
  }
  return false;
}

function needToken() {
  if (token()) setText($("token-label"), "That is not the proxy's AdminToken. The one in its configuration stays in this tab until you close it.");
  if (!state) setText($("sentence"), "The proxy asks for its token.");
  sessionStorage.removeItem(tokenName);
  $("token-section").hidden = false;
  if (document.activeElement === document.body) $("token").focus();
}

// --- what is shown ---

let state = null;
let history = [];
let records = []; // the youngest first
let paused = false;
const recordsKept = 500;

function showState(s) {
  state = s;
  document.body.classList.add("known");
  setText($("version"), s.version);
  const h1 = $("sentence");
  setText(h1, s.sentence);
  h1.dataset.tone = s.tone;
  aloud(s.sentence, s.tone);
  document.title = s.sentence + " – akubra";
  setText($("facts"), `Up ${span((new Date(s.now) - new Date(s.started)) / 1000)}, ${count(s.inflight)} request${s.inflight === 1 ? "" : "s"} in flight.` + (s.buttons ? "" : " Set AdminToken to have buttons here."));
  showBackends(s);
  showJobs(s.jobs);
  showSlow(s.slow || []);
  showConfig(s.config, s.buttons);
  showCertificates(s.certificates || [], new Date(s.now));
  setText($("parked-count"), count(s.parked));
  if (differs("parked", [s.parked, s.parked_for, s.buttons])) showParked();
}

// aloud has a screen reader say the sentence: at once where things turn good or bad, and else not at each
// second that it changes.
let spoken = { at: 0, tone: "" };
function aloud(sentence, tone) {
  if (tone === spoken.tone && Date.now() - spoken.at < 15000) return;
  spoken = { at: Date.now(), tone };
  setText($("aloud"), sentence);
}

function fact(name, value, wide) {
  return make("div", { class: wide ? "wide" : "" }, make("dt", {}, name), make("dd", {}, value));
}

// lane is a backend's card. It stays, and so does its button: one that is replaced while somebody presses
// it is never pressed.
const lanes = new Map();
function lane(name) {
  let l = lanes.get(name);
  if (!l) {
    l = { word: make("span", { class: "state" }), list: make("dl"), on: true };
    l.button = make("button", { type: "button", "data-name": "maintenance " + name, onclick: () =>
      act(l.button, l.on ? "POST" : "DELETE", `backends/${encodeURIComponent(name)}/maintenance`, null, (l.on ? "Maintenance of " : "End of maintenance of ") + name) });
    l.card = make("article", { class: "card", "aria-label": name }, make("div", { class: "head" }, make("h3", {}, name), l.word), l.list, l.button);
    lanes.set(name, l);
    $("backends").append(l.card);
  }
  return l;
}

function showBackends(s) {
  for (const b of s.backends) {
    const l = lane(b.name);
    const failing = b.silent || b.failing.length > 0;
    l.card.dataset.tone = b.state !== "active" || failing ? "bad" : b.owed ? "behind" : "good";
    setText(l.word, { active: b.silent ? "silent" : failing ? "failing" : "in the pool", demoted: "demoted", maintained: "in maintenance" }[b.state] || b.state);
    const list = [
      fact("Since", span(b.seconds)), fact("In flight", count(b.busy)), fact("Stalled", count(b.stalled)),
      fact("p50", b.millis ? millis(b.millis[0]) : "–"), fact("p95", b.millis ? millis(b.millis[1]) : "–"), fact("p99", b.millis ? millis(b.millis[2]) : "–"),
      fact("Owes", keys(b.owed)),
    ];
    if (b.bytes != null) list.push(fact("Bytes owed", size(b.bytes)));
    if (b.why) list.push(fact("Why", b.why, true));
    if (b.last_error) list.push(fact("Last error, " + clock(b.last_error.last), b.last_error.error, true));
    l.list.replaceChildren(...list);
    l.on = b.state !== "maintained";
    l.button.hidden = !s.buttons;
    setText(l.button, l.on ? "Take into maintenance" : "End maintenance");
  }
  for (const [name, l] of lanes) {
    if (s.backends.some((b) => b.name === name)) continue;
    l.card.remove();
    lanes.delete(name);
  }
  const select = $("f-backend");
  if (differs("names", s.backends.map((b) => b.name))) {
    const chosen = select.value;
    select.replaceChildren(make("option", { value: "" }, "all"), ...s.backends.map((b) => make("option", { value: b.name }, b.name)));
    select.value = chosen;
  }
}

function showHistory() {
  const now = state ? new Date(state.now) / 1000 : Date.now() / 1000;
  const shownFor = Math.min(86400, Math.max(600, history.length ? now - history[0][0] : 0));
  const points = history.map(([t, owed]) => [1440 * (1 - (now - t) / shownFor), owed]);
  if (state) points.push([1440, state.owed]);
  setText($("chart-left"), span(shownFor) + " ago");
  const top = Math.max(1, ...points.map(([, owed]) => owed));
  const at = ([x, owed]) => `${Math.max(0, x).toFixed(1)},${(195 - (owed / top) * 170).toFixed(1)}`;
  const line = points.length ? "M" + points.map(at).join("L") : "";
  $("chart-line").setAttribute("d", line);
  $("chart-area").setAttribute("d", line ? `${line}L1440,200L${Math.max(0, points[0][0]).toFixed(1)},200Z` : "");
  setText($("chart-top"), top > 1 || points.some(([, owed]) => owed) ? keys(top) : "");
  const last = history.slice(-5);
  const rate = (i) => (last.length ? last.reduce((sum, p) => sum + p[i], 0) / last.length : 0);
  const perMinute = (n) => (n && n < 10 ? n.toFixed(1) : count(n));
  const most = points.some(([, owed]) => owed) ? `At most ${keys(top)} ${top === 1 ? "was" : "were"} owed; now ${count(state ? state.owed : 0)}.` : "Nothing was owed.";
  setText($("chart-text"), `${most} In ${perMinute(rate(2))} and out ${perMinute(rate(3))} keys a minute, over the last ${Math.max(1, last.length)} min. Kept since the proxy was started.`);
}

function matches(r) {
  const backend = $("f-backend").value, bucket = $("f-bucket").value.trim(), reason = $("f-reason").value.trim().toLowerCase();
  return (!backend || r.failedhost === backend || r.successhost === backend) && (!bucket || r.bucket === bucket) &&
    (!reason || (r.op + " " + r.error).toLowerCase().includes(reason));
}

function showRecords() {
  if (paused) return;
  const some = records.filter(matches).slice(0, 200);
  $("records").replaceChildren(...some.map((r) => make("tr", {},
    make("td", { class: "time" }, clock(r.ts)), make("td", {}, (r.op === "resolved" ? "resolved" : r.method + (r.op === "reading" ? ", reading" : ""))),
    make("td", { class: "object" }, r.bucket + (r.key ? "/" + r.key : "")), make("td", { class: "host" }, r.failedhost), make("td", { class: "host" }, r.successhost), make("td", { class: "object" }, r.error))));
  $("records-none").hidden = some.length > 0;
  setText($("records-none"), records.length ? "No line of the last ones matches the filters." : "No divergence of late.");
}

function addRecords(list, missed) {
  records = [...list].reverse().concat(records).slice(0, recordsKept);
  if (missed) records.splice(list.length, 0, { ts: Date.now(), op: "", method: "…", bucket: `${count(missed)} more lines, in the synclog itself`, key: "", failedhost: "", successhost: "", error: "" });
  showRecords();
}

function showJobs(jobs) {
  $("jobs-none").hidden = jobs.length > 0;
  $("jobs").closest(".scroll").hidden = jobs.length === 0;
  if (!differs("jobs", jobs)) return;
  $("jobs").replaceChildren(...jobs.map((j) => make("tr", {}, make("th", { scope: "row" }, j.name), make("td", {}, j.state), make("td", { class: "num" }, count(j.done)),
    make("td", { class: "num" }, count(j.failed)), make("td", { class: "num" }, j.rate ? `${j.rate.toFixed(1)} keys/s, ${size(j.byte_rate)}/s` : "–"), make("td", {}, j.eta || "–"), make("td", {}, j.last_error || "–"))));
}

function showSlow(slow) {
  $("slow-none").hidden = slow.length > 0;
  if (!differs("slow", slow)) return;
  const longest = Math.max(1, ...slow.map((r) => r.whole));
  $("slow").replaceChildren(...slow.map((r) => {
    const bars = make("div", { class: "bars" });
    for (const l of r.legs) {
      const bar = svg("svg", { viewBox: "0 0 100 10", preserveAspectRatio: "none", "aria-hidden": "true" });
      bar.append(svg("rect", { width: Math.max(0.5, (l.took / longest) * 100), height: 10, class: l.won ? "won" : l.outcome === "positive" ? "" : "bad" }));
      bars.append(make("span", {}, (l.won ? "● " : "") + l.backend), bar, make("span", {}, `${millis(l.took)}, ${l.outcome}`));
    }
    return make("div", { class: "card" }, make("div", { class: "path" }, `${clock(r.time)} ${r.method} ${r.path}`),
      make("div", { class: "muted" }, `Client answered after ${r.first ? millis(r.first) : "–"}, all ended after ${millis(r.whole)}. Request ${r.id}.`), bars);
  }));
}

const uses = {
  "listener": "What clients see", "backend": "What the backend shows", "client": "What backends see", "ca": "Authority for backends",
};

function showCertificates(all, now) {
  $("certificates-section").hidden = all.length === 0;
  const left = (c) => (new Date(c.until) - now) / 1000;
  if (!differs("certificates", all.map((c) => [c, span(left(c))]))) return;
  $("certificates").replaceChildren(...all.map((c) => make("tr", {}, make("th", { scope: "row" }, `${uses[c.use] || c.use} (${c.key})`),
    make("td", { class: "time" }, new Date(c.until).toLocaleString("en-GB")), make("td", { class: left(c) < 14 * 86400 ? "bad" : "" }, left(c) > 0 ? span(left(c)) : "expired"))));
}

function showConfig(c, buttons) {
  $("reload").hidden = !buttons || !c;
  if (!differs("config", [c, buttons])) return;
  if (!c) {
    setText($("config-said"), "The proxy was started without a file.");
    return;
  }
  const mistakes = c.mistakes || [];
  setText($("config-said"), mistakes.length ? `${c.file} cannot be used as it is; the proxy goes on with what it has:` :
    c.changes.length ? `${c.file} differs from what is running:` : `What is running is what ${c.file} says.`);
  $("config-table").hidden = c.changes.length === 0;
  $("config").replaceChildren(...c.changes.map((d) => make("tr", {}, make("th", { scope: "row" }, d.key), make("td", {}, d.running), make("td", {}, d.infile), make("td", {}, d.restart ? "a restart" : "a reload"))));
  $("mistakes").hidden = mistakes.length === 0;
  $("mistakes").replaceChildren(...mistakes.map((m) => make("li", {}, m)));
}

// --- parked keys ---

const advice = {
  "lost": "No backend has what a client was told is stored. Put it back at one of them and take that one's, or accept the loss.",
  "conflict": "A backend was changed past the proxy. Look at both sides, then say whose is right.",
  "damaged": "The content is not whole. Take a backend that has all of it.",
  "not kept": "A backend cannot keep something of it (tags, ACL, locks, metadata). Accept that, or repair it by hand.",
  "needs a person": "Nothing says which side is right. Look at both sides and decide.",
  "failed": "Repair has tried too often. Mend what the last error says, then try again.",
};

let asking = false;
async function showParked() {
  const none = !state || state.parked === 0;
  $("parked-none").hidden = !none;
  $("parked-ask").hidden = none;
  if (none) {
    $("parked").replaceChildren();
    return;
  }
  if (asking) return;
  asking = true;
  $("parked-ask").disabled = true;
  try {
    let r = await ask("GET", "journal?limit=20&ask=1");
    let note = "";
    if (r.status === 409) { // no keys: then without what the backends have
      note = (await r.json()).error || "";
      r = await ask("GET", "journal?limit=20");
    }
    if (!r.ok) throw new Error(String(r.status));
    const page = await r.json();
    const list = page.parked_keys.map(parkedCard);
    if (note) list.unshift(make("p", { class: "muted" }, note));
    if (page.more_parked) list.push(make("p", { class: "muted" }, "There are more: akubra journal list."));
    fill($("parked"), list);
  } catch {
    shown.delete("parked"); // once more
  } finally {
    asking = false;
    $("parked-ask").disabled = false;
  }
}

function headsTable(k) {
  const heads = k.heads || [];
  if (!heads.length) return make("p", { class: "muted" }, "The backends were not asked.");
  const rows = [
    ["Has it", (h) => (h.error ? "not known: " + h.error : h.present ? (h.folded ? "another key's object" : "yes") : "no")],
    ["Size", (h) => (h.present ? size(h.size) + (h.size < 1024 ? "" : ` (${count(h.size)} bytes)`) : "–")],
    ["ETag", (h) => (h.present ? h.etag || "none" : "–")],
    ["Changed, by its clock", (h) => (h.present && h.modified ? h.modified : "–")],
    ["Metadata", (h) => (h.metadata || []).join(", ") || "–"],
  ];
  return make("div", { class: "heads", tabindex: "0", role: "region", "aria-label": "What each backend has" }, make("table", {},
    make("thead", {}, make("tr", {}, make("td", {}), ...heads.map((h) => make("th", { scope: "col" }, h.backend)))),
    make("tbody", {}, ...rows.map(([name, value]) => {
      const cells = heads.map(value), known = cells.filter((_, i) => !heads[i].error);
      return make("tr", {}, make("th", { scope: "row" }, name), ...cells.map((c, i) => make("td", { class: !heads[i].error && known.some((d) => d !== c) ? "different" : "" }, c)));
    }))));
}

function parkedCard(k) {
  const card = make("article", { class: "card", "aria-label": printable(k.object) },
    make("div", { class: "head" }, make("h3", {}, k.object), make("span", { class: "state bad" }, k.parked)),
    make("p", { class: "muted" }, (advice[k.parked] || "") + (k.last_error ? " Repair said: " + k.last_error : "")), headsTable(k));
  const command = "akubra resolve -c FILE " + quoted(k.object);
  if (!state.buttons || !k.key) {
    card.append(make("p", { class: "muted" }, "To decide: ", make("code", {}, command + " --take HOST:PORT"), ", --newest, --delete or --accept."));
    return card;
  }
  const key = k.keybytes || base64(k.key);
  const button = (words, decision, sure) => make("button", { type: "button", "data-name": k.object + words, onclick: async (e) => {
    if (sure && !confirm(`${words}: ${printable(k.object)}\n\n${sure}`)) return;
    if (await act(e.currentTarget, "POST", "parked/resolve", { bucket: k.bucket, key, ...decision }, k.object)) showParked();
  } }, words);
  const all = state.backends.map((b) => button("Take " + b.name, { take: b.name }, "All backends get what this one has; if it has nothing, the object is deleted."));
  card.append(make("div", { class: "actions" }, button("Try again", { retry: true }), ...all, button("Take the newest", { newest: true }, "All backends get what is youngest by their own clocks."),
    button("Leave as it is", { accept: true }, "It stays different, and is not pending any more."), button("Delete", { delete: true }, "It is deleted from all backends.")));
  return card;
}

const quoted = (s) => "'" + s.replaceAll("'", `'\\''`) + "'";
const base64 = (s) => btoa(String.fromCharCode(...new TextEncoder().encode(s)));

// --- the stream ---

function take(name, data) {
  switch (name) {
    case "snapshot":
      history = data.history || [];
      records = [...(data.records || [])].reverse();
      shown.clear();
      showState(data.state);
      showRecords();
      break;
    case "state":
      showState(data);
      break;
    case "records":
      addRecords(data.records, data.missed);
      return;
    case "minute":
      history = [...history, data].slice(-1440);
      break;
  }
  showHistory();
}

// EventSource could send no header, so the stream is read here.
async function stream() {
  const giveUp = new AbortController();
  let heard = Date.now();
  const silence = setInterval(() => { if (Date.now() - heard > 15000) giveUp.abort(); }, 5000);
  try {
    const headers = token() ? { Authorization: "Bearer " + token() } : {};
    const r = await fetch("events", { headers, cache: "no-store", signal: giveUp.signal });
    if (r.status === 401) {
      needToken();
      return "the proxy asks for its token";
    }
    if (!r.ok) return (await r.json().catch(() => ({}))).error || "the proxy answers " + r.status;
    $("token-section").hidden = true;
    const reader = r.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let rest = ""; ; ) {
      const { value, done } = await reader.read();
      if (done) return "lost contact with the proxy";
      heard = Date.now();
      contact("live", false);
      rest += value;
      for (let end; (end = rest.indexOf("\n\n")) >= 0; rest = rest.slice(end + 2)) {
        const [, name, data] = /^event: (\w+)\ndata: (.*)$/.exec(rest.slice(0, end)) || [];
        if (name) take(name, JSON.parse(data));
      }
    }
  } catch {
    return "lost contact with the proxy";
  } finally {
    clearInterval(silence);
    giveUp.abort();
  }
}

function contact(text, lost) {
  setText($("contact"), text);
  $("contact").classList.toggle("lost", lost);
  document.body.classList.toggle("lost", lost);
}

let again = () => {};
async function run() {
  for (let pause = 500; ; ) {
    const begun = Date.now();
    const why = await stream();
    if (Date.now() - begun > 5000) pause = 500;
    const since = clock(Date.now());
    contact(`${why} at ${since}: trying again`, true);
    if (state) {
      setText($("sentence"), `No contact since ${since}. Before: ${state.sentence}`);
      $("sentence").dataset.tone = "lost";
      document.title = "no contact – akubra";
      aloud($("sentence").textContent, "lost");
      state = null;
    }
    await new Promise((go) => { again = go; setTimeout(go, pause); });
    pause = Math.min(pause * 1.5, 5000);
  }
}

$("token-form").addEventListener("submit", (e) => {
  e.preventDefault();
  sessionStorage.setItem(tokenName, $("token").value);
  $("token").value = "";
  $("token-section").hidden = true;
  again();
});
$("filters").addEventListener("submit", (e) => e.preventDefault());
for (const id of ["f-backend", "f-bucket", "f-reason"]) $(id).addEventListener("input", showRecords);
$("pause").addEventListener("click", (e) => {
  paused = !paused;
  e.currentTarget.setAttribute("aria-pressed", String(paused));
  showRecords();
});
$("parked-ask").addEventListener("click", showParked);
$("reload").addEventListener("click", async (e) => {
  const r = await act(e.currentTarget, "POST", "configuration/reload", null, "Reload");
  if (r) say(`Reload: applied ${r.applied.join(", ") || "nothing"}` + (r.needrestart.length ? `; a restart is needed for ${r.needrestart.join(", ")}` : "") + ".");
});
addEventListener("online", () => again());
run();

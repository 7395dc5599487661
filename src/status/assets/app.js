(() => {
  // What a reader has chosen is kept in the browser, where that is allowed.
  const keep = (key, value) => {
    try { return value === undefined ? localStorage.getItem(key) : localStorage.setItem(key, value); }
    catch { return null; }
  };
  // Before anything is drawn: no page flashes in the other colours.
  const root = document.documentElement, paint = (theme) => { root.dataset.theme = theme || ""; };
  paint(root.dataset.theme || keep("theme"));
  addEventListener("DOMContentLoaded", () => {
  const $ = (id) => document.getElementById(id), body = document.body;
  const all = (what, where) => (where || document).querySelectorAll(what);
  const N = "\u202f", link = $("link");
  // How far the box's clock is from ours, so that ages are right on a phone with a wrong one.
  let skew = body.dataset.now - Date.now() / 1000;

  const two = (n) => String(n).padStart(2, "0");
  // As in format::duration.
  const big = (n) => n > 9999 ? String(n).replace(/\B(?=(\d{3})+$)/g, N) : n;
  const age = (s) => {
    s = Math.max(0, Math.floor(s));
    if (s < 120) return s + N + "s";
    if (s < 7200) return Math.floor(s / 60) + N + "min";
    const m = Math.floor(s % 3600 / 60);
    if (s < 172800) return Math.floor(s / 3600) + N + "h" + (m ? " " + two(m) + N + "min" : "");
    return big(Math.floor(s / 86400)) + " days";
  };
  const put = (e, text) => { if (e.textContent !== text) e.textContent = text; };
  const tick = () => {
    const now = Date.now() / 1000 + skew;
    for (const e of all("time[data-t]")) put(e, age(now - e.dataset.t) + " ago");
    for (const e of all("time[data-a]")) put(e, age(now - e.dataset.a));
  };
  const date = (s) => {
    const d = new Date(s * 1000);
    return d.getFullYear() + "-" + two(d.getMonth() + 1) + "-" + two(d.getDate()) + " " +
      two(d.getHours()) + ":" + two(d.getMinutes());
  };
  const dates = (where) => {
    for (const e of all("time[data-d]", where)) put(e, date(e.dataset.d));
  };

  // A chart tells time and value where the reader points at, read off its line.
  const units = ["H/s", "kH/s", "MH/s", "GH/s", "TH/s", "PH/s", "EH/s"];
  const hashrate = (v) => {
    let u = 0;
    while (v >= 999.5 && u < 6) { v /= 1000; u++; }
    return (v >= 1 ? v.toPrecision(3) : v.toFixed(2)) + N + units[u];
  };
  const height = (line, x) => {
    let at = 0, y = 0;
    for (const [, c, n] of line.getAttribute("d").matchAll(/([MVHl])([-\d ]+)/g)) {
      const v = n.match(/-?\d+/g).map(Number);
      if (c === "V") y = v[0];
      else if (c === "H") { if (x <= v[0]) return y; at = v[0]; }
      else for (let i = 0; i < v.length; i += 2) {
        at = c === "M" ? v[i] : at + v[i];
        y = c === "M" ? v[i + 1] : y + v[i + 1];
        if (c === "l" && x <= at) return y;
      }
    }
    return y;
  };
  const read = (e) => {
    for (const old of all(".chart .at")) old.hidden = true;
    const svg = e.target.closest && e.target.closest(".chart svg");
    if (!svg) return;
    const box = svg.getBoundingClientRect(), chart = svg.parentNode, d = chart.dataset, view = svg.viewBox.baseVal;
    const part = Math.min(1, Math.max(0, (e.clientX - box.left) / box.width));
    const at = chart.querySelector(".at"), t = +d.from + part * (d.to - d.from);
    const value = (line) => {
      const y = height(line, part * view.width), v = d.top * (1 - y / view.height);
      return y > view.height ? "nothing" : !d.unit ? hashrate(v)
        : (d.unit === "W" ? +v.toPrecision(3) : Math.round(v)) + N + d.unit;
    };
    let text = date(t) + ": " + value(chart.querySelector(".line"));
    const mean = chart.querySelector(".mean");
    if (mean) text += ", mean " + value(mean);
    for (const m of all(".m", chart)) {
      const r = m.getBoundingClientRect();
      if (e.clientX > r.left - 8 && e.clientX < r.right + 8) text += ", " + m.textContent.trim();
    }
    at.textContent = text;
    at.hidden = false;
    at.style.left = part * 100 + "%";
    at.classList.toggle("end", part > .5);
  };
  for (const kind of ["pointermove", "pointerdown"]) document.addEventListener(kind, read);

  // A found block stays in large until it is put away.
  const banner = () => {
    const found = document.querySelector(".found"), away = found && found.querySelector(".away");
    if (!found) return;
    found.hidden = keep("away") === found.dataset.block;
    away.hidden = false;
    away.onclick = () => { keep("away", found.dataset.block); found.hidden = true; };
  };

  const blur = $("blur");
  const show = (on) => {
    body.classList.toggle("blurred", on);
    blur.setAttribute("aria-pressed", on);
    blur.textContent = on ? "Show address" : "Hide address";
  };
  blur.hidden = false;
  blur.onclick = () => { const on = !body.classList.contains("blurred"); show(on); keep("blur", on ? "1" : ""); };
  show(keep("blur") === "1");

  const theme = $("theme"), themes = ["", "light", "dark"];
  const name = () => { theme.textContent = "Colours: " + (root.dataset.theme || "as this device"); };
  theme.hidden = false;
  theme.onclick = () => {
    const next = themes[(themes.indexOf(root.dataset.theme) + 1) % 3];
    paint(next); keep("theme", next); name();
  };
  name();

  // Many miners stand in the reader's order, and only those that are looked for.
  const find = $("find"), order = $("order"), words = new Intl.Collator(undefined, { numeric: true });
  let turn = 1;
  const arrange = () => {
    const table = document.querySelector("table.many");
    if (!table || !find) return;
    find.closest(".tools").hidden = false;
    const heads = all("thead th", table), column = order.value, list = table.tBodies[0];
    heads.forEach((th, i) => {
      if (i !== 2 && !th.firstElementChild) {
        const b = document.createElement("button");
        b.type = "button"; b.textContent = th.textContent; th.replaceChildren(b);
        b.onclick = () => { turn = order.value === String(i) ? -turn : 1; order.value = i; sorted(); };
      }
      const up = (column === "0") === (turn > 0);
      column === String(i) ? th.setAttribute("aria-sort", up ? "ascending" : "descending") : th.removeAttribute("aria-sort");
    });
    const rows = [...list.rows];
    rows.forEach((row, i) => { if (row.came === undefined) row.came = i; });
    const name = (row) => row.cells[0].textContent.trim();
    rows.sort((a, b) => (!column ? 0 : column === "0" ? words.compare(name(a), name(b))
      : b.cells[column].dataset.v - a.cells[column].dataset.v) * turn || a.came - b.came);
    const focus = document.activeElement;
    rows.forEach((row, i) => { if (list.rows[i] !== row) list.insertBefore(row, list.rows[i]); });
    if (focus !== document.activeElement) focus.focus();
    const wanted = find.value.trim().toLowerCase();
    for (const row of rows) row.hidden = !row.cells[0].textContent.toLowerCase().includes(wanted);
    put($("hits"), wanted ? rows.filter((row) => !row.hidden).length + " of " + rows.length : "");
  };
  const sorted = () => { keep("order", order.value + " " + turn); arrange(); };
  if (find) {
    const [column, way] = (keep("order") || " 1").split(" ");
    order.value = column; turn = +way;
    find.oninput = arrange;
    order.onchange = () => { turn = 1; sorted(); };
  }

  // What has to be typed elsewhere can be copied.
  const copy = (button, text) => {
    const done = () => { button.textContent = "Copied"; setTimeout(() => { button.textContent = "Copy"; }, 2000); };
    if (navigator.clipboard) { navigator.clipboard.writeText(text).then(done, () => {}); return; }
    // Without encryption browsers have only the old way.
    const field = document.createElement("textarea");
    field.value = text;
    document.body.append(field);
    field.select();
    if (document.execCommand("copy")) done();
    field.remove();
    button.focus();
  };
  const copies = (where) => {
    for (const e of all(".addr,.where code,.how code,.block code[title]", where)) {
      if (e.nextElementSibling && e.nextElementSibling.className === "copy") continue;
      const b = document.createElement("button"), text = e.title || e.textContent;
      b.type = "button"; b.className = "copy"; b.textContent = "Copy";
      b.onclick = () => copy(b, text);
      e.after(b);
    }
  };

  // What the reader has opened or chosen, and where the keyboard is, survives a new part.
  const replace = (part, html) => {
    const open = [...all("details", part)].map((d) => d.open);
    const range = part.querySelector("input:checked");
    const inside = part.contains(document.activeElement) && document.activeElement;
    const place = inside ? [...all("a,button,input,summary", part)].indexOf(inside) : -1;
    part.innerHTML = html;
    all("details", part).forEach((d, i) => { if (open[i] !== undefined) d.open = open[i]; });
    if (range && $(range.id)) $(range.id).checked = true;
    copies(part);
    if (place >= 0) { const e = all("a,button,input,summary", part)[place]; if (e) e.focus(); }
    dates(part);
  };
  // Words that the reader has marked are not taken away: their part follows when the mark is gone.
  const late = new Map();
  const marked = (part) => { const s = getSelection(); return !s.isCollapsed && s.containsNode(part, true); };
  document.addEventListener("selectionchange", () => {
    for (const [id, html] of late) {
      const part = $(id);
      if (part && marked(part)) continue;
      late.delete(id);
      if (part) bring(id, part, html);
    }
  });

  let lost;
  const word = () => {
    const w = document.querySelector("#state .word");
    const told = body.classList.contains("lost") ? "UNREACHABLE" : w && w.textContent;
    if (told) document.title = document.title.replace(/^[A-Z]+/, told);
  };
  const bring = (id, part, html) => {
    replace(part, html);
    if (id === "found") banner();
    if (id === "state") word();
    if (id === "miners" || id.startsWith("m-")) arrange();
    tick();
  };

  // For a phone that keeps the page among its programs; nothing of the first view waits for it.
  setTimeout(() => {
    const manifest = document.createElement("link");
    manifest.rel = "manifest"; manifest.href = "/manifest.webmanifest";
    document.head.append(manifest);
  }, 3000);

  dates();
  copies();
  arrange();
  tick();
  banner();
  setInterval(tick, 1000);
  // In the frame of another page forms are not shown: they open beside it.
  if (top !== self) onclick = (e) => { const a = e.target.closest("a[href='/settings']"); if (a) a.target = "_blank"; };
  if (!("live" in body.dataset)) return;
  // A frame without an origin of its own may not read the live channel.
  if (!window.EventSource || window.origin === "null") { setTimeout(() => location.reload(), 15000); return; }

  let source;
  const listen = () => {
    source = new EventSource("/api/events" + body.dataset.live);
    source.addEventListener("part", (event) => {
      const end = event.data.indexOf("\n"), id = event.data.slice(0, end);
      const part = $(id);
      // A part that we do not have: the page is of another version, or the box was set up.
      if (!part) { source.close(); location.reload(); return; }
      const html = event.data.slice(end + 1);
      if (marked(part)) late.set(id, html); else { late.delete(id); bring(id, part, html); }
    });
    source.addEventListener("now", (event) => { skew = event.data - Date.now() / 1000; tick(); });
    source.onopen = () => { clearTimeout(lost); lost = 0; link.textContent = ""; body.classList.remove("lost"); word(); };
    source.onerror = () => {
      lost = lost || setTimeout(() => {
        body.classList.add("lost");
        link.textContent = "No connection to the box: what you see is old.";
        word();
      }, 6000);
      // A refusal ends an EventSource for good: begin again.
      if (source.readyState === 2) { source.close(); setTimeout(listen, 5000); }
    };
  };
  listen();
  });
})();

// Walks the page in a headless Chromium, driven over its debugging pipe: no other package than
// axe-core. Called by page_browser.rs with a JSON of scenario names and addresses; prints one
// line per finding and exits with 1 when there was one.
//
//   node browser.mjs '{"home":"http://127.0.0.1:8080"}' [directory for screenshots]
//
// With SOLOIST_LONG=1 every page is looked at in four widths, light, dark and in forced colours; else a
// cross-section of that.

import { spawn } from "node:child_process";
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, dirname } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const addresses = JSON.parse(process.argv[2]);
const shots = process.argv[3];
const axeFile = join(here, "node_modules/axe-core/axe.min.js");
const axe = existsSync(axeFile) ? readFileSync(axeFile, "utf8") : null;
if (!axe) console.log("SKIPPED: axe-core is not installed (npm install in tests/page)");

const findings = [];
const expect = (good, what) => { if (!good) { findings.push(what); console.log("FINDING: " + what); } };
const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

const profile = mkdtempSync(join(tmpdir(), "soloist-page-"));
const browser = spawn(process.env.CHROMIUM || "chromium", [
  "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync",
  "--disable-dev-shm-usage", "--hide-scrollbars", "--user-data-dir=" + profile,
  "--remote-debugging-pipe",
], { stdio: ["ignore", "ignore", "ignore", "pipe", "pipe"] });

let next = 1;
const waiting = new Map();
let complaints = [];
// What the pages have asked for since the last one was opened.
let loaded = [];
let rest = "";
browser.stdio[4].on("data", (data) => {
  const parts = (rest + data).split("\0");
  rest = parts.pop();
  for (const part of parts) {
    const message = JSON.parse(part);
    if (message.id) {
      const { done, fail } = waiting.get(message.id);
      waiting.delete(message.id);
      message.error ? fail(new Error(JSON.stringify(message.error))) : done(message.result);
    } else if (message.method === "Runtime.exceptionThrown") {
      complaints.push(message.params.exceptionDetails.text + " " +
        (message.params.exceptionDetails.exception?.description || ""));
    } else if (message.method === "Log.entryAdded" && message.params.entry.level === "error") {
      complaints.push(message.params.entry.text);
    } else if (message.method === "Network.requestWillBeSent") {
      loaded.push({ id: message.params.requestId, url: message.params.request.url, bytes: 0 });
    } else if (message.method === "Network.loadingFinished") {
      const request = loaded.find((one) => one.id === message.params.requestId);
      if (request) request.bytes = message.params.encodedDataLength;
    } else if (message.method === "Page.javascriptDialogOpening") {
      complaints.push("a dialog opened: injected script ran");
    }
  }
});
const call = (method, params = {}, sessionId) => new Promise((done, fail) => {
  const id = next++;
  waiting.set(id, { done, fail });
  browser.stdio[3].write(JSON.stringify({ id, method, params, sessionId }) + "\0");
});

const WIDTHS = [360, 768, 1280, 1920], COLOURS = ["light", "dark", "forced"];

const tab = async (width, height, colours, script = true) => {
  const { targetId } = await call("Target.createTarget", { url: "about:blank" });
  const { sessionId } = await call("Target.attachToTarget", { targetId, flatten: true });
  const on = (method, params) => call(method, params, sessionId);
  for (const domain of ["Page", "Runtime", "Log", "Network"]) await on(domain + ".enable");
  await on("Emulation.setDeviceMetricsOverride",
    { width, height, deviceScaleFactor: 1, mobile: width < 600 });
  await on("Emulation.setEmulatedMedia",
    { features: [
      { name: "prefers-color-scheme", value: colours === "dark" ? "dark" : "light" },
      { name: "forced-colors", value: colours === "forced" ? "active" : "none" },
    ] });
  if (!script) await on("Emulation.setScriptExecutionDisabled", { value: true });
  const run = async (expression) => {
    const answer = await on("Runtime.evaluate",
      { expression, awaitPromise: true, returnByValue: true, userGesture: true });
    if (answer.exceptionDetails) throw new Error(answer.exceptionDetails.exception?.description);
    return answer.result.value;
  };
  const open = async (url) => {
    complaints = [];
    loaded = [];
    await on("Page.navigate", { url });
    for (let i = 0; i < 100; i++) {
      await sleep(25);
      if (await run("document.readyState === 'complete' && location.href !== 'about:blank'")) break;
    }
    // The live channel's first parts.
    await sleep(150);
  };
  const shot = async (name) => {
    if (!shots) return;
    const height = await run("document.documentElement.scrollHeight");
    const { data } = await on("Page.captureScreenshot", {
      format: "png", captureBeyondViewport: true,
      clip: { x: 0, y: 0, width, height: Math.min(height, 4000), scale: 1 },
    });
    writeFileSync(join(shots, name + ".png"), Buffer.from(data, "base64"));
  };
  const key = async (key, code) => {
    for (const type of ["keyDown", "keyUp"])
      await on("Input.dispatchKeyEvent", { type, key, code: key, windowsVirtualKeyCode: code,
        ...(type === "keyDown" && key === "Enter" ? { text: "\r" } : {}) });
  };
  const close = () => call("Target.closeTarget", { targetId });
  const fill = (fields) => run(Object.entries(fields).map(([name, value]) =>
    `document.querySelector("[name='${name}']").value = ${JSON.stringify(value)}`).join(";"));
  // Presses what leads to another page, and waits until it is there.
  const press = async (button) => {
    await run(`window.before = true; document.querySelector(${JSON.stringify(button)}).click()`);
    for (let i = 0; i < 150; i++) {
      await sleep(100);
      if (await run("!window.before && document.readyState === 'complete'").catch(() => false)) break;
    }
  };
  const shows = (text) => run(`document.body.innerText.includes(${JSON.stringify(text)})`);
  // Waits for what the live channel brings; the milliseconds, or null.
  const comes = async (expression) => {
    const from = Date.now();
    while (Date.now() - from < 30000) {
      if (await run(expression)) return Date.now() - from;
      await sleep(100);
    }
    return null;
  };
  // The browser moves the focus when it has drawn the page.
  const focused = async (name) => await comes(`document.activeElement.name === ${JSON.stringify(name)}`) !== null;
  const forgetful = (cacheDisabled) => on("Network.setCacheDisabled", { cacheDisabled });
  // What the reader has set as the size of text, pixels.
  const letters = (size) => on("Page.setFontSizes", { fontSizes: { standard: size, fixed: size } });
  return { run, open, shot, key, close, fill, press, shows, comes, focused, letters, forgetful };
};

// Asks the test to do something to the box; its answer.
const answers = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const ask = async (what) => {
  console.log("ASK " + what);
  return (await answers.next()).value;
};

const look = async (name, url, width, colours) => {
  const page = await tab(width, width < 600 ? 740 : width < 1900 ? 900 : 1080, colours);
  await page.open(url);
  await examine(page, name, width, colours);
  await page.close();
};

// A cross-section of widths and colours; all of them in the long form.
const lookAround = async (name, url, some) => {
  if (!process.env.SOLOIST_LONG) {
    for (const [width, colours] of some) await look(name, url, width, colours);
    return;
  }
  for (const width of WIDTHS) for (const colours of COLOURS) await look(name, url, width, colours);
};

// What a finger has to hit: all but links in a sentence.
const SMALL = `[...document.querySelectorAll("a,button,summary,select,input")].filter((e) => {
  const r = e.getBoundingClientRect();
  const text = e.tagName === "A" && getComputedStyle(e).display === "inline";
  return r.width && !text && !e.closest(".sr,.skip,label") && e.type !== "radio" && !(innerWidth < 673 && e.closest("thead")) && (r.height < 43.5 || r.width < 43.5);
}).map((e) => e.outerHTML.slice(0, 80))`;

const examine = async (page, name, width, colours) => {
  const what = name + " at " + width + " " + colours;
  expect(complaints.length === 0, what + ": " + complaints.join("; "));
  expect(await page.run("document.documentElement.scrollWidth <= innerWidth"), what + ": wider than the window");
  expect(await page.run("document.querySelectorAll('h1').length === 1"), what + ": not one h1");
  expect(await page.run("[...document.querySelectorAll('time[data-t],time[data-a]')].every((t) => t.textContent)"),
    what + ": an age without text");
  const wide = await page.run("[...document.querySelectorAll('dd')].filter((e) => e.scrollWidth > e.clientWidth).map((e) => e.textContent)");
  expect(wide.length === 0, what + ": a value runs into the next one: " + wide.slice(0, 4).join(", "));
  if (width < 1000) {
    const small = await page.run(SMALL);
    expect(small.length === 0, what + ": too small for a finger: " + small.slice(0, 4).join(" "));
  }
  if (axe) {
    await page.run(axe);
    const found = await page.run(`axe.run(document, { runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"] })
      .then((r) => r.violations.map((v) => v.id + ": " + v.nodes.slice(0, 3).map((n) => n.target.join(" ")).join(", ")))`);
    for (const violation of found) expect(false, what + ": axe " + violation);
  }
  await page.shot(name + "-" + width + (colours === "light" ? "" : "-" + colours));
  // Text of twice the size still fits.
  await page.letters(32);
  expect(await page.run("document.documentElement.scrollWidth <= innerWidth"), what + ": wider than the window at 200 %");
  await page.letters(16);
};

// The box as its owner meets it: the real daemon, real nodes and six miners. It is set up on a phone
// and then looked at on the phone and on a desk, of which neither is ever loaded again.
const live = async ({ url, payout, nodes }) => {
  const phone = await tab(360, 740, "light"), desk = await tab(1280, 900, "dark");
  const both = async (name) => {
    await examine(phone, "live-" + name, 360, "light");
    await examine(desk, "live-" + name, 1280, "dark");
  };
  await phone.open(url);
  await phone.press("a.start");
  await examine(phone, "live-setup", 360, "light");
  await phone.fill({ payout, url0: nodes[0].url, user0: nodes[0].user, password0: nodes[0].password, p2p0: "off", name: "attic",
    pin: "739100", pin2: "739100" });
  await phone.press("form .main");
  expect(await phone.shows("answers: chain regtest"), "live: the node is not tried");
  await examine(phone, "live-confirm", 360, "light");
  await phone.press("form .main");

  // A second node, by the settings.
  await phone.open(url + "/settings");
  await phone.fill({ url1: nodes[1].url, user1: nodes[1].user, password1: nodes[1].password, p2p1: "off" });
  await phone.press("form .main");
  expect(await phone.shows("What changes"), "live: the second node is not shown before it is saved");
  await phone.press("form .main");

  await phone.open(url);
  await desk.open(url);
  for (const page of [phone, desk]) await page.run("window.kept = true");
  const still = async (when) => {
    for (const page of [phone, desk])
      expect(await page.run("window.kept === true"), "live: the page was loaded again by " + when);
  };
  const come = async (what, expression) => {
    const times = await Promise.all([phone.comes(expression), desk.comes(expression)]);
    // What comes after it would wait in vain as well.
    if (times.some((ms) => ms === null)) throw new Error("live: " + what + " never came");
    console.log("live: " + what + " after " + times.join(" and ") + " ms");
    await still(what);
  };
  const says = (part, text) => `document.getElementById("${part}").innerText.includes(${JSON.stringify(text)})`;

  const models = JSON.parse(await ask("miners"));
  await come("six miners", says("state", "6 miners"));
  for (const model of models)
    expect(await desk.run(says("miners", model)), "live: no " + model + " in " +
      await desk.run("document.getElementById('miners').innerText"));
  await both("miners");

  const leads = (node) => `document.querySelectorAll("#nodes article .pill")[${node}]?.textContent === "leads"`;
  expect(await desk.run(leads(0)), "live: the first node does not lead: " +
    await desk.run("document.getElementById('nodes').innerText"));
  await ask("kill-leader");
  await come("the other leader", leads(1));
  await come("the dead node", "document.querySelector('#state .word').textContent === 'DEGRADED'");
  expect(await desk.run("document.title.startsWith('DEGRADED')"), "live: the title does not follow");
  await both("failover");

  await ask("block");
  await come("the found block", "(document.querySelector('.found')?.offsetHeight || 0) > 0");
  await both("block");

  // A change, and back, while the other page looks on.
  await desk.open(url + "/settings");
  await desk.fill({ tag: "Anna was here" });
  await desk.press("form .main");
  expect(await desk.shows("Soloist becomes Anna was here"), "live: the change is not shown");
  await examine(desk, "live-change", 1280, "dark");
  await desk.press("form .main");
  const tag = (words) => `fetch("/api/status").then((a) => a.json()).then((s) => s.job.tag.includes(${JSON.stringify(words)}))`;
  expect(await phone.comes(says("events", "Anna was here")) !== null, "live: nobody tells of the change");
  expect(await phone.comes(tag("Anna was here")) !== null, "live: the change is not in the job");
  await desk.press("[value=undo]");
  expect(await phone.comes(says("events", "taken back")) !== null, "live: nobody tells of the undo");
  expect(await phone.comes(tag("Soloist")) !== null, "live: undo does nothing");
  expect(await phone.run("window.kept === true"), "live: the phone's page was loaded again");
  await phone.close();
  await desk.close();
};

try {
  if (addresses.live) {
    await live(addresses.live);
    delete addresses.live;
  }
  // The owner's way: set-up, a change, undo; on a phone, then wide.
  if (addresses.fresh) {
    const page = await tab(360, 740, "light");
    const { fill, press, shows } = page;
    await page.open(addresses.fresh);
    await press("a.start");
    await examine(page, "setup", 360, "light");
    await fill({ payout: "nonsense", url0: "http://192.168.1.10:8332", user0: "soloist", password0: "x", pin: "739100", pin2: "739100" });
    await press("form .main");
    expect(await shows("This is no address of the main chain."), "set-up: a wrong address is not named");
    expect(await page.focused("payout"), "set-up: the wrong field has not the focus");
    expect(await page.run("document.querySelector('[name=pin2]').value === '739100'"), "set-up: the PIN is lost");
    await examine(page, "setup-wrong", 360, "light");
    // A node that cannot be used: the mistake has the focus, and a second press goes on.
    await fill({ payout: "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq", url0: "http://refuses:8332" });
    await press("form .main");
    expect(await page.focused("password0"), "set-up: the password has not the focus");
    await examine(page, "setup-doubt", 360, "light");
    await press("[value=anyway]");
    expect(await shows("You save this although"), "set-up: the doubt is not told before it is saved");
    await examine(page, "setup-although", 360, "light");
    await press("[value=edit]");
    await fill({ url0: "http://192.168.1.10:8332" });
    await fill({ payout: "bc1q ar0s rrr7 xfkv y5l6 43ly dnw9 re59 gtzz wf5m dq", pin: "739100", pin2: "739100" });
    await press("form .main");
    await examine(page, "setup-confirm", 360, "light");
    await press("form .main");
    // It ends with the miners; from there, a newcomer finds them and the page.
    expect(await page.run("location.pathname === '/devices'"), "set-up does not end with the miners");
    expect(await shows("no miner is connected to it yet"), "set-up does not say what comes next");
    await examine(page, "setup-devices", 360, "light");
    await press("button.main[value=find]");
    expect(await shows("2 devices were found."), "set-up: no miner is found");
    await press(".back a");
    expect(await page.comes("document.body.innerText.includes('Mining block')") !== null, "set-up does not lead to the page");
    await page.open(addresses.fresh + "/settings");
    await examine(page, "settings", 360, "light");
    await fill({ name: "attic", payout: "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4" });
    await press("form .main");
    expect(await shows("Name solo becomes attic."), "settings: the change is not shown");
    await press("form .main");
    expect(await shows("A new payout address waits"), "settings: the waiting address is not shown");
    await examine(page, "settings-pending", 360, "light");
    await press("[value=cancel]");
    expect(!await shows("A new payout address waits"), "settings: it cannot be cancelled");
    await press("[value=undo]");
    expect(await page.run("document.querySelector('[name=name]').value === 'solo'"), "settings: undo does nothing");
    await page.close();
    await call("Storage.clearCookies");
    const wide = await tab(1280, 900, "dark");
    await wide.open(addresses.fresh + "/settings");
    await examine(wide, "login", 1280, "dark");
    await wide.fill({ pin: "739100" });
    await wide.press("form .main");
    await examine(wide, "settings", 1280, "dark");

    // The miners as devices, and one that is pointed here.
    const phone = await tab(360, 740, "light");
    await phone.open(addresses.fresh + "/devices");
    await examine(phone, "owner-devices", 360, "light");
    await phone.run("document.querySelector('details').open = true");
    await phone.fill({ pool: "solo.example.org", pool_user: "me" });
    await phone.press("button[value=plan]");
    expect(await phone.shows("Write the second pool as host:port"), "devices: a second pool without a port is taken");
    await phone.run("document.querySelector('details').open = true");
    await phone.fill({ pool: "solo.example.org:3333", pool_user: "me" });
    await phone.press("button[value=plan]");
    expect(await phone.shows("Its password for the old pool is overwritten."), "devices: what is lost is not shown before");
    expect(await phone.run("[...document.querySelectorAll('table.plan tbody tr')].length === 3"), "devices: not three changes");
    await examine(phone, "owner-device-plan", 360, "light");
    for (const [width, colours] of [[1280, "dark"], [360, "forced"]]) {
      const other = await tab(width, 900, colours);
      await other.open(addresses.fresh + "/devices");
      await examine(other, "owner-devices", width, colours);
      await other.press("button[value=plan]");
      await examine(other, "owner-device-plan", width, colours);
      await other.close();
    }
    await phone.press("button[value=point]");
    expect(await phone.shows("The device is pointed here"), "devices: it is not pointed here");
    await phone.press("button[value=blink]");
    expect(await phone.shows("was told: blink"), "devices: it does not blink");
    await phone.press("button[value=find]");
    expect(await phone.shows("2 devices were found."), "devices: nothing is found");
    await phone.close();
    await wide.open(addresses.fresh + "/settings");
    // A grave button does nothing at a click, and its deed when it is held.
    const restart = "document.querySelector('[value=restart]')";
    await wide.run(restart + ".click()");
    await sleep(500);
    expect(await wide.run(restart + " !== null && !document.body.innerText.includes('Done.')"), "a click restarts");
    await wide.run(restart + ".dispatchEvent(new PointerEvent('pointerdown', { bubbles: true }))");
    await sleep(4500);
    expect(await wide.run("document.body.innerText.includes('Done.')"), "holding does nothing");
    // Messages: a service's form, a mistake at its field, a test, and the place in the list.
    await wide.run("document.querySelector('#notifications select').value = 'email'");
    await wide.press("#notifications [value=new]");
    for (const width of WIDTHS) for (const colours of COLOURS) {
      const other = await tab(width, 900, colours);
      await other.open(addresses.fresh + "/settings");
      await other.run("document.querySelector('#notifications select').value = 'email'");
      await other.press("#notifications [value=new]");
      await examine(other, "messages", width, colours);
      await other.fill({ "sink-url": "nonsense" });
      await other.press("[value=save]");
      expect(await other.focused("sink-url"), "messages: the wrong field has no focus");
      await examine(other, "messages-wrong", width, colours);
      await other.close();
    }
    await wide.fill({ "sink-url": "smtps://mail.example.org", "sink-user": "anna", "sink-password": "geheim", "sink-from": "a@example.org", "sink-to": "b@example.org" });
    await wide.press("[value=try]");
    expect(await wide.shows("It took the test message."), "messages: nothing is tried");
    expect(await wide.run("document.querySelector('[name=sink-password]').value === 'geheim'"), "messages: a password is lost by a test");
    await wide.press("[value=save]");
    expect(await wide.shows("E-mail is added."), "messages: nothing is added");
    await examine(wide, "messages-list", 1280, "dark");
    await wide.press("#notifications [value=edit]");
    expect(await wide.run("!document.body.innerHTML.includes('geheim')"), "messages: a password is shown");
    await examine(wide, "messages-edit", 1280, "dark");
    // Removed by a long press.
    await wide.run("document.querySelector('[value=remove]').dispatchEvent(new PointerEvent('pointerdown', { bubbles: true }))");
    await sleep(4500);
    expect(await wide.shows("E-mail is removed"), "messages: holding does not remove");
    // Home Assistant's broker: its form, a mistake at its field, a try, and how it stands in the list.
    for (const [width, colours] of [[360, "light"], [360, "dark"], [768, "light"], [1280, "dark"], [1280, "forced"]]) {
      const other = await tab(width, 900, colours);
      await other.open(addresses.fresh + "/settings");
      await other.press("#mqtt [value=edit]");
      await examine(other, "mqtt", width, colours);
      await other.fill({ "mqtt-broker": "mqtt://ha" });
      await other.press("[value=save]");
      expect(await other.focused("mqtt-broker"), "mqtt: the wrong field has no focus");
      await examine(other, "mqtt-wrong", width, colours);
      await other.close();
    }
    await wide.open(addresses.fresh + "/settings");
    await wide.press("#mqtt [value=edit]");
    await wide.fill({ "mqtt-broker": "homeassistant.local", "mqtt-user": "soloist", "mqtt-password": "geheim" });
    await wide.run("document.querySelector('[name=mqtt-tls]').checked = true");
    await wide.press("[value=try]");
    expect(await wide.shows("The broker takes us."), "mqtt: nothing is tried");
    expect(await wide.run("document.querySelector('[name=mqtt-password]').value === 'geheim'"), "mqtt: a password is lost by a try");
    await examine(wide, "mqtt-tried", 1280, "dark");
    await wide.press("[value=save]");
    expect(await wide.shows("Home Assistant is told by the MQTT broker homeassistant.local."), "mqtt: nothing is saved");
    const small = await tab(360, 900, "light");
    await small.open(addresses.fresh + "/settings");
    await examine(small, "mqtt-list", 360, "light");
    await small.press("#mqtt [value=test]");
    expect(await small.shows("The broker takes us."), "mqtt: the saved broker is not tried");
    await small.press("#mqtt [value=edit]");
    expect(await small.run("!document.body.innerHTML.includes('geheim')"), "mqtt: a password is shown");
    await examine(small, "mqtt-edit", 360, "light");
    await small.close();
    // A second box: its form, a mistake at its field, and what is shown once it is saved.
    for (const [width, colours] of [[360, "light"], [360, "dark"], [1280, "light"], [1280, "forced"]]) {
      const other = await tab(width, 900, colours);
      await other.open(addresses.fresh + "/settings");
      await other.press("#pair [value=second]");
      await examine(other, "pair-second", width, colours);
      await other.open(addresses.fresh + "/settings");
      await other.press("#pair [value=first]");
      await examine(other, "pair-first", width, colours);
      await other.fill({ "pair-partner": "next door" });
      await other.press("[value=save]");
      expect(await other.focused("pair-partner"), "pair: the wrong field has no focus");
      await examine(other, "pair-wrong", width, colours);
      await other.close();
    }
    await wide.open(addresses.fresh + "/settings");
    await wide.press("#pair [value=first]");
    await wide.fill({ "pair-partner": "192.168.1.21", "pair-virtual_address": "192.168.1.240/24" });
    await wide.press("[value=save]");
    expect(await wide.shows("press This is the second box"), "pair: what the second box is told is not shown");
    await examine(wide, "pair-waits", 1280, "dark");
    const small2 = await tab(360, 900, "light");
    await small2.open(addresses.fresh + "/settings");
    await examine(small2, "pair-waits-settings", 360, "light");
    await small2.close();
    // Cancelled, and then in force all the same, as after ten minutes.
    await wide.press("[value=keep]");
    expect(await wide.shows("Join a second box"), "pair: it cannot be cancelled");
    await ask("pair");
    for (const [width, colours] of [[360, "light"], [1280, "forced"]]) {
      const other = await tab(width, 900, colours);
      await other.open(addresses.fresh + "/settings");
      await examine(other, "pair-settings", width, colours);
      await other.press("#pair [value=edit]");
      await examine(other, "pair-edit", width, colours);
      await other.open(addresses.fresh + "/pair");
      await examine(other, "pair-page", width, colours);
      await other.close();
    }
    // Forgotten by a long press, and kept after all.
    await wide.open(addresses.fresh + "/settings");
    await wide.run("document.querySelector('#pair details').open = true");
    await wide.run("document.querySelector('#pair [value=forget]').dispatchEvent(new PointerEvent('pointerdown', { bubbles: true }))");
    await sleep(4500);
    expect(await wide.shows("The other box is forgotten on"), "pair: holding does not forget");
    await examine(wide, "pair-forgets", 1280, "dark");
    await wide.press("#pair [value=keep]");
    expect(!await wide.shows("The other box is forgotten on"), "pair: it cannot be kept");
    // All that the owner has, at once: an alarm, a missing miner, a place for messages, a broker.
    await lookAround("settings-all", addresses.fresh + "/settings", [[360, "forced"], [768, "light"], [1920, "dark"]]);
    // Two miners become one: the choice, and the question.
    await lookAround("join", addresses.fresh + "/join/gamma", [[360, "dark"], [1280, "light"]]);
    for (const [width, colours] of [[360, "light"], [1280, "forced"]]) {
      const other = await tab(width, 900, colours);
      await other.open(addresses.fresh + "/join/gamma");
      await other.press("form .main");
      expect(await other.shows("the same miner?"), "join: nothing is asked");
      await examine(other, "join-question", width, colours);
      await other.close();
    }
    // An alarm is snoozed and a missing miner forgotten where they stand.
    await wide.press("#alarms [value=day]");
    expect(await wide.shows("Done."), "an alarm cannot be snoozed");
    await wide.run("document.querySelector('#alarms [name=miner]').checked = true; document.querySelector('#alarms [name=sure]').checked = true");
    expect(await wide.shows("Forget those ticked"), "no missing miner can be ticked");
    // After too many tries the time until the next one runs down.
    await call("Storage.clearCookies");
    await wide.open(addresses.fresh + "/settings");
    // The login of before counts as well, if that was within the minute.
    const locked = "document.querySelector('form .main').disabled";
    for (let i = 0; i < 6 && !await wide.run(locked); i++) {
      await wide.fill({ pin: "no" });
      await wide.press("form .main");
    }
    expect(await wide.run(locked), "the PIN can be tried while it is locked");
    const wait = "parseInt(document.querySelector('[data-wait]').textContent)";
    const before = await wide.run(wait);
    await sleep(2200);
    expect(await wide.run(wait) < before, "the lock's time does not run down from " + before);
    complaints = []; // The refusals themselves.
    await examine(wide, "locked", 1280, "dark");
    await wide.close();
    delete addresses.fresh;
  }

  for (const [name, url] of Object.entries(addresses)) {
    if (process.env.PAGE_QUICK && !process.env.PAGE_QUICK.split(",").includes(name)) continue;
    // In the short form: what holds the most in most of them, the others once on a phone and once on a desk.
    const odd = name.length % 2 === 1;
    const few = [[360, odd ? "dark" : "light"], [1280, odd ? "light" : "dark"]];
    const most = [[360, "light"], [360, "dark"], [768, "light"], [1280, "forced"], [1920, "dark"]];
    await lookAround(name, url, ["home", "hostile", "found", "forty"].includes(name) ? most : few);
  }
  if (addresses.heat) {
    const url = addresses.heat + "/miners/gamma";
    await lookAround("heat-miner", url, [[360, "light"], [360, "dark"], [1280, "light"], [1280, "forced"]]);
    // Each chart tells its value where the reader points at, and all are of the range that is chosen.
    const page = await tab(360, 900, "light");
    await page.open(url);
    const points = (chart, part) => page.run(`(() => {
      const svg = [...document.querySelectorAll("#m-rate .chart svg")].filter((e) => e.checkVisibility())[${chart}];
      const box = svg.getBoundingClientRect();
      svg.dispatchEvent(new PointerEvent("pointermove", { bubbles: true,
        clientX: box.left + box.width * ${part}, clientY: box.top + 5 }));
      return svg.parentNode.querySelector(".at").textContent;
    })()`);
    const heat = await points(1, .2), gap = await points(1, 1 - 81 / 144), watts = await points(2, .2);
    expect(/: 6\d\u202f°C, mean [56]\d\u202f°C$/.test(heat), "the chart of heat tells: " + heat);
    expect(/: nothing, mean nothing$/.test(gap), "its gap tells: " + gap);
    expect(/: 1\d(\.\d)?\u202fW$/.test(watts), "the chart of power tells: " + watts);
    await page.shot("heat-chart");
    const seen = () => page.run(`[...document.querySelectorAll("#m-rate .chart svg")]
      .filter((e) => e.checkVisibility()).map((e) => e.getAttribute("aria-label").split(":")[0]).join()`);
    expect(await seen() === "Hashrate, 24 hours,Hottest chip, 24 hours,Power, 24 hours", "charts of a day: " + await seen());
    await page.run("document.getElementById('r1').click()");
    expect(await seen() === "Hashrate, 30 days,Hottest chip, 30 days,Power, 30 days", "charts of a month: " + await seen());
    await page.close();
  }
  // Devices on their miners' own pages: hot, paused, on the second pool, silent.
  if (addresses.devices) {
    const own = [["gamma", [[360, "light"], [1280, "dark"]]], ["quad", [[360, "dark"], [1280, "light"]]],
      ["living-room", [[360, "light"], [1280, "forced"]]], ["desk", [[360, "dark"], [1280, "light"]]]];
    if (addresses.hostile)
      await lookAround("device-hostile", addresses.hostile + "/miners/gamma", [[360, "light"], [1280, "dark"]]);
    for (const [name, some] of own) await lookAround("device-" + name, addresses.devices + "/miners/" + name, some);
  }
  if (addresses.pair) {
    await lookAround("both", addresses.pair + "/pair", [[360, "light"], [1280, "dark"]]);
    await lookAround("both-away", addresses["pair-away"] + "/pair", [[360, "dark"], [1280, "light"]]);
    await lookAround("both-hostile", addresses.hostile + "/pair", [[360, "light"], [1280, "forced"]]);
    await lookAround("one-alone", addresses.home + "/pair", [[360, "dark"], [1280, "light"]]);
  }
  if (addresses.home) {
    await lookAround("miner", addresses.home + "/miners/gamma", [[360, "light"], [1280, "dark"]]);
    await lookAround("v2", addresses.home + "/v2", [[360, "dark"], [1280, "light"], [768, "forced"]]);
    // The manual: the longest chapter, the one with the longest lines, the index; and the way there and back.
    await lookAround("help", addresses.home + "/help", [[360, "light"], [1280, "dark"]]);
    await lookAround("help-alarms", addresses.home + "/help/alarms", [[360, "dark"], [1280, "light"]]);
    await lookAround("help-nodes", addresses.home + "/help/nodes", [[360, "light"], [768, "forced"]]);
    for (const chapter of ["first-day", "miners", "messages", "found-block", "backup", "monitoring", "home-assistant",
      "security", "settings"]) await look("help-" + chapter, addresses.home + "/help/" + chapter, 360, "light");
    const reader = await tab(360, 740, "light");
    await reader.open((addresses.lagging || addresses.home) + "/");
    const meaning = `document.querySelector('.alarms a[href^="/help/alarms#"]')`;
    const leads = await reader.run(`${meaning}.getAttribute('href')`);
    await reader.run(`${meaning}.click()`);
    const there = `(() => {
      const top = document.querySelector(":target")?.getBoundingClientRect().top;
      return top >= 0 && top < innerHeight;
    })()`;
    await sleep(300);
    expect(await reader.comes(there) !== null, "help: the section is not in sight");
    expect(await reader.run("location.pathname + location.hash") === leads, "help: the alarm leads elsewhere than " + leads);
    await reader.close();
    for (const name of ["home", "new-version"]) if (addresses[name])
      await lookAround("update-" + name, addresses[name] + "/update", [[360, "light"], [1280, "dark"]]);
    await lookAround("tv", addresses.home + "/tv", [[1920, "light"], [360, "dark"]]);
    await lookAround("blocks", (addresses.found || addresses.home) + "/blocks", [[360, "light"], [1280, "dark"]]);

    // A wall's screen shows all of it at once, in letters that are read from three metres.
    const wall = await tab(1920, 1080, "light");
    await wall.open(addresses.home + "/tv");
    expect(await wall.run("document.documentElement.scrollHeight <= 1080"), "tv: higher than the screen");
    const tiny = await wall.run(`[...document.querySelectorAll("#tv *")].filter((e) => e.offsetWidth > 1 &&
      [...e.childNodes].some((n) => n.nodeType === 3 && n.textContent.trim()) &&
      parseFloat(getComputedStyle(e).fontSize) < 30).map((e) => e.textContent)`);
    expect(tiny.length === 0, "tv: too small for three metres: " + tiny.join(", "));
    expect(await wall.run("getComputedStyle(document.body).backgroundColor === 'rgb(20, 20, 19)'"), "tv: not dark");
    await wall.close();

    // The first view in few requests, and in few bytes with all their heads.
    const first = await tab(1280, 900, "light");
    await first.forgetful(true);
    await first.open(addresses.home);
    await sleep(500);
    const views = loaded.filter((one) => !one.url.includes("/api/events"));
    const bytes = views.reduce((sum, one) => sum + one.bytes, 0);
    console.log("first view: " + bytes + " bytes in " + views.length + " requests");
    await first.forgetful(false);
    expect(views.length <= 4, "first view: " + views.map((one) => one.url).join(" "));

    // The reader's colours stay over a reload; nothing is drawn before they are chosen.
    const background = "getComputedStyle(document.body).backgroundColor";
    const light = await first.run(background);
    for (let i = 0; i < 2; i++) await first.run("document.getElementById('theme').click()");
    expect(await first.run("document.documentElement.dataset.theme === 'dark'"), "theme: not dark after two presses");
    expect(await first.run(background) !== light, "theme: dark looks like light");
    await first.open(addresses.home);
    expect(await first.run(background) !== light, "theme: forgotten");
    await first.run("document.getElementById('theme').click()");
    expect(await first.run(background) === light, "theme: no way back to the device's");

    // An address and a port are copied, with the browser's own way and with the old one.
    for (const way of ["", "Object.defineProperty(navigator, 'clipboard', { value: undefined });"]) {
      await first.run(way + "document.querySelector('.where .copy').click()");
      await sleep(200);
      expect(await first.run("document.querySelector('.where .copy').textContent === 'Copied'"), "nothing is copied: " + way);
      await sleep(2200);
    }

    // So is the key of Stratum V2, as a whole and as nothing else; the code beside it is drawn.
    await first.open(addresses.home + "/v2");
    const key = "[...document.querySelectorAll('.how code')].find((e) => e.textContent.startsWith('9'))";
    expect(await first.run(key + ".nextElementSibling.className === 'copy'"), "v2: the key cannot be copied");
    expect(await first.run("document.querySelector('.how img').naturalWidth > 0"), "v2: there is no QR code");
    await first.open(addresses.home);

    // A lost connection is told in readable colours, and the old facts stay readable.
    await first.run("document.body.classList.add('lost'); document.getElementById('link').textContent = 'No connection to the box: what you see is old.'");
    await examine(first, "lost", 1280, "light");
    await first.close();

    // By keyboard: the first stop leads past the header, and every stop can be seen.
    const page = await tab(1280, 900, "light");
    await page.open(addresses.home);
    await page.key("Tab", 9);
    expect(await page.run("document.activeElement.className === 'skip'"), "the first stop is not the skip link");
    const stops = new Set();
    for (let i = 0; i < 30; i++) {
      await page.key("Tab", 9);
      stops.add(await page.run("document.activeElement.textContent.trim() || document.activeElement.id"));
    }
    expect(stops.has("Hide address") && stops.has("gamma") && stops.has("Best shares"),
      "by keyboard only: " + [...stops].join(", "));
    expect(await page.run("document.getElementById('blur').click(), document.body.classList.contains('blurred')"),
      "the address cannot be hidden");

    // A chart tells time and value where the reader points at, and names what explains a gap.
    const points = (part) => page.run(`(() => {
      const svg = document.querySelector("#rate .chart svg"), box = svg.getBoundingClientRect();
      svg.dispatchEvent(new PointerEvent("pointermove", { bubbles: true,
        clientX: box.left + box.width * ${part}, clientY: box.top + 5 }));
      return document.querySelector("#rate .chart .at").textContent;
    })()`);
    const told = await points(.2), gap = await points(1 - 80 / 144);
    expect(/^\d{4}-\d\d-\d\d \d\d:\d\d: 1[12]\.\d\u202fTH\/s$/.test(told), "the chart tells: " + told);
    expect(gap.includes("nothing") && gap.includes("no work"), "the chart's gap tells: " + gap);
    await page.shot("chart");
    await page.run("document.body.dispatchEvent(new PointerEvent('pointermove', { bubbles: true }))");
    expect(await page.run("document.querySelector('#rate .chart .at').hidden"), "the chart does not let go");
    await page.close();
  }

  // Forty miners: a phone shows each in one line; they are sorted and searched.
  if (addresses.forty) {
    const phone = await tab(360, 740, "light");
    await phone.open(addresses.forty);
    const heights = await phone.run("[document.documentElement.scrollHeight, document.querySelector('table').offsetHeight]");
    console.log("forty miners on a phone: " + heights[0] + " px, their table " + heights[1] + " px");
    expect(heights[0] < 5500, "forty miners make a page of " + heights[0] + " px");
    // A press shows all of them, with what sorts and finds them.
    await phone.press("#miners .more a");
    const all = await phone.run("document.querySelector('table').offsetHeight");
    console.log("all forty: " + all + " px");
    expect(all <= 3000, "forty miners take " + all + " px");
    await examine(phone, "forty-all", 360, "light");
    const names = () => phone.run("[...document.querySelectorAll('#miners tbody tr')].filter((r) => !r.hidden).map((r) => r.cells[0].querySelector('a').textContent)");
    const came = await names();
    const order = (value) => phone.run(`(() => { const o = document.getElementById("order");
      o.value = "${value}"; o.dispatchEvent(new Event("change")); })()`);
    await order(1);
    const sorted = await names();
    expect(sorted.join() !== came.join() && sorted.length === 40, "sort: nothing happens");
    const rates = await phone.run("[...document.querySelectorAll('#miners tbody tr')].map((r) => +r.cells[1].dataset.v)");
    expect(rates.every((rate, i) => !i || rates[i - 1] >= rate), "sort: not by hashrate: " + rates);
    await order("");
    expect((await names()).join() === came.join(), "sort: no way back");
    const find = (words) => phone.run(`(() => { const f = document.getElementById("find");
      f.value = "${words}"; f.dispatchEvent(new Event("input")); })()`);
    await find("RACK-1");
    expect((await names()).length === 10, "search: " + await names());
    expect(await phone.shows("10 of 40"), "search: not told how many");
    await find("");
    await phone.close();
    const desk = await tab(1280, 900, "light");
    await desk.open(addresses.forty + "/?all=1");
    await desk.run("document.querySelector('#miners thead th:nth-child(2) button').click()");
    expect(await desk.run("document.querySelector('#miners thead th:nth-child(2)').getAttribute('aria-sort') === 'descending'"), "sort: the head does not tell");
    await desk.run("document.querySelector('#miners thead th:nth-child(2) button').click()");
    expect(await desk.run("document.querySelector('#miners thead th:nth-child(2)').getAttribute('aria-sort') === 'ascending'"), "sort: the head does not turn");
    await desk.close();
  }

  // A found block stays until it is put away, also over a reload.
  if (addresses.found) {
    const page = await tab(1280, 900, "light");
    await page.open(addresses.found);
    expect(await page.run("document.querySelector('.found').offsetHeight > 0"), "no banner for a found block");
    await page.run("document.querySelector('.found .away').click()");
    await page.open(addresses.found + "/");
    expect(await page.run("document.querySelector('.found').offsetHeight === 0"), "the banner came back");
    await page.close();
  }

  // Live: what the reader opened stays open while parts are replaced, and ages count.
  if (addresses.changing) {
    const page = await tab(1280, 900, "light");
    await page.open(addresses.changing);
    await page.run("document.querySelector('#odds details').open = true; document.getElementById('r1').click()");
    const before = await page.run("document.querySelector('#nodes').textContent");
    await sleep(3500);
    expect(await page.run("document.querySelector('#nodes').textContent") !== before, "nothing came over the live channel");
    expect(await page.run("document.querySelector('#odds details').open"), "an opened list fell shut");
    expect(await page.run("document.getElementById('r1').checked"), "the chosen range was lost");
    // What the reader has marked stays as long as it is marked, and what is new comes then.
    const mark = await page.run("(() => { const p = [...document.querySelectorAll('#nodes p')].pop(); getSelection().selectAllChildren(p); return String(getSelection()); })()");
    const marked = await page.run("document.querySelector('#nodes').textContent");
    await sleep(4500);
    expect(await page.run("String(getSelection())") === mark && mark, "a selection was lost: " + mark);
    expect(await page.run("document.querySelector('#nodes').textContent") === marked, "what is marked has changed");
    await page.run("getSelection().removeAllRanges()");
    await sleep(300);
    expect(await page.run("document.querySelector('#nodes').textContent") !== marked, "the late part does not come");
    // A row alone is replaced, and a miner's own page is live.
    await page.run("window.table = document.querySelector('#miners table')");
    const shares = "document.querySelector('#miners tbody tr').cells[3].textContent";
    const some = await page.run(shares);
    expect(await page.comes(shares + " !== " + JSON.stringify(some)) !== null, "no row is replaced");
    expect(await page.run("window.table === document.querySelector('#miners table')"), "the whole table is replaced");
    await page.open(addresses.changing + "/miners/gamma");
    const own = await page.run("document.querySelector('#m-shares').textContent");
    expect(await page.comes("document.querySelector('#m-shares').textContent !== " + JSON.stringify(own)) !== null, "a miner's page is not live");
    await page.close();
  }

  // Without a script the page is whole.
  if (addresses.home) {
    const bare = await tab(360, 740, "light", false);
    await bare.open(addresses.home);
    await bare.shot("home-360-noscript");
    await bare.close();
  }
} catch (error) {
  findings.push(String(error));
  console.log("FINDING: " + error.stack);
}
const ended = new Promise((done) => browser.on("exit", done));
await Promise.race([call("Browser.close").catch(() => {}).then(() => ended), sleep(5000)]);
browser.kill("SIGKILL");
// Its helpers may still write for a moment; what is left behind lies in the temporary directory.
for (let i = 0; i < 20; i++) {
  try { rmSync(profile, { recursive: true, force: true }); break; } catch { await sleep(250); }
}
console.log(findings.length + " findings");
process.exit(findings.length ? 1 : 0);

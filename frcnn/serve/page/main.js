// The page: files come in, are sent to the server, and what it finds is shown, counted and saved.

import * as api from "./api.js";
import { blobOf, chosen, dropped, isImage, save, thumbnail } from "./files.js";
import { Viewer } from "./viewer.js";

const AT_A_TIME = 4; // the server detects in several images together
const byId = (id) => document.getElementById(id);
const plural = (count, noun) => `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
const number = (value) => value.toLocaleString("en", { maximumFractionDigits: 1 });

let model; // of /v1/model
let viewer;
let entries = []; // {file, name, state, answer, message, picture, item}
let shown = null;
let underWay = 0;
let stop = new AbortController();
let sums = {}; // expected in all images, by class id
const hidden = new Set(); // class ids
const colors = new Map();

// --- start ---------------------------------------------------------------------------------------

async function open() {
  try {
    model = await api.model();
  } catch (error) {
    if (error.status !== 401) return complain(error.message);
    byId("login-error").textContent = byId("token").value ? "This is not the token." : "";
    byId("login").hidden = false;
    byId("token").select();
    return undefined;
  }
  complain("");
  byId("login").hidden = true;
  byId("drop").hidden = false;
  return prepare();
}

function prepare() {
  byId("model").textContent = model.name;
  byId("model").title = `SHA-256 ${model.digest}`;
  byId("limits").textContent = "PNG, JPEG, TIFF, BMP, WebP, GIF, PPM, JPEG 2000 or AVIF, up to "
    + `${number(model.limits.max_bytes / 1e6)} MB and ${number(model.limits.max_pixels / 1e6)} `
    + "million pixels. Nothing is stored: the server forgets an image when it has answered.";
  byId("score").min = model.lowest_score;
  byId("score").value = model.default_score;
  byId("level").textContent = `${Math.round(100 * model.level)} %`;
  byId("counts").classList.toggle("calibrated", model.calibrated);
  for (const { id, color } of model.classes) colors.set(id, color);
  byId("format").replaceChildren(...model.formats.map((format) => {
    const option = new Option(`${format.text} (${format.ending})`, format.name);
    option.disabled = !format.available;
    if (option.disabled) option.text += ", not installed";
    return option;
  }));
  byId("format").value = "geojson";
  viewer = new Viewer();
  makeTable();
}

function complain(text) {
  byId("message").textContent = text;
  byId("message").hidden = !text;
}

// --- files and their detection -------------------------------------------------------------------

function add(files, ofFolder = false) {
  const wanted = ofFolder ? files.filter(({ file }) => isImage(file)) : files;
  const left = files.length - wanted.length;
  complain(left ? `${plural(left, "file")} in the folder ${left === 1 ? "is" : "are"} no image and `
    + `${left === 1 ? "was" : "were"} left out.` : "");
  if (!wanted.length) return;
  for (const { file, name } of wanted) {
    const entry = { file, name, state: "waiting", message: "", answer: null };
    entry.item = makeItem(entry);
    entries.push(entry);
  }
  byId("list").append(...entries.slice(-wanted.length).map((entry) => entry.item));
  document.body.classList.add("working");
  byId("work").hidden = false;
  byId("clear").hidden = false;
  if (!shown) show(entries[0]);
  update();
  for (let free = AT_A_TIME - underWay; free > 0; free -= 1) work();
}

async function work() {
  const signal = stop.signal;
  underWay += 1;
  for (;;) {
    const entry = entries.find(({ state }) => state === "waiting");
    if (!entry || signal.aborted) break;
    entry.state = "sent";
    refresh(entry);
    await process(entry, signal);
    if (signal.aborted) break;
    refresh(entry);
    if (entry === shown) show(entry);
    update();
  }
  underWay -= 1;
}

async function process(entry, signal) {
  try {
    let small = await thumbnail(entry.file);
    if (small) setThumbnail(entry, small);
    if (entry.file.size > model.limits.max_bytes) {
      throw new Error(`The file has ${number(entry.file.size / 1e6)} MB, more than the `
        + `${number(model.limits.max_bytes / 1e6)} MB that the server accepts; choose a smaller one.`);
    }
    const answer = await api.detect(entry.file, entry.name, {
      lowest: model.lowest_score, preview: !small, signal,
      onWait: (message) => { entry.message = message; refresh(entry); },
    });
    if (answer.preview) {
      entry.picture = blobOf(answer.preview);
      small = await thumbnail(entry.picture);
      if (small) setThumbnail(entry, small);
    }
    answer.preview = null;
    answer.image.name = entry.name; // with its folders
    entry.answer = answer;
    entry.message = answer.doubt ?? "";
    entry.state = "done";
  } catch (error) {
    if (signal.aborted) return;
    entry.state = "failed";
    const named = `${entry.file.name}: `; // the list says it already
    const text = error.message.startsWith(named) ? error.message.slice(named.length) : error.message;
    entry.message = text[0].toUpperCase() + text.slice(1);
    if (error.status === 401) open();
  }
}

function clear() {
  stop.abort();
  stop = new AbortController();
  for (const entry of entries) if (entry.thumbnail) URL.revokeObjectURL(entry.thumbnail);
  entries = [];
  shown = null;
  underWay = 0;
  sums = {};
  sumsOf = 0;
  byId("list").replaceChildren();
  byId("work").hidden = true;
  byId("clear").hidden = true;
  document.body.classList.remove("working");
  complain("");
  byId("choose-files").focus();
}

// --- the list ------------------------------------------------------------------------------------

function makeItem(entry) {
  const item = document.createElement("li");
  const button = document.createElement("button");
  button.type = "button";
  button.append(document.createElement("img"), document.createElement("span"));
  button.firstChild.alt = "";
  const name = document.createElement("b");
  name.textContent = entry.name;
  button.lastChild.append(name, document.createElement("small"));
  button.addEventListener("click", () => { show(entry); });
  item.append(button);
  return item;
}

function setThumbnail(entry, blob) {
  if (entry.thumbnail) URL.revokeObjectURL(entry.thumbnail);
  entry.thumbnail = URL.createObjectURL(blob);
  entry.item.querySelector("img").src = entry.thumbnail;
}

function refresh(entry) {
  const states = { waiting: "waiting", sent: entry.message ? "waiting for the server" : "detecting…",
                   failed: entry.message };
  entry.item.className = entry.state;
  entry.item.querySelector("small").textContent = entry.state === "done"
    ? plural(found(entry).length, "object") : states[entry.state];
  const button = entry.item.firstChild;
  if (entry === shown) button.setAttribute("aria-current", "true");
  else button.removeAttribute("aria-current");
}

function show(entry) {
  const before = shown;
  shown = entry;
  if (before && before !== entry) refresh(before);
  refresh(entry);
  const place = entries.indexOf(entry);
  byId("image-name").textContent = entry.name;
  byId("position").textContent = `${place + 1} / ${entries.length}`;
  byId("previous").disabled = place === 0;
  byId("next").disabled = place === entries.length - 1;
  viewer.show(entry);
  update();
}

function step(by) {
  const next = entries[entries.indexOf(shown) + by];
  if (!next) return;
  show(next);
  next.item.scrollIntoView({ block: "nearest", inline: "nearest" });
}

// --- counts --------------------------------------------------------------------------------------

const least = () => Number(byId("score").value);
const found = (entry) => (entry.answer?.detections ?? []).filter(({ score }) => score >= least());

function makeTable() {
  byId("counts").tBodies[0].replaceChildren(...model.classes.map(({ id, name, color }) => {
    const row = document.createElement("tr");
    row.dataset.id = id;
    const head = document.createElement("th");
    head.scope = "row";
    const label = document.createElement("label");
    const box = document.createElement("input");
    box.type = "checkbox";
    box.checked = true;
    box.style.setProperty("--color", color);
    box.setAttribute("aria-label", `Show ${name}`);
    box.addEventListener("change", () => {
      if (box.checked) hidden.delete(id);
      else hidden.add(id);
      update();
    });
    label.append(box, name);
    head.append(label);
    row.append(head, ...cells());
    return row;
  }));
  const row = byId("counts").tFoot.insertRow();
  const head = document.createElement("th");
  head.scope = "row";
  head.textContent = "Together";
  row.append(head, ...cells());
}

function cells() {
  return ["n", "n expected", "n expected"].map((kind) => {
    const cell = document.createElement("td");
    cell.className = kind;
    return cell;
  });
}

// All that depends on the score, the image and the answers.
function update() {
  byId("score-value").textContent = least().toFixed(2);
  const done = entries.filter(({ state }) => state === "done");
  const failed = entries.filter(({ state }) => state === "failed").length;
  const settled = done.length + failed;
  byId("progress").textContent = settled < entries.length
    ? `${settled} of ${plural(entries.length, "image")} done`
    : plural(entries.length, "image") + (failed ? `, ${failed} not readable` : "");
  for (const entry of done) refresh(entry);
  if (shown) {
    const state = { waiting: "Waiting.", sent: "Detecting…" }[shown.state] ?? "";
    byId("image-state").textContent = shown.message || state;
    byId("image-state").classList.toggle("error", shown.state === "failed");
    viewer.draw(found(shown).filter(({ class_id: id }) => !hidden.has(id)), colors,
                byId("labels").checked);
  }
  byId("scope").hidden = entries.length < 2;
  byId("save-all").hidden = entries.length < 2;
  byId("save-one").disabled = shown?.state !== "done";
  byId("save-all").disabled = !done.length;
  byId("save-note").textContent = `All classes, scores from ${least().toFixed(2)}.`;
  count(done);
}

const wholeScope = () => entries.length > 1
  && document.querySelector("input[name=scope]:checked").value === "all";

function count(done) {
  const whole = wholeScope();
  const counted = whole ? done : done.filter((entry) => entry === shown);
  const objects = counted.flatMap(found);
  for (const row of byId("counts").tBodies[0].rows) {
    const id = Number(row.dataset.id);
    const own = counted.length === 1
      && counted[0].answer.counts.find(({ class_id: other }) => other === id);
    fill(row, counted.length && objects.filter(({ class_id: other }) => other === id).length,
         whole ? sums[id] : own, counted.length);
  }
  fill(byId("counts").tFoot.rows[0], objects.length, null, counted.length);
  byId("counts-note").textContent = model.calibrated
    ? "Expected: corrected for missed and wrong detections, by all scores, wherever the slider "
      + `stands. The last column contains the true number in ${Math.round(100 * model.level)} % of cases.`
    : "These are raw counts. There is no calibration beside the weights, so that missed and wrong "
      + "detections are not corrected for, and there are no intervals; frcnn count --calibrate "
      + "makes one.";
}

function fill(row, counted, expected, isKnown) {
  const [plain, mean, range] = row.querySelectorAll("td");
  plain.textContent = isKnown ? counted.toLocaleString("en") : "–";
  const has = isKnown && expected?.interval;
  mean.textContent = has ? number(expected.expected) : "–";
  range.textContent = has ? expected.interval.map((side) => number(side)).join(" – ") : "–";
}

let sumsOf = 0; // images in `sums`

async function sum() {
  const done = entries.filter(({ state }) => state === "done");
  if (!model?.calibrated || done.length === sumsOf || done.length < 2) return;
  sumsOf = done.length;
  let found = {};
  try {
    found = await api.totals(done.map(({ answer }) => ({
      detections: answer.detections.map(({ class_id, score }) => ({ class_id, score })),
    })));
  } catch {
    // The column stays empty.
  }
  if (sumsOf !== done.length) return; // cleared, or more images came along
  sums = found;
  update();
}

setInterval(sum, 1000);

// --- files to save -------------------------------------------------------------------------------

async function download(chosenEntries, button) {
  const format = model.formats.find(({ name }) => name === byId("format").value);
  const images = chosenEntries.map((entry) => ({
    name: entry.name, width: entry.answer.image.width, height: entry.answer.image.height,
    detections: found(entry),
  }));
  button.disabled = true;
  try {
    const { blob, name } = await api.download(images, format.name);
    const stem = chosenEntries.length === 1
      ? chosenEntries[0].name.replace(/^.*\//, "").replace(/\.[^.]*$/, "") : "detections";
    save(blob, stem + name.slice(name.lastIndexOf(".")));
    complain("");
  } catch (error) {
    complain(error.message);
  } finally {
    update();
  }
}

// --- events --------------------------------------------------------------------------------------

byId("login").querySelector("form").addEventListener("submit", (event) => {
  event.preventDefault();
  api.setToken(byId("token").value);
  open();
});
byId("choose-files").addEventListener("click", () => { byId("files").click(); });
byId("choose-folder").addEventListener("click", () => { byId("folder").click(); });
byId("files").addEventListener("change", ({ target }) => {
  add(chosen(target.files));
  target.value = "";
});
byId("folder").addEventListener("change", ({ target }) => {
  add(chosen(target.files), true);
  target.value = "";
});
byId("clear").addEventListener("click", clear);
byId("previous").addEventListener("click", () => { step(-1); });
byId("next").addEventListener("click", () => { step(1); });
byId("score").addEventListener("input", update);
byId("labels").addEventListener("change", update);
byId("scope").addEventListener("change", update);
byId("save-one").addEventListener("click", ({ target }) => { download([shown], target); });
byId("save-all").addEventListener("click", ({ target }) => {
  download(entries.filter(({ state }) => state === "done"), target);
});

document.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("dragging");
});
document.addEventListener("dragleave", (event) => {
  if (!event.relatedTarget) document.body.classList.remove("dragging");
});
document.addEventListener("drop", async (event) => {
  event.preventDefault();
  document.body.classList.remove("dragging");
  if (!model) return;
  const { files, hasFolder } = await dropped(event.dataTransfer);
  add(files, hasFolder);
});
document.addEventListener("keydown", (event) => {
  const inField = event.target.closest("input, select, #scroller");
  if (!shown || inField || event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.key === "ArrowLeft") step(-1);
  else if (event.key === "ArrowRight") step(1);
});

open();
